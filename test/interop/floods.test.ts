// Floods against the real program: its memory stays bounded, and a board boots meanwhile.
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { discoverOf } from '../../src/dhcp/discover.js';
import { encodeDhcp } from '../../src/dhcp/wire.js';
import { loopbackLine } from '../../src/pretend/line.js';
import { playBoot } from '../../src/pretend/play.js';
import { PROFILES } from '../../src/pretend/profile.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { kernelQueue, queueRead } from '../support/kernel-queue.js';
import { seeded } from '../support/random.js';
import { LISTED_SERIAL, type RunningProgram, runProgram } from '../support/running-program.js';
import { rrq } from '../support/tftp.js';

/**
 * What V8 and the allocator let lie until they collect: measured were 30 MiB (RRQs) to 75 MiB (DISCOVERs) however long the flood
 * went on. A table of 100,000 boards without a bound took 150 MiB more.
 */
const MEMORY_GROWTH_BYTES_MAX = 128 * 1024 * 1024;

describe('while a board boots', () => {
  for (const port of ['a port for each transfer', 'a single port'] as const) {
    test(`10,000 RRQs come from as many addresses, on ${port}`, async (context) => {
      const program = await runProgram(context, port === 'a single port' ? { tftp: 'single_port: true' } : {});
      const { tftp } = program.ports;
      const request = Buffer.from(rrq(`${LISTED_SERIAL}/kernel8.img`, 'tsize', '0', 'blksize', '1468'), 'latin1');
      const flood = async (): Promise<void> => {
        for (let sent = 0; sent < 10_000; sent += 50) {
          for (let index = sent; index < sent + 50; index += 1) await sendFrom(forgedAddress(index), request, tftp);
          await queueRead(tftp);
          await turnsOf(program);
        }
      };
      await bootDuring(program, flood);
      assert.equal(kernelQueue(tftp).droppedCount, 0, 'all of them were read');
    });
  }

  test('100,000 DISCOVERs come from as many boards', async (context) => {
    const program = await runProgram(context);
    const { dhcp } = program.ports;
    const socket = await broadcastSocket(context);
    const random = seeded(67);
    const flood = async (): Promise<void> => {
      for (let sent = 0; sent < 100_000; sent += 100) {
        for (let index = 0; index < 100; index += 1)
          socket.send(discoverFrom(random.bytes(6)), dhcp, '127.255.255.255');
        await new Promise((resolve) => setImmediate(resolve));
        await queueRead(dhcp);
      }
    };
    await bootDuring(program, flood);
    assert.equal(kernelQueue(dhcp).droppedCount, 0, 'all of them were read');
    const { ports, child } = program;
    const metrics = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text();
    assert.match(metrics, /^brambleboot_unknown_boards 512$/m);
    child.kill('SIGTERM');
    await once(child, 'close');
    const lines = program.output().trimEnd().split('\n');
    assert.ok(lines.length < 100, 'nor did they fill the log');
    assert.match(program.output(), /"count":99980,"msg":"dhcp\.boards\.unknown\.withheld"/);
  });
});

test('100 requests on one connection at once, again and again, keep no board from booting', async (context) => {
  const program = await runProgram(context);
  const requests = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(100);
  let isOver = false;
  let turnedAway = 0;
  const pipeline = async (): Promise<void> => {
    while (!isOver) {
      const socket = connect({ host: '127.0.0.1', port: program.ports.http });
      socket.on('error', () => {}); // a RST: it said more than is listened to
      socket.write(requests);
      await new Promise((resolve) => socket.resume().once('close', resolve));
      turnedAway += 1;
    }
  };
  const over = () => {
    isOver = true;
  };
  await Promise.all([pipeline(), boot(program).finally(over)]);
  assert.ok(turnedAway > 1);
  const metrics = async () => (await fetch(`http://127.0.0.1:${program.ports.http}/metrics`)).text();
  await until(async () => (await metrics()).includes('brambleboot_boots_total{board="node1"} 1\n'), 'the boot');
});

/** Boots once before, so that what any boot takes is there, and once during the flood; judges the memory. */
async function bootDuring(program: RunningProgram, flood: () => Promise<void>): Promise<void> {
  await boot(program);
  const { nowBytes } = program.memory();
  // In one process with the flood, so that the board has its turn after each bit of it however busy the machine is.
  await Promise.all([boot(program), flood()]);
  const grownBytes = program.memory().mostBytes - nowBytes;
  assert.ok(grownBytes < MEMORY_GROWTH_BYTES_MAX, `${grownBytes} bytes more`);
  await boot(program);
}

/**
 * The flood comes no faster than the server takes its turns: 512 newer requests before a board's first answer is out push that
 * board out, and how many come in one turn would depend on how busy the machine is.
 */
async function turnsOf({ ports }: RunningProgram): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await (await fetch(`http://127.0.0.1:${ports.http}/healthz`)).text();
}

async function boot({ ports }: RunningProgram): Promise<void> {
  const line = loopbackLine({ interfaceName: 'lo', serverPort: ports.dhcp, clientPort: ports.dhcpReply });
  try {
    const result = await playBoot({
      profile: PROFILES.pi4,
      identity: { serial: LISTED_SERIAL, mac: 'dc:a6:32:01:02:03', revisionCode: PROFILES.pi4.revisionCode },
      prefix: { kind: 'serial' },
      start: { kind: 'dhcp', line, needsAddress: false },
      tftpPort: ports.tftp,
      takeAddress: () => '127.0.0.1',
      clock: systemClock,
      report: () => {},
    });
    assert.ok(result.outcome === 'booted', JSON.stringify(result));
    await result.disk.disconnect();
  } finally {
    await line.close();
  }
}

/** Any address of 127/8 may be a source on loopback. */
function forgedAddress(index: number): string {
  return `127.8.${index >> 8}.${index & 0xff}`;
}

async function sendFrom(address: string, bytes: Uint8Array, port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  await new Promise((resolve) => socket.send(bytes, port, '127.0.0.1', resolve));
  socket.close();
}

async function broadcastSocket(context: TestContext): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  whenOver(context, () => void socket.close());
  socket.setBroadcast(true);
  return socket;
}

const DISCOVER = encodeDhcp(
  discoverOf('pi4', { mac: 'dc:a6:32:00:00:00', serial: '01020304', revisionCode: 0x00d03114 }, 1),
);
const CHADDR_AT = 28;

/** Of a Pi 4 with this MAC, made the address of one client. */
function discoverFrom(mac: Uint8Array): Uint8Array {
  const message = Buffer.from(DISCOVER);
  message.set(mac, CHADDR_AT);
  message[CHADDR_AT] = (mac[0] ?? 0) & 0xfe;
  return message;
}
