// What clients that send without end, or never take what they asked for, cost the server's memory and the other boards.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { NBD_CONNECTIONS_PER_ADDRESS_MAX, NBD_PAYLOAD_BYTES_MAX } from '../../src/base/limits.js';
import { Command } from '../../src/nbd/wire/constants.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { seeded } from '../support/random.js';
import { RawNbd } from '../support/raw-nbd.js';
import { runProgram } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';

const RESIDENT_BYTES_MAX = 400_000_000;
const ROUNDS = 5;
const SLICE_MS = 400;
const DEPTH = 16;
const READ_BYTES = 4096;
/** Long READs that each of them asks for: as many as are looked at, and more. */
const LONG_READS = 8;

type Form = 'simple' | 'inChunks';

/** All from one address, for the board of that name. */
type Attack = (port: number, address: string) => Promise<{ stop(): void }>;

/** Each sends the largest WRITE there is, a byte a second. */
const dribble: Attack = async (port, address) => {
  const clients = await attach(port, address, 'dribbled');
  for (const client of clients) {
    await client.send(requestBytes({ command: Command.Write, lengthBytes: NBD_PAYLOAD_BYTES_MAX }));
  }
  const beat = setInterval(() => {
    for (const client of clients) void client.send(Uint8Array.of(1));
  }, 1000);
  return {
    stop() {
      clearInterval(beat);
      for (const client of clients) client.destroy();
    },
  };
};

/** Each asks for 64 MiB, again and again, and takes nothing. */
const hoardOf =
  (form: Form): Attack =>
  async (port, address) => {
    const clients = await attach(port, address, 'hoarded', form);
    const request = requestBytes({ command: Command.Read, lengthBytes: NBD_PAYLOAD_BYTES_MAX });
    for (const client of clients) await client.send(...Array.from({ length: LONG_READS }, () => request));
    return {
      stop() {
        for (const client of clients) client.destroy();
      },
    };
  };

async function attach(
  port: number,
  address: string,
  exportName: string,
  form: Form = 'simple',
): Promise<readonly RawNbd[]> {
  const clients = Array.from({ length: NBD_CONNECTIONS_PER_ADDRESS_MAX }, () => new RawNbd(port, address));
  await Promise.all(
    clients.map((client) =>
      form === 'simple' ? client.transmitting(exportName) : client.transmittingInChunks(exportName),
    ),
  );
  return clients;
}

/** A client as all are: keeps so many small READs under way for that long, and answers how many were done. */
async function ordinary(client: RawNbd, forMs: number): Promise<number> {
  const random = seeded(7);
  const ask = () => {
    const offset = BigInt(random.below(8192) * READ_BYTES);
    return client.send(requestBytes({ command: Command.Read, offset, lengthBytes: READ_BYTES }));
  };
  for (let index = 0; index < DEPTH; index += 1) void ask();
  const endMs = performance.now() + forMs;
  let done = 0;
  for (let underWay = DEPTH; underWay > 0; underWay -= 1) {
    const reply = await client.reply();
    assert.equal(reply?.error, 0);
    assert.ok((await client.receive(READ_BYTES)) !== undefined);
    if (performance.now() >= endMs) continue;
    done += 1;
    void ask();
    underWay += 1;
  }
  return done;
}

async function measure(context: TestContext, attacks: readonly Attack[]) {
  const folder = scratchFolder(context);
  const images = { dribbled: join(folder, 'dribbled.img'), hoarded: join(folder, 'hoarded.img') };
  for (const file of Object.values(images)) await makeDemoImage(file);
  const program = await runProgram(context, { images });
  const client = await new RawNbd(program.ports.nbd, '127.0.0.2').transmitting('node1');
  context.after(() => client.destroy());
  await ordinary(client, SLICE_MS);
  const ratios: number[] = [];
  let mostBytes = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = await ordinary(client, SLICE_MS);
    const running = await Promise.all(
      attacks.map((attack, index) => attack(program.ports.nbd, `127.0.0.${3 + index}`)),
    );
    await ordinary(client, SLICE_MS); // until they have all that they will get
    const during = await ordinary(client, SLICE_MS);
    mostBytes = Math.max(mostBytes, program.memory().nowBytes);
    for (const { stop } of running) stop();
    const after = await ordinary(client, SLICE_MS);
    ratios.push((2 * during) / (before + after));
  }
  ratios.sort((a, b) => a - b);
  const share = ratios[Math.floor(ROUNDS / 2)] ?? 0;
  context.diagnostic(
    `${share.toFixed(2)} of its throughput; ${(mostBytes / 1e6).toFixed(0)} MB, ${(program.memory().mostBytes / 1e6).toFixed(0)} MB at most`,
  );
  return { share, mostBytes: program.memory().mostBytes };
}

for (const [who, attacks] of [
  ['64 connections with the largest write, a byte a second,', [dribble]],
  ['64 connections that ask for 64 MiB again and again and never read', [hoardOf('simple')]],
  ['the same in chunks', [hoardOf('inChunks')]],
  ['both at once', [dribble, hoardOf('simple')]],
] as const) {
  test(`${who} cost less than 400 MB, and leave an ordinary client half its throughput`, {
    timeout: 120_000,
  }, async (context) => {
    const { share, mostBytes } = await measure(context, attacks);
    assert.ok(mostBytes < RESIDENT_BYTES_MAX, `${mostBytes} bytes`);
    assert.ok(share >= 0.5, `${share}`);
  });
}
