import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  NBD_OPTION_BYTES_MAX,
  NBD_OPTION_DISCARD_BYTES_MAX,
  NBD_PAYLOAD_BYTES_MAX,
  NBD_PIECE_BYTES,
} from '../../../src/base/limits.js';
import { Malformed } from '../../../src/base/malformed.js';
import { BufferPool } from '../../../src/nbd/session/buffer-pool.js';
import { refusal } from '../../../src/nbd/session/transmission.js';
import { ByteQueue } from '../../../src/nbd/wire/byte-queue.js';
import { Command, CommandFlag, Option } from '../../../src/nbd/wire/constants.js';
import {
  type Arrival,
  HandshakeFraming,
  type HandshakeMessage,
  RequestFraming,
} from '../../../src/nbd/wire/framing.js';
import { encodeClientFlags, encodeExportRequest, encodeOption } from '../../../src/nbd/wire/handshake-wire.js';
import {
  EXTENDED_REQUEST_BYTES,
  EXTENDED_REQUESTS,
  encodeExtendedRequest,
  type NbdRequest,
} from '../../../src/nbd/wire/transmission-wire.js';
import { joined, requestBytes, requestOf } from '../../support/nbd-bytes.js';

const HANDSHAKE = joined(
  encodeClientFlags(3),
  encodeOption(Option.List, new Uint8Array(0)),
  encodeOption(99, new Uint8Array(NBD_OPTION_BYTES_MAX + 1)),
  encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [3] })),
);

const REQUESTS = joined(
  requestBytes({ command: Command.Read, cookie: 1n, lengthBytes: 512 }),
  requestBytes({ command: Command.Write, cookie: 2n, offset: 512n, lengthBytes: 5 }),
  Uint8Array.of(1, 2, 3, 4, 5),
  // Beyond the end: its payload must be read away, or the next request would be looked for in the middle of it.
  requestBytes({ command: Command.Write, cookie: 3n, offset: 4096n, lengthBytes: 3 }),
  Uint8Array.of(9, 9, 9),
  requestBytes({ command: 77, cookie: 4n, lengthBytes: 1000 }),
  requestBytes({ command: Command.Write, cookie: 5n, offset: 4096n, lengthBytes: 0 }),
  requestBytes({ command: Command.Flush, cookie: 6n }),
);

function handshakeMessages(chunks: readonly Uint8Array[]): HandshakeMessage[] {
  const queue = new ByteQueue();
  return cut(queue, new HandshakeFraming(queue), chunks).map((message) =>
    message.kind === 'option' ? { ...message, body: message.body.slice() } : message,
  );
}

function arrivals(chunks: readonly Uint8Array[], sizeBytes = 4096): Arrival[] {
  const queue = new ByteQueue();
  const framing = new RequestFraming(
    queue,
    (request) => refusal(request, { sizeBytes, inChunks: false, flagsPayload: false, tellsAllocation: false }),
    new BufferPool(),
  );
  return cut(queue, framing, chunks);
}

function cut<T>(queue: ByteQueue, framing: { next(): T | undefined }, chunks: readonly Uint8Array[]): T[] {
  return chunks.flatMap((chunk) => {
    queue.push(chunk);
    const found: T[] = [];
    for (let one = framing.next(); one !== undefined; one = framing.next()) found.push(one);
    return found;
  });
}

function splitAt(bytes: Uint8Array, at: number): Uint8Array[] {
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

function bytewise(bytes: Uint8Array): Uint8Array[] {
  return [...bytes].map((byte) => Uint8Array.of(byte));
}

describe('the framing of a handshake', () => {
  const whole = handshakeMessages([HANDSHAKE]);

  test('finds every message, and reads away what is too large to be stored', () => {
    assert.deepEqual(
      whole.map((message) => (message.kind === 'clientFlags' ? 'flags' : `${message.kind} ${message.option}`)),
      ['flags', 'option 3', 'oversizedOption 99', 'option 7'],
    );
  });
  test('finds the same at every split', () => {
    for (let at = 0; at <= 60; at += 1) assert.deepEqual(handshakeMessages(splitAt(HANDSHAKE, at)), whole);
    for (let at = HANDSHAKE.length - 60; at <= HANDSHAKE.length; at += 1) {
      assert.deepEqual(handshakeMessages(splitAt(HANDSHAKE, at)), whole);
    }
    assert.deepEqual(handshakeMessages(bytewise(HANDSHAKE)), whole);
  });
  test('ends when an option announces more data than will be read away', () => {
    const bytes = encodeOption(99, new Uint8Array(0));
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(12, NBD_OPTION_DISCARD_BYTES_MAX + 1);
    assert.throws(() => handshakeMessages([encodeClientFlags(0), bytes]), Malformed);
  });
  test('ends after too many options', () => {
    const many = Array.from({ length: 200 }, () => encodeOption(99, new Uint8Array(0)));
    assert.throws(() => handshakeMessages([encodeClientFlags(0), ...many]), /more than 128 options/);
  });
});

describe('the framing of requests', () => {
  const whole = arrivals([REQUESTS]);

  test('finds every request, its payload, and nothing of a refused payload', () => {
    assert.deepEqual(
      whole.map((one) => [one.request.cookie, one.kind === 'refused' ? one.refusal.errno : one.kind]),
      [
        [1n, 'request'],
        [2n, 'payload'],
        [3n, 'ENOSPC'],
        [4n, 'EINVAL'],
        [5n, 'payload'],
        [6n, 'request'],
      ],
    );
    const write = whole[1];
    assert.ok(write?.kind === 'payload');
    assert.deepEqual(Uint8Array.from(write.bytes), Uint8Array.of(1, 2, 3, 4, 5));
    assert.ok(write.isLast);
  });
  test('finds the same at every split', () => {
    for (let at = 0; at <= REQUESTS.length; at += 1) assert.deepEqual(arrivals(splitAt(REQUESTS, at)), whole);
    assert.deepEqual(arrivals(bytewise(REQUESTS)), whole);
  });
  test('finds the same at any splits', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(REQUESTS.length), { maxLength: 8 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), REQUESTS.length];
        assert.deepEqual(arrivals(at.slice(1).map((end, index) => REQUESTS.subarray(at[index], end))), whole);
      }),
      { numRuns: 200 },
    );
  });
  test('hands a large payload out in pieces, each with its place', () => {
    const lengthBytes = 2 * NBD_PIECE_BYTES + 7;
    const payload = new Uint8Array(lengthBytes).map((_, index) => index >> 12);
    const pieces = arrivals([requestBytes({ command: Command.Write, lengthBytes }), payload], lengthBytes);
    assert.deepEqual(
      pieces.map((one) => one.kind === 'payload' && [one.at, one.bytes.length, one.isLast]),
      [
        [0, NBD_PIECE_BYTES, false],
        [NBD_PIECE_BYTES, NBD_PIECE_BYTES, false],
        [2 * NBD_PIECE_BYTES, 7, true],
      ],
    );
    const together = joined(...pieces.map((one) => (one.kind === 'payload' ? one.bytes : new Uint8Array(0))));
    assert.ok(Buffer.from(payload).equals(together));
  });
  test('takes no memory for a WRITE of 4 GiB, and knows where it ends', () => {
    const queue = new ByteQueue();
    const serving = { sizeBytes: 2 ** 40, inChunks: false, flagsPayload: false, tellsAllocation: false };
    const framing = new RequestFraming(queue, (request) => refusal(request, serving), new BufferPool());
    queue.push(requestBytes({ command: Command.Write, lengthBytes: 0xffff_ffff }));
    assert.equal(framing.next(), undefined);
    assert.equal(framing.collectedBytes, 0);
    const chunk = new Uint8Array(2 ** 30);
    for (const length of [2 ** 30, 2 ** 30, 2 ** 30, 2 ** 30 - 2]) {
      queue.push(chunk.subarray(0, length));
      assert.equal(framing.next(), undefined);
      assert.equal(queue.length, 0);
    }
    queue.push(Uint8Array.of(0));
    const request = requestOf({ command: Command.Write, lengthBytes: 0xffff_ffff });
    assert.deepEqual(framing.next(), {
      kind: 'refused',
      request,
      refusal: { errno: 'EINVAL', because: 'tooLong' },
    });
  });
  test('with extended headers goes by the flag, not by the command, to find payloads', () => {
    const bytes = (parts: Parameters<typeof requestOf>[0]) => {
      const target = new Uint8Array(EXTENDED_REQUEST_BYTES);
      encodeExtendedRequest(requestOf(parts), target);
      return target;
    };
    const flags = CommandFlag.PayloadLen;
    const stream = joined(
      bytes({ command: Command.Write, flags, cookie: 1n, lengthBytes: 3 }),
      Uint8Array.of(1, 2, 3),
      // An effect length: nothing follows.
      bytes({ command: Command.Write, cookie: 2n, lengthBytes: 3 }),
      // A payload where none is wanted must be read away.
      bytes({ command: Command.BlockStatus, flags, cookie: 3n, lengthBytes: 12 }),
      new Uint8Array(12).fill(0xff),
      bytes({ command: 77, flags, cookie: 4n, lengthBytes: 40 }),
      new Uint8Array(40).fill(0xff),
      bytes({ command: Command.Trim, cookie: 5n, lengthBytes: 2 ** 40 }),
    );
    const serving = { sizeBytes: 2 ** 41, inChunks: true, flagsPayload: true, tellsAllocation: true };
    const found = (chunks: readonly Uint8Array[]) => {
      const queue = new ByteQueue();
      const judge = (request: NbdRequest) => refusal(request, serving);
      return cut(queue, new RequestFraming(queue, judge, new BufferPool(), EXTENDED_REQUESTS), chunks);
    };
    const whole = found([stream]);
    assert.deepEqual(
      whole.map((one) => [one.request.cookie, one.kind === 'refused' ? one.refusal.because : one.kind]),
      [
        [1n, 'payload'],
        [2n, 'noPayload'],
        [3n, 'unknownFlags'],
        [4n, 'unknownCommand'],
        [5n, 'request'],
      ],
    );
    for (let at = 0; at <= stream.length; at += 1) assert.deepEqual(found(splitAt(stream, at)), whole);
    for (const lengthBytes of [NBD_PAYLOAD_BYTES_MAX + 1, 2 ** 32, 2 ** 53]) {
      for (const command of [Command.Write, 77]) {
        assert.throws(() => found([bytes({ command, flags, lengthBytes })]), Malformed);
      }
    }
  });
  test('of any bytes finds requests or is malformed', () => {
    const some = fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(REQUESTS.subarray(0, 28))), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(some, (chunks) => {
        try {
          arrivals(chunks);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  });
});

describe('a queue of bytes', () => {
  test('gives back what was pushed, whichever way it is taken', () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 });
    const takes = fc.array(fc.tuple(fc.constantFrom('take', 'moveInto', 'drop'), fc.nat(30)), { maxLength: 20 });
    fc.assert(
      fc.property(chunks, takes, (pushed, taken) => {
        const queue = new ByteQueue();
        for (const chunk of pushed) queue.push(chunk);
        let rest = joined(...pushed);
        for (const [how, length] of taken) {
          const expected = rest.subarray(0, length);
          if (how === 'take') {
            assert.deepEqual(queue.take(length), rest.length < length ? undefined : Uint8Array.from(expected));
            if (rest.length < length) continue;
          } else if (how === 'moveInto') {
            const target = new Uint8Array(length);
            assert.equal(queue.moveInto(target), expected.length);
            assert.deepEqual(target.subarray(0, expected.length), Uint8Array.from(expected));
          } else {
            assert.equal(queue.drop(length), expected.length);
          }
          rest = rest.slice(expected.length);
          assert.equal(queue.length, rest.length);
        }
      }),
    );
  });
});
