// The quirks of real boards, which pretend boards bring along.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { fetchFile } from '../../src/tftp/client.js';
import { Download, type DownloadCommand, type DownloadSettings } from '../../src/tftp/download.js';
import { decodePacket, encodeData, encodeError, encodeOptionAck, type TftpPacket } from '../../src/tftp/wire.js';
import { noise } from '../support/random.js';
import { rawPeer } from '../support/tftp.js';

function play(settings: Partial<DownloadSettings> = {}) {
  const download = new Download({ path: 'f', ...settings });
  const told = (packet: Uint8Array, nowMs = 0) =>
    download.handle({ kind: 'packet', packet: decodePacket(packet) }, nowMs);
  assert.equal(download.handle({ kind: 'begin' }, 0)[0]?.kind, 'request');
  return { download, told };
}

/** The packets among the commands, decoded. */
const sent = (commands: readonly DownloadCommand[]): TftpPacket[] =>
  commands.flatMap((command) => (command.kind === 'finish' ? [] : [decodePacket(command.packet)]));
const outcome = (commands: readonly DownloadCommand[]): string | undefined => {
  const last = commands.at(-1);
  return last?.kind === 'finish' ? last.result.verdict.outcome : undefined;
};
const FULL = noise(512);

describe('a board', () => {
  test('repeats its RRQ every 2 s, and gives up after 30 s', () => {
    const { download } = play();
    let requestCount = 1;
    for (;;) {
      assert.ok(download.deadlineMs !== undefined);
      const commands = download.handle({ kind: 'tick' }, download.deadlineMs);
      if (commands[0]?.kind === 'finish') {
        assert.equal(outcome(commands), 'timeout');
        break;
      }
      requestCount += 1;
    }
    assert.equal(requestCount, 15);
  });

  test('repeats its ACK when nothing comes, and acknowledges a block again that comes again', () => {
    const { download, told } = play();
    told(encodeData(1, FULL));
    assert.deepEqual(sent(told(encodeData(1, FULL))), [{ kind: 'ack', block: 1 }]);
    assert.ok(download.deadlineMs !== undefined);
    assert.deepEqual(sent(download.handle({ kind: 'tick' }, download.deadlineMs)), [{ kind: 'ack', block: 1 }]);
  });

  test('with start4.elf of 2021 hangs on a block that comes twice (raspberrypi/firmware#1631)', () => {
    const { told } = play({ hangsOnDuplicate: true });
    told(encodeData(1, FULL));
    const commands = told(encodeData(1, FULL));
    assert.deepEqual(sent(commands), [{ kind: 'ack', block: 2 }]);
    assert.equal(outcome(commands), 'hung');
  });

  test('of before 2025-09 knows no block behind 65535 (raspberrypi/rpi-eeprom#720)', () => {
    for (const rollsOver of [true, false]) {
      const { told } = play({ rollsOver, options: new Map([['blksize', '8']]) });
      told(encodeOptionAck(new Map([['blksize', '8']])));
      let commands: readonly DownloadCommand[] = [];
      for (let block = 1; block <= 65_535; block += 1) commands = told(encodeData(block, FULL.subarray(0, 8)));
      assert.equal(outcome(commands), rollsOver ? undefined : 'outOfBlockNumbers');
      if (!rollsOver) continue;
      assert.deepEqual(sent(told(encodeData(0, FULL.subarray(0, 8)))), [{ kind: 'ack', block: 0 }]);
      assert.equal(outcome(told(encodeData(1, FULL.subarray(0, 3)))), 'complete');
    }
  });

  test('probes in either way', () => {
    const afterOptionAck = play({ abort: 'afterOptionAck' }).told(encodeOptionAck(new Map([['tsize', '9']])));
    assert.deepEqual(sent(afterOptionAck), [{ kind: 'error', code: 0, message: 'Early terminate' }]);
    assert.equal(outcome(afterOptionAck), 'aborted');
    assert.equal(outcome(play({ abort: 'afterData1' }).told(encodeData(1, FULL))), 'aborted');
  });

  test('is told what an ERROR said', () => {
    const [command] = play().told(encodeError(1, 'file not found'));
    assert.ok(command?.kind === 'finish');
    assert.deepEqual(command.result.verdict, { outcome: 'refused', code: 1, message: 'file not found' });
  });

  test('in a window says once that a block is missing', () => {
    const { told } = play({ options: new Map([['windowsize', '4']]) });
    told(encodeOptionAck(new Map([['windowsize', '4']])));
    assert.deepEqual(told(encodeData(1, FULL)), []);
    assert.deepEqual(sent(told(encodeData(3, FULL))), [{ kind: 'ack', block: 1 }]);
    assert.deepEqual(told(encodeData(4, FULL)), []);
  });
});

describe('over the wire', () => {
  test('an OACK or a block from another address or another port is not for us', async (context) => {
    const main = await rawPeer(context);
    const transfer = await rawPeer(context);
    const stranger = await rawPeer(context, '127.0.0.7');
    const fetching = fetchFile({
      path: 'f',
      server: { address: '127.0.0.1', port: main.port },
      local: { address: '127.0.0.1', port: 0 },
      clock: systemClock,
    });
    const { port } = await main.next();
    stranger.send(encodeData(1, Buffer.from('forged')), port);
    transfer.send(encodeData(1, FULL), port);
    await transfer.next();
    main.send(encodeData(2, Buffer.from('another port')), port);
    transfer.send('\0', port);
    transfer.send(encodeData(2, Buffer.from('end')), port);
    const { bytes, verdict } = await fetching;
    assert.equal(verdict.outcome, 'complete');
    assert.equal(Buffer.from(bytes).subarray(512).toString(), 'end');
  });
});
