import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TFTP_STRANGERS_ANSWERED_MAX } from '../../src/base/limits.js';
import type { OpenVerdict } from '../../src/boards/boot-files/boot-file.js';
import { fakeBoard } from '../support/fake-board.js';
import { FakeClock } from '../support/fake-clock.js';
import { noise } from '../support/random.js';
import { ack, errorOf, rawPeer, rrq, serve } from '../support/tftp.js';

const KERNEL = noise(300_000);

function aBoard() {
  return fakeBoard('00000001', {
    'kernel8.img': KERNEL,
    'slow.img': { bytes: KERNEL, inMemory: false },
    'config.txt': Buffer.from('arm_64bit=1\n'),
    empty: new Uint8Array(0),
    whole: noise(1024),
    changed: { bytes: noise(2000), held: 'changed' },
    broken: { bytes: noise(9000), lostFrom: 3000 },
    'loops/here': async (): Promise<OpenVerdict> => ({ answer: 'failed', because: 'the FAT loops at cluster 7' }),
    thrown: () => Promise.reject(new Error('nobody foresaw this')),
  });
}

describe('fetching', () => {
  const ways: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'as a Pi 3 ROM, without options': {},
    'as bootcode.bin, with tsize only': { tsize: '0' },
    'as a Pi 4 of 2021': { tsize: '0', blksize: '1024' },
    'as a Pi 5': { tsize: '0', blksize: '1468' },
    'with a window': { tsize: '0', blksize: '512', windowsize: '16' },
  };
  for (const [name, options] of Object.entries(ways)) {
    for (const singlePort of [false, true]) {
      test(`${name}${singlePort ? ', on a single port' : ''}`, async (context) => {
        const served = await serve(context, [aBoard().board], { singlePort });
        for (const path of ['kernel8.img', 'slow.img']) {
          const result = await served.fetch(`00000001/${path}`, { options: new Map(Object.entries(options)) });
          assert.equal(result.verdict.outcome, 'complete');
          assert.deepEqual(Buffer.from(result.bytes), Buffer.from(KERNEL));
          assert.equal(result.seen.duplicateBlocks, 0);
          assert.equal(result.acknowledged?.get('tsize'), 'tsize' in options ? '300000' : undefined);
        }
      });
    }
  }

  test('an empty file, and one of whole blocks', async (context) => {
    const served = await serve(context, [aBoard().board]);
    assert.equal((await served.fetch('00000001/empty')).blockCount, 1);
    const whole = await served.fetch('00000001/whole', { options: new Map([['tsize', '0']]) });
    assert.equal(whole.blockCount, 3);
    assert.deepEqual(Buffer.from(whole.bytes), Buffer.from(noise(1024)));
  });

  test('netascii, without tsize', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const result = await served.fetch('00000001/config.txt', { mode: 'netascii', options: new Map([['tsize', '0']]) });
    assert.equal(Buffer.from(result.bytes).toString(), 'arm_64bit=1\r\n');
    assert.equal(result.acknowledged, undefined);
  });

  test('300 boards at once', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const options = new Map([['blksize', '1468']]);
    const all = Array.from({ length: 300 }, (_, index) => {
      const local = { address: `127.0.${1 + Math.floor(index / 50)}.${1 + (index % 50)}`, port: 0 };
      return served.fetch('00000001/whole', { options, local });
    });
    const outcomes = new Set((await Promise.all(all)).map(({ verdict }) => verdict.outcome));
    assert.deepEqual([...outcomes], ['complete']);
    await served.ended(300);
    assert.equal(served.server.transferCount(), 0);
  });

  test('tells what was asked for and how it ended', async (context) => {
    const served = await serve(context, [aBoard().board]);
    await served.fetch('00000001/kernel8.img');
    await served.ended(1);
    const [requested, ended] = served.events;
    const facts = { board: 'board-00000001', peer: '127.0.0.1', path: 'kernel8.img' };
    assert.deepEqual(requested, { kind: 'bootFileRequested', ...facts });
    assert.ok(ended?.kind === 'transferEnded' && ended.durationMs >= 0);
    const { durationMs: _, ...rest } = ended;
    const numbers = { role: 'other', sizeBytes: KERNEL.length, sentBytes: KERNEL.length };
    assert.deepEqual(rest, { kind: 'transferEnded', ...facts, outcome: 'complete', ...numbers });
  });
});

describe('where the answer comes from', () => {
  test('from the address that was asked', async (context) => {
    const served = await serve(context, [aBoard().board], { addresses: ['127.0.0.1', '127.0.0.2'] });
    const second = served.server.addresses()[1];
    assert.ok(second !== undefined);
    const peer = await rawPeer(context);
    for (const path of ['00000001/whole', '00000001/missing']) {
      peer.send(rrq(path), second.port, second.address);
      assert.equal((await peer.next()).address, '127.0.0.2');
    }
    const result = await served.fetch('00000001/kernel8.img', { server: second });
    assert.equal(result.verdict.outcome, 'complete');
  });

  test('each transfer has a port of its own, or all have the main one', async (context) => {
    for (const singlePort of [false, true]) {
      const served = await serve(context, [aBoard().board], { singlePort });
      const ports = new Set<number>();
      for (let count = 0; count < 3; count += 1) {
        const peer = await rawPeer(context);
        peer.send(rrq('00000001/whole'), served.port);
        ports.add((await peer.next()).port);
      }
      assert.equal(ports.has(served.port), singlePort);
      assert.equal(ports.size, singlePort ? 1 : 3);
    }
  });
});

describe('probes', () => {
  test('one that ends behind the OACK has read nothing and is over at once', async (context) => {
    const { board, traffic } = aBoard();
    const served = await serve(context, [board]);
    const result = await served.fetch('00000001/kernel8.img', {
      options: new Map([['tsize', '0']]),
      abort: 'afterOptionAck',
    });
    assert.equal(result.verdict.outcome, 'aborted');
    const [ended] = await served.ended(1);
    assert.equal(ended?.outcome, 'probe');
    assert.deepEqual(traffic, { opened: 1, held: 0, closed: 1, readUpTo: 0 });
  });

  test('one that ends behind DATA 1 has read that block', async (context) => {
    const { board, traffic } = aBoard();
    const served = await serve(context, [board]);
    await served.fetch('00000001/kernel8.img', { abort: 'afterData1' });
    const [ended] = await served.ended(1);
    assert.equal(ended?.outcome, 'probe');
    assert.deepEqual(traffic, { opened: 1, held: 1, closed: 1, readUpTo: 512 });
  });

  test('silence ends one after the first timeout; nothing was sent but the OACK', async (context) => {
    const clock = new FakeClock();
    const { board, traffic } = aBoard();
    const served = await serve(context, [board], { clock, singlePort: true });
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole', 'tsize', '0'), served.port);
    await peer.next();
    clock.advance(60_000);
    const [ended] = await served.ended(1);
    assert.equal(ended?.outcome, 'probe');
    assert.equal(peer.waiting(), 0);
    assert.equal(traffic.closed, 1);
  });
});

describe('refusals', () => {
  test('what is not there, or not ours, is refused at once with a sentence', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const peer = await rawPeer(context);
    const rows: readonly [bytes: string, code: number, text: RegExp][] = [
      [rrq('00000001/start.elf'), 1, /^file not found$/],
      [rrq('deadbeef/start4.elf'), 1, /serial deadbeef/],
      [rrq('00000001/../00000002/f'), 2, /upwards/],
      [rrq('00000001/loops/here'), 0, /cluster 7/],
      [rrq('00000001/thrown'), 0, /^internal error$/],
      ['\0\x0200000001/f\0octet\0', 2, /read-only/],
      ['\0\x0100000001/f\0mail\0', 4, /mail/],
      ['\0\x0100000001/f', 4, /./],
      [`\0\x01${'x'.repeat(2000)}\0octet\0`, 4, /2009 bytes/],
      [rrq('\x1b[2J\n\xff/f'), 2, /^[\x20-\x7e]+$/],
    ];
    for (const [bytes, code, text] of rows) {
      peer.send(bytes, served.port);
      const answer = await peer.next();
      const [gotCode, gotText] = errorOf(answer.bytes);
      assert.equal(gotCode, code, gotText);
      assert.match(gotText, text);
      assert.equal(answer.port, served.port);
    }
  });

  test('not found is told with the board if it is known', async (context) => {
    const served = await serve(context, [aBoard().board]);
    await served.fetch('00000001/start.elf');
    await served.fetch('deadbeef/start.elf');
    const ended = await served.ended(2);
    assert.deepEqual(
      ended.map(({ outcome, path }) => [outcome, path]),
      [
        ['not_found', 'start.elf'],
        ['not_found', 'deadbeef/start.elf'],
      ],
    );
    assert.deepEqual(
      served.events.map(({ board }) => board),
      ['board-00000001', undefined],
    );
  });

  test('nothing at the main port but a request is answered, however it looks', async (context) => {
    for (const singlePort of [false, true]) {
      const served = await serve(context, [aBoard().board], { singlePort });
      const peer = await rawPeer(context);
      const unanswered = ['', '\0', '\0\x03\0\x01abc', '\0\x04\0\0', '\0\x04\0\x01', '\0\x05\0\0text\0', '\0\x05\0'];
      const more = ['\0\x05\x12\x34text', '\0\x06tsize\x000\0', '\0\x06', '\0\x00', '\0\x07', '\0\x63', 'GET /', 'x'];
      for (const bytes of [...unanswered, ...more, '\0'.repeat(65_000)]) peer.send(bytes, served.port);
      peer.send(rrq('00000001/missing'), served.port);
      assert.equal(errorOf((await peer.next()).bytes)[0], 1, 'the first answer is that to the request');
      assert.equal(peer.waiting(), 0);
    }
  });

  test('a file that changed before ACK 0, or fails on the way, ends its transfer with ERROR 0', async (context) => {
    const served = await serve(context, [aBoard().board]);
    for (const path of ['00000001/changed', '00000001/broken']) {
      const { verdict } = await served.fetch(path, { options: new Map([['tsize', '0']]) });
      assert.ok(verdict.outcome === 'refused' && verdict.code === 0, verdict.outcome);
    }
    const outcomes = (await served.ended(2)).map(({ outcome, because }) => [outcome, because]);
    assert.deepEqual(outcomes, [
      ['error', 'the file was changed since it was asked for: ask again'],
      ['error', 'the disk failed'],
    ]);
  });
});

describe('who is not to be answered', () => {
  test('hears nothing at the main port, whatever it sends, while others are served', async (context) => {
    for (const singlePort of [false, true]) {
      const answers = (peer: string) => peer !== '127.0.0.9';
      const served = await serve(context, [aBoard().board], { singlePort, answers });
      const stranger = await rawPeer(context, '127.0.0.9');
      const sent = [rrq('00000001/whole'), rrq('00000001/none'), '\0\x02a\0octet\0', '\0\x01', '\0\x01a\0mail\0', ''];
      for (const bytes of sent) stranger.send(bytes, served.port);
      const { verdict } = await served.fetch('00000001/whole');
      assert.equal(verdict.outcome, 'complete');
      assert.equal(stranger.waiting(), 0);
      assert.deepEqual(new Set(served.events.map((event) => 'peer' in event && event.peer)), new Set(['127.0.0.1']));
    }
  });

  test('hears nothing at the port of a transfer either', async (context) => {
    const served = await serve(context, [aBoard().board], { answers: (peer) => peer !== '127.0.0.9' });
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    const { port } = await peer.next();
    const stranger = await rawPeer(context, '127.0.0.9');
    stranger.send(ack(1), port);
    peer.send(ack(1), port);
    assert.equal((await peer.next()).bytes.readUInt16BE(2), 2);
    assert.equal(stranger.waiting(), 0);
  });
});

describe('strangers and repeats', () => {
  test('a stranger at the port of a transfer is told so a few times, and the transfer goes on', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    const { port } = await peer.next();
    const stranger = await rawPeer(context, '127.0.0.9');
    stranger.send('\0\x05\0\0an ERROR is never answered\0', port);
    stranger.send('\0\x05\0\0this one neither\0', port);
    for (let count = 0; count < 50; count += 1) stranger.send(ack(1), port);
    for (let count = 0; count < TFTP_STRANGERS_ANSWERED_MAX; count += 1) {
      assert.equal(errorOf((await stranger.next()).bytes)[0], 5);
    }
    peer.send(ack(1), port);
    assert.equal((await peer.next()).bytes.readUInt16BE(2), 2);
    assert.equal(stranger.waiting(), 0);
  });

  test('an RRQ that comes again starts no second transfer and brings no second OACK', async (context) => {
    for (const singlePort of [false, true]) {
      const { board, traffic } = aBoard();
      const served = await serve(context, [board], { singlePort });
      const peer = await rawPeer(context);
      for (let count = 0; count < 5; count += 1) peer.send(rrq('00000001/whole', 'tsize', '0'), served.port);
      const oack = await peer.next();
      for (let count = 0; count < 5; count += 1) peer.send(rrq('00000001/whole', 'tsize', '0'), served.port);
      peer.send(ack(0), oack.port);
      const data = await peer.next();
      assert.equal(data.bytes.readUInt16BE(0), 3);
      assert.equal(data.port, oack.port);
      assert.equal(traffic.opened, 1);
    }
  });

  test('another file asked for from the same port ends the transfer before', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    await peer.next();
    peer.send(rrq('00000001/config.txt'), served.port);
    assert.match((await peer.next()).bytes.toString(), /arm_64bit/);
    const [ended] = await served.ended(1);
    assert.deepEqual([ended?.path, ended?.outcome], ['whole', 'probe']);
  });

  test('a board that begins anew from the same port is served again (a Pi 3 ROM always asks from 49152)', async (context) => {
    const clock = new FakeClock();
    const served = await serve(context, [aBoard().board], { clock, singlePort: true });
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    const first = await peer.next();
    peer.send(ack(1), first.port);
    await peer.next();
    peer.send(rrq('00000001/whole'), served.port);
    peer.send(ack(2), first.port);
    const third = await peer.next();
    assert.deepEqual([third.port, third.bytes.readUInt16BE(2)], [first.port, 3], 'a late RRQ ends nothing');
    clock.advance(2_500);
    assert.equal((await peer.next()).bytes.readUInt16BE(2), 3, 'sent again by the timer');
    peer.send(rrq('00000001/whole'), served.port);
    const anew = await peer.next();
    assert.equal(anew.bytes.readUInt16BE(2), 1);
  });
});
