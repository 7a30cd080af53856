import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type App, startApp } from '../../src/app/app.js';
import { openConfiguration } from '../../src/app/configuration.js';
import { systemClock } from '../../src/base/clock.js';
import { type Log, silentLog } from '../../src/base/log.js';
import { renderFaults } from '../../src/inventory/fault.js';
import { whenOver } from './cleanup.js';
import { scratchFolder } from './scratch.js';

/** A whole server on loopback, in this process, over the images of a test. */
export interface TestServer {
  readonly app: App;
  readonly ports: TestPorts;
  readonly folder: string;
}

export interface TestPorts {
  readonly dhcp: number;
  readonly dhcpReply: number;
  readonly tftp: number;
  readonly nbd: number;
  readonly http: number;
}

export interface TestServerOptions {
  /** YAML of `images:` and `boards:`. */
  readonly inventory: string;
  /** Where relative paths in it begin; a scratch folder of its own otherwise. */
  readonly folder?: string;
  readonly log?: Log;
}

/** Starts it on ports that are free, and stops it when the test is over. */
export async function startTestServer(context: TestContext, options: TestServerOptions): Promise<TestServer> {
  const folder = options.folder ?? scratchFolder(context);
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const ports = choosePorts();
    const path = join(folder, 'config.yaml');
    writeFileSync(path, `${settings(ports)}${options.inventory}`);
    const opened = await openConfiguration(path, systemClock);
    if (opened.answer === 'faults') throw new Error(renderFaults(opened.faults));
    if (opened.answer === 'failed') throw new Error(opened.because);
    const { inventory, boards, state } = opened;
    const log = options.log ?? silentLog;
    const app = await startApp({ inventory, boards, state, clock: systemClock, log, version: 'test' });
    if (app.status().listeners.every((listener) => listener.missing === undefined)) {
      whenOver(context, () => app.stop());
      return { app, ports, folder };
    }
    await app.stop();
  }
  throw new Error('no free ports');
}

function choosePorts(): TestPorts {
  const first = 30_000 + Math.floor(Math.random() * 2000) * 10;
  return { dhcp: first, dhcpReply: first + 1, tftp: first + 2, nbd: first + 3, http: first + 4 };
}

function settings({ dhcp, dhcpReply, tftp, nbd, http }: TestPorts): string {
  return `server: { interface: lo, state: ./state }
dhcp: { port: ${dhcp}, reply_port: ${dhcpReply} }
tftp: { port: ${tftp} }
nbd: { port: ${nbd} }
http: { address: 127.0.0.1, port: ${http} }
`;
}
