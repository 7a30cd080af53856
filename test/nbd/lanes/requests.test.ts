// Requests to a disk that is a file, as lanes take them: in any pieces, in any number, refused and answered.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NBD_LANE_INPUT_BYTES, NBD_REQUESTS_IN_FLIGHT_MAX } from '../../../src/base/limits.js';
import { Command, CommandFlag, Errno, Option } from '../../../src/nbd/wire/constants.js';
import { encodeExportRequest, encodeOption } from '../../../src/nbd/wire/handshake-wire.js';
import { run, until } from '../../support/commands.js';
import { assertAnswers, assertDone, assertRead, flush, read, write } from '../../support/lane-requests.js';
import { fileBoard, serveFiles } from '../../support/lane-server.js';
import { hex, joined, requestBytes } from '../../support/nbd-bytes.js';
import { without } from '../../support/programs.js';
import { noise } from '../../support/random.js';
import { type RawNbd, rawNbd } from '../../support/raw-nbd.js';

const MEBI = 1024 * 1024;
const SIZE = 16 * MEBI;
const CONTENT = noise(SIZE);
/** As a boot partition: changes here are the main thread's. */
const BOOT = { start: MEBI, end: 2 * MEBI };
/** What does not end is a failure too. */
const LIMIT = { timeout: 60_000 };
const DISC = requestBytes({ command: Command.Disc });
const BEYOND = BigInt(SIZE);

describe('what is done by whom', LIMIT, () => {
  test('reads, writes and flushes by lanes; the rest, and what is watched, by the main thread', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const client = await served.attach();
    await client.read(0, 4096);
    await client.write(4 * MEBI, noise(4096, 2));
    await client.write(4 * MEBI, noise(4096, 2), { durable: true });
    await client.flush();
    assert.deepEqual(Object.fromEntries(served.doneBy().main), {});
    await client.write(BOOT.start, noise(4096, 3));
    await client.write(BOOT.start - 1, noise(2, 3));
    await client.write(BOOT.end - 1, noise(2, 3));
    await client.write(BOOT.end, noise(4096, 3));
    await client.write(BOOT.start - 512, noise(512, 3));
    await client.trim(8 * MEBI, 4096);
    await client.writeZeroes(8 * MEBI, 4096);
    await client.trim(BOOT.start, 4096);
    await client.writeZeroes(BOOT.start, 4096);
    await client.cache(0, MEBI);
    const { lanes, main } = served.doneBy();
    assert.deepEqual(Object.fromEntries(main), { write: 3, trim: 1, write_zeroes: 1, cache: 1 });
    assert.deepEqual(Object.fromEntries(lanes), { read: 1, write: 4, flush: 1, trim: 1, write_zeroes: 1 });
  });
});

describe('what comes in pieces', LIMIT, () => {
  test('every kind of request, cut at every byte', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const payload = noise(40, 5);
    const words = joined(
      ...[read(512, 16, 1n), write(4 * MEBI + 5, payload, 2n), write(BOOT.start + 3, payload, 3n), flush(4n)],
      ...[write(5 * MEBI, payload, 5n, CommandFlag.Fua), write(SIZE - 1, payload, 6n), read(SIZE, 1, 7n)],
      ...[requestBytes({ command: Command.Trim, offset: BigInt(6 * MEBI), lengthBytes: 512, cookie: 8n })],
      ...[requestBytes({ command: 77, cookie: 9n }), write(MEBI / 2, new Uint8Array(0), 10n)],
    );
    const done = [2n, 3n, 4n, 5n, 8n, 10n].map((cookie) => [cookie, 0] as const);
    const refused = [[6n, Errno.ENOSPC] as const, [7n, Errno.EINVAL] as const, [9n, Errno.EINVAL] as const];
    const wanted = new Map<bigint, Uint8Array | number>([[1n, CONTENT.subarray(512, 528)], ...done, ...refused]);
    for (let cut = 1; cut < words.length; cut += 1) {
      await raw.send(words.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      await raw.send(words.subarray(cut));
      await assertAnswers(raw, wanted, `cut at ${cut}`);
    }
    const content = disk.content();
    for (const at of [4 * MEBI + 5, BOOT.start + 3, 5 * MEBI]) {
      assert.ok(Buffer.compare(content.subarray(at, at + 40), payload) === 0);
    }
    assert.equal(Buffer.compare(content.subarray(SIZE - 64), CONTENT.subarray(SIZE - 64)), 0);
  });

  test('a byte at a time', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const payload = noise(300, 9);
    for (const byte of joined(write(7, payload, 1n), write(BOOT.end - 100, payload, 2n), read(7, 300, 3n))) {
      await raw.send(Uint8Array.of(byte));
    }
    await assertAnswers(
      raw,
      new Map<bigint, Uint8Array | number>([
        [1n, 0],
        [2n, 0],
        [3n, payload],
      ]),
    );
    assert.deepEqual(disk.content().subarray(BOOT.end - 100, BOOT.end + 200), Buffer.from(payload));
  });

  test('a payload longer than what a lane takes at once, at an odd place, by lanes and by the main thread', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const payload = noise(3 * NBD_LANE_INPUT_BYTES + 777, 11);
    await raw.send(write(3 * MEBI + 13, payload, 1n));
    await assertDone(raw, 1n);
    // Begins outside and ends inside: the whole of it is the main thread's from there on.
    const across = noise(2 * MEBI, 12);
    await raw.send(write(MEBI / 2 + 1, across, 2n));
    await assertDone(raw, 2n);
    const content = disk.content();
    assert.equal(Buffer.compare(content.subarray(3 * MEBI + 13, 3 * MEBI + 13 + payload.length), payload), 0);
    assert.equal(Buffer.compare(content.subarray(MEBI / 2 + 1, MEBI / 2 + 1 + across.length), across), 0);
  });
});

describe('many at once', LIMIT, () => {
  test('as many as fit into one send, each answered once', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const count = 2000;
    const all = Array.from({ length: count }, (_, index) => {
      const cookie = BigInt(index);
      if (index % 4 === 0) return write(8 * MEBI + index * 64, noise(64, index), cookie);
      if (index % 4 === 1) return write(BOOT.start + index * 64, noise(64, index), cookie);
      return index % 4 === 2 ? flush(cookie) : requestBytes({ command: 99, cookie });
    });
    void raw.send(...all);
    const seen = new Set<bigint>();
    for (let left = count; left > 0; left -= 1) {
      const reply = await raw.reply();
      assert.ok(reply !== undefined);
      assert.equal(reply.error, reply.cookie % 4n === 3n ? Errno.EINVAL : 0, String(reply.cookie));
      seen.add(reply.cookie);
    }
    assert.equal(seen.size, count);
    const content = disk.content();
    for (let index = 0; index < count; index += 4) {
      assert.equal(
        Buffer.compare(content.subarray(8 * MEBI + index * 64, 8 * MEBI + index * 64 + 64), noise(64, index)),
        0,
      );
    }
  });

  test('nothing comes between the pieces of a long reply, neither of lanes nor of the main thread', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const long = 8 * MEBI;
    const wanted = new Map<bigint, Uint8Array | number>();
    for (let round = 0; round < 4; round += 1) {
      const cookie = BigInt(round * 1000);
      void raw.send(read(round * 512, long, cookie));
      wanted.set(cookie, CONTENT.subarray(round * 512, round * 512 + long));
      for (let index = 1; index < 100; index += 1) {
        const own = cookie + BigInt(index);
        const at = 10 * MEBI + index * 4096;
        wanted.set(own, index % 3 === 0 ? CONTENT.subarray(at, at + 4096) : 0);
        if (index % 3 === 0) void raw.send(read(at, 4096, own));
        else
          void raw.send(
            index % 3 === 1 ? flush(own) : write(BOOT.start, CONTENT.subarray(BOOT.start, BOOT.start + 9), own),
          );
        if (index % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await assertAnswers(raw, wanted);
  });

  test('what came with GO, before there was a lane', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const { port } = await serveFiles(context, [disk]);
    const raw = await rawNbd(context, port).greeted();
    const go = encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] }));
    await raw.send(go, read(0, 512, 1n), write(512, noise(512, 4), 2n), read(512, 512, 3n).subarray(0, 10));
    await raw.optionReply();
    await raw.optionReply();
    await assertRead(raw, 1n, CONTENT.subarray(0, 512));
    await assertDone(raw, 2n);
    await raw.send(read(512, 512, 3n).subarray(10));
    await assertRead(raw, 3n, noise(512, 4));
  });

  for (const count of [2000, 4000, 9000, 12_000]) {
    test(`${count} requests came with GO`, async (context) => {
      const disk = await fileBoard(context, 'node1', CONTENT);
      const { port } = await serveFiles(context, [disk]);
      const raw = await rawNbd(context, port).greeted();
      const go = encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] }));
      void raw.send(go, ...Array.from({ length: count }, (_, index) => read(index * 8, 8, BigInt(index))));
      await raw.optionReply();
      await raw.optionReply();
      const wanted = Array.from({ length: count }, (_, index) => CONTENT.subarray(index * 8, index * 8 + 8));
      await assertAnswers(raw, new Map(wanted.map((data, index) => [BigInt(index), data])));
    });
  }

  test('more than lanes take came with GO, and then a half-close: all is answered, and the disk is free', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const served = await serveFiles(context, [disk]);
    const raw = await rawNbd(context, served.port).greeted();
    const go = encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] }));
    const payload = noise(2 * NBD_LANE_INPUT_BYTES, 6);
    void raw.send(go, write(4 * MEBI, payload, 1n));
    raw.socket.end();
    await raw.optionReply();
    await raw.optionReply();
    await assertDone(raw, 1n);
    assert.equal(await raw.reply(), undefined, 'and then it is closed');
    await until(() => served.isIdle(), 'the disk to be free');
    assert.equal(Buffer.compare(disk.content().subarray(4 * MEBI, 4 * MEBI + payload.length), payload), 0);
  });
});

describe('what is not in memory', LIMIT, () => {
  test('is read by the main thread, and the rest of the connection goes on', {
    skip: without('dd', 'coreutils'),
  }, async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    await raw.send(flush(1n));
    await assertDone(raw, 1n);
    await run('dd', [`if=${disk.path}`, 'iflag=nocache', 'count=0', 'status=none']);
    const wanted = new Map<bigint, Uint8Array | number>();
    for (let index = 0; index < 64; index += 1) {
      const at = ((index * 7919) % 2000) * 4096 + index;
      const length = index % 8 === 0 ? 300_000 : 5000;
      wanted.set(BigInt(index), CONTENT.subarray(at, at + length));
      await raw.send(read(at, length, BigInt(index)));
    }
    await assertAnswers(raw, wanted);
  });
});

describe('a client that does not read', LIMIT, () => {
  test('gets all of its replies when it does, each of them whole', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk, await fileBoard(context, 'node2', CONTENT)]);
    const raw = await served.raw();
    const wanted = new Map<bigint, Uint8Array | number>();
    for (let index = 0; index < 300; index += 1) {
      const at = (index % 90) * 100_001;
      const length = [100, 4096, 65_536, 262_144, 262_145, 2_000_000][index % 6] ?? 0;
      const cookie = BigInt(index);
      if (index % 7 === 0) {
        wanted.set(cookie, 0);
        void raw.send(write(BOOT.start, CONTENT.subarray(BOOT.start, BOOT.start + 5000), cookie));
      } else {
        wanted.set(cookie, CONTENT.subarray(at, at + length));
        void raw.send(read(at, length, cookie));
      }
    }
    const other = await served.attach('node2');
    for (let round = 0; round < 200; round += 1) await other.read(round * 4096, 4096);
    await assertAnswers(raw, wanted);
  });
});

describe('the end', LIMIT, () => {
  const LONG = 12 * MEBI;

  for (const [how, end] of [
    ['a half-close', (raw: RawNbd) => void raw.socket.end()],
    ['DISC', (raw: RawNbd) => void raw.send(DISC)],
  ] as const) {
    test(`${how} behind a long read and others: all is answered whole, then it is closed`, async (context) => {
      const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
      const served = await serveFiles(context, [disk]);
      const raw = await served.raw();
      await raw.send(
        read(0, LONG, 1n),
        read(LONG, 4096, 2n),
        write(BOOT.start, CONTENT.subarray(BOOT.start, BOOT.end), 3n),
      );
      end(raw);
      await assertAnswers(
        raw,
        new Map<bigint, Uint8Array | number>([
          [1n, CONTENT.subarray(0, LONG)],
          [2n, CONTENT.subarray(LONG, LONG + 4096)],
          [3n, 0],
        ]),
      );
      assert.equal(await raw.reply(), undefined, 'and then it is closed');
      await until(() => served.isIdle(), 'the disk to be free');
    });
  }

  test('the server stops behind a long read that is being taken: it comes whole', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    await raw.send(read(0, LONG, 1n));
    await assertDone(raw, 1n);
    const first = await raw.receive(MEBI);
    const stopped = served.server.stop();
    const rest = await raw.receive(LONG - MEBI);
    assert.ok(first !== undefined && rest !== undefined);
    assert.equal(Buffer.compare(joined(first, rest), CONTENT.subarray(0, LONG)), 0);
    assert.equal(await raw.reply(), undefined);
    await stopped;
  });

  test('the server stops among writes that wait: every request that was read is answered', async (context) => {
    let open = () => {};
    const ready = new Promise<void>((resolve) => {
      open = resolve;
    });
    let waiting = 0;
    const changing = () => {
      waiting += 1;
      return { ready, over() {} };
    };
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT], changing });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const count = NBD_REQUESTS_IN_FLIGHT_MAX + 150;
    const all = Array.from({ length: count }, (_, index) =>
      write(BOOT.start + index, Uint8Array.of(index & 0xff), BigInt(index)),
    );
    await raw.send(...all);
    await until(() => waiting >= NBD_REQUESTS_IN_FLIGHT_MAX, 'as many as may be under way');
    const stopped = served.server.stop();
    open();
    await assertAnswers(raw, new Map(all.map((_, index) => [BigInt(index), 0])));
    assert.equal(await raw.reply(), undefined);
    await stopped;
    const bytes = disk.content().subarray(BOOT.start, BOOT.start + count);
    assert.deepEqual(
      [...bytes],
      Array.from({ length: count }, (_, index) => index & 0xff),
    );
  });

  test('however and whenever clients go, the disk is free again and others notice nothing', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk, await fileBoard(context, 'node2', CONTENT)]);
    const other = await served.attach('node2');
    const words = joined(
      ...[read(0, 4096), write(4 * MEBI, noise(5000)), read(0, LONG), write(BOOT.start, noise(5000)), flush()],
      ...[write(BOOT.start + 1, noise(300_000), 3n, CommandFlag.Fua), read(MEBI, 200_000), flush(), DISC],
    );
    for (let round = 0; round < 60; round += 1) {
      const raw = await served.raw();
      const cut = Math.floor((words.length * round) / 60);
      void raw.send(words.subarray(0, cut));
      for (let turns = round % 5; turns > 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve));
      if (round % 3 === 0) raw.destroy();
      else if (round % 3 === 1) raw.reset();
      else raw.socket.end();
      if (round % 3 === 2) await raw.ended();
      await other.read(round * 4096, 4096);
    }
    await until(() => served.server.connections().length === 1, 'the disk to be free');
    assert.equal(disk.board.writerLock.holder(), undefined);
  });

  test('bytes that are no request end it, and nothing else', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const served = await serveFiles(context, [disk, await fileBoard(context, 'node2', CONTENT)]);
    const other = await served.attach('node2');
    for (const words of [hex('00'.repeat(28)), joined(write(0, noise(9), 1n), hex('67446698'.repeat(7)))]) {
      const raw = await served.raw();
      await raw.send(words);
      await raw.ended();
      await other.read(0, 4096);
    }
    await until(() => served.server.connections().length === 1, 'the disk to be free');
  });
});

describe('what is refused', LIMIT, () => {
  test('and the connection goes on behind it, payload and all', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT, { watched: [BOOT] });
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    const payload = noise(NBD_LANE_INPUT_BYTES + 5000, 3);
    const far = 2n ** 64n - 1n;
    const { Read, Write, Trim, WriteZeroes, Flush, Cache, BlockStatus } = Command;
    const refused: readonly (readonly [Uint8Array, number])[] = [
      [requestBytes({ command: Read, offset: BEYOND, lengthBytes: 1 }), Errno.EINVAL],
      [requestBytes({ command: Read, offset: far, lengthBytes: 4096 }), Errno.EINVAL],
      [requestBytes({ command: Read, offset: far - 4095n, lengthBytes: 4096 }), Errno.EINVAL],
      [requestBytes({ command: Read, lengthBytes: 0xffff_ffff }), Errno.EINVAL],
      [requestBytes({ command: Read, flags: CommandFlag.Df, lengthBytes: 512 }), Errno.EINVAL],
      [write(SIZE - 1, payload), Errno.ENOSPC],
      [joined(requestBytes({ command: Write, offset: far, lengthBytes: payload.length }), payload), Errno.ENOSPC],
      [write(0, payload, 1n, 0x80), Errno.EINVAL],
      [requestBytes({ command: Trim, offset: BEYOND, lengthBytes: 512 }), Errno.EINVAL],
      [requestBytes({ command: WriteZeroes, offset: BEYOND, lengthBytes: 512 }), Errno.ENOSPC],
      [requestBytes({ command: Flush, offset: 1n }), Errno.EINVAL],
      [requestBytes({ command: Flush, lengthBytes: 1 }), Errno.EINVAL],
      [requestBytes({ command: Cache, offset: BEYOND, lengthBytes: 1 }), Errno.EINVAL],
      [requestBytes({ command: BlockStatus, lengthBytes: 512 }), Errno.EINVAL],
      [requestBytes({ command: 0xffff, lengthBytes: 512 }), Errno.EINVAL],
    ];
    for (const [words, errno] of refused) {
      await raw.send(words, read(512, 4, 7n));
      const wanted = new Map<bigint, Uint8Array | number>([
        [1n, errno],
        [7n, CONTENT.subarray(512, 516)],
      ]);
      await assertAnswers(raw, wanted, Buffer.from(words.subarray(0, 28)).toString('hex'));
    }
    assert.equal(Buffer.compare(disk.content(), CONTENT), 0);
  });

  test('lengths of 0 do nothing and succeed, up to the very end', async (context) => {
    const disk = await fileBoard(context, 'node1', CONTENT);
    const served = await serveFiles(context, [disk]);
    const raw = await served.raw();
    for (const offset of [0, SIZE]) {
      for (const command of [Command.Read, Command.Write, Command.Trim, Command.WriteZeroes, Command.Cache]) {
        await raw.send(requestBytes({ command, offset: BigInt(offset), cookie: 5n }));
        await assertDone(raw, 5n);
      }
    }
    assert.equal(Buffer.compare(disk.content(), CONTENT), 0);
  });
});
