import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type App, startApp } from '../../src/app/app.js';
import { openConfiguration } from '../../src/app/configuration.js';
import { systemClock } from '../../src/base/clock.js';
import { type Log, silentLog } from '../../src/base/log.js';
import { renderFaults } from '../../src/inventory/fault.js';
import { whenOver } from './cleanup.js';
import { type TestPorts, testPorts } from './ports.js';
import { scratchFolder } from './scratch.js';

/** A whole server on loopback, in this process, over the images of a test. */
export interface TestServer {
  readonly app: App;
  readonly ports: TestPorts;
  readonly folder: string;
}

export interface TestServerOptions {
  /** YAML of `images:` and `boards:`. */
  readonly inventory: string;
  /** More of `nbd:`, as in braces: `tls: { mode: required, … }`. */
  readonly nbd?: string;
  /** Where relative paths in it begin; a scratch folder of its own otherwise. */
  readonly folder?: string;
  readonly log?: Log;
}

/** Starts it on ports that are free, and stops it when the test is over. */
export async function startTestServer(context: TestContext, options: TestServerOptions): Promise<TestServer> {
  const folder = options.folder ?? scratchFolder(context);
  const ports = await testPorts(context);
  const path = join(folder, 'config.yaml');
  writeFileSync(path, `${testSettings(ports, options.nbd)}${options.inventory}`);
  const opened = await openConfiguration(path, systemClock);
  if (opened.answer === 'faults') throw new Error(renderFaults(opened.faults));
  if (opened.answer === 'failed') throw new Error(opened.because);
  const log = options.log ?? silentLog;
  const app = await startApp({ ...opened, path, clock: systemClock, log, version: 'test' });
  whenOver(context, async () => void (await app.stop()));
  const missing = app.status().listeners.find((listener) => listener.missing !== undefined);
  if (missing !== undefined) throw new Error(`${missing.name}: ${missing.missing}`);
  return { app, ports, folder };
}

/** All but images and boards. */
export function testSettings({ dhcp, dhcpReply, tftp, nbd, http }: TestPorts, moreOfNbd = ''): string {
  return `server: { interface: lo, state: ./state }
dhcp: { port: ${dhcp}, reply_port: ${dhcpReply} }
tftp: { port: ${tftp} }
nbd: { port: ${nbd}${moreOfNbd === '' ? '' : `, ${moreOfNbd}`} }
http: { address: 127.0.0.1, port: ${http} }
`;
}
