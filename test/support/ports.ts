import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { type Ending, whenOver } from './cleanup.js';

/** For the servers of one test. All of them are below the ports that the system gives to outgoing connections by itself. */
export interface TestPorts {
  readonly dhcp: number;
  readonly dhcpReply: number;
  readonly tftp: number;
  readonly nbd: number;
  readonly http: number;
}

const FIRST = 10_000;
const RUN_LENGTH = 10;
/** Linux gives out 32768 and above (ip_local_port_range). */
const RUN_COUNT = (32_000 - FIRST) / RUN_LENGTH;
const NAMES_COUNT = 5;

/**
 * Ports that nobody has, over UDP and TCP, and that no other test is given until this one is over: the last port of a run is
 * listened at for as long as the run is in use, which only one process at a time can do.
 */
export async function testPorts(context: Ending): Promise<TestPorts> {
  const offset = Math.floor(Math.random() * RUN_COUNT);
  for (let attempt = 0; attempt < RUN_COUNT; attempt += 1) {
    const first = FIRST + ((offset + attempt) % RUN_COUNT) * RUN_LENGTH;
    const release = await taken('tcp', first + RUN_LENGTH - 1);
    if (release === undefined) continue;
    if (await areFree(first)) {
      whenOver(context, release);
      return { dhcp: first, dhcpReply: first + 1, tftp: first + 2, nbd: first + 3, http: first + 4 };
    }
    await release();
  }
  throw new Error(`no ${RUN_LENGTH} free ports between ${FIRST} and ${FIRST + RUN_COUNT * RUN_LENGTH}`);
}

async function areFree(first: number): Promise<boolean> {
  for (let port = first; port < first + NAMES_COUNT; port += 1) {
    for (const protocol of ['udp', 'tcp'] as const) {
      const release = await taken(protocol, port);
      if (release === undefined) return false;
      await release();
    }
  }
  return true;
}

type Release = () => Promise<void>;

/** At all addresses: fails if anybody has it at any. */
function taken(protocol: 'udp' | 'tcp', port: number): Promise<Release | undefined> {
  return protocol === 'udp' ? takenUdp(port) : takenTcp(port);
}

function takenUdp(port: number): Promise<Release | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const release = () => new Promise<void>((closed) => socket.close(() => closed()));
    socket.once('error', () => void release().then(() => resolve(undefined)));
    socket.bind(port, () => resolve(release));
  });
}

function takenTcp(port: number): Promise<Release | undefined> {
  return new Promise((resolve) => {
    // Whoever strays here is not kept, so that closing waits for nobody.
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    const release = () => new Promise<void>((closed) => server.close(() => closed()));
    server.listen({ host: '0.0.0.0', port, exclusive: true }, () => resolve(release));
  });
}
