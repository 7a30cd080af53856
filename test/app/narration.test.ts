import assert from 'node:assert/strict';
import { test } from 'node:test';
import { narration } from '../../src/app/narration.js';
import type { Log } from '../../src/base/log.js';
import { AddressBook } from '../../src/boards/identity/address-book.js';
import { Discovery } from '../../src/boards/identity/discovery.js';
import { lookupAmong } from '../../src/boards/identity/inventory-lookup.js';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { Journal } from '../../src/boards/journal/journal.js';
import { Metrics } from '../../src/web/metrics.js';
import { boardOf } from '../support/boards.js';
import { FakeClock } from '../support/fake-clock.js';
import { noStates } from '../support/status.js';

function fixture() {
  const clock = new FakeClock();
  const lines: string[] = [];
  const write = (_facts: object, event: string) => void lines.push(event);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const suspicions: string[] = [];
  const node1 = {
    ...boardOf('node1', 'bf9fed6f'),
    writerLock: { ...boardOf('node1', '1').writerLock, suspect: () => void suspicions.push('node1') },
  };
  const addresses = new AddressBook(() => undefined);
  const discovery = new Discovery();
  const metrics = new Metrics(
    { ...noStates, unknownBoards: () => discovery.count() },
    { version: '1', boardNames: ['node1'] },
  );
  const lookup = lookupAmong([node1], addresses);
  const tell = narration({
    journal: new Journal(clock),
    metrics,
    discovery,
    addresses,
    lookup,
    log,
    clock,
    freeDisk: () => ({ image: 'spare', disk: 'direct' }),
  });
  return { tell, lines, addresses, discovery, suspectedCount: () => suspicions.length };
}

const ended = { kind: 'transferEnded', peer: '10.0.0.9', role: undefined, outcome: 'not_found' } as const;
const nothing = { sizeBytes: undefined, sentBytes: 0, durationMs: 1 } as const;

test('what DHCP shows is remembered, and a board that asks is doubted to hold its disk', () => {
  const { tell, addresses, suspectedCount, lines } = fixture();
  const discover: BoardEvent = {
    ...{ board: 'node1', kind: 'discover', mac: 'e4:5f:01:00:00:01', serial: 'bf9fed6f' },
    ...{ model: 'Pi 4', interfaceName: 'eth0', answer: 'offered' },
  };
  tell(discover);
  tell({ board: 'node1', kind: 'addressRequested', mac: 'e4:5f:01:00:00:01', address: '10.0.0.7' });
  tell({ board: 'node1', kind: 'bootFileRequested', peer: '10.0.0.7', path: 'config.txt' });
  assert.equal(addresses.serialOf('e4:5f:01:00:00:01'), 'bf9fed6f');
  assert.equal(addresses.macOf('10.0.0.7'), 'e4:5f:01:00:00:01');
  assert.equal(suspectedCount(), 2);
  assert.deepEqual(lines, ['boot.started', 'boot.stage']);
});

test('a serial of no board that is asked for by TFTP is shown once, with the lines to add', () => {
  const { tell, discovery, lines } = fixture();
  for (const path of ['99887766/config.txt', '/99887766/start4.elf', 'config.txt', 'bf9fed6f/x']) {
    tell({ board: undefined, ...ended, ...nothing, path });
  }
  assert.deepEqual(
    discovery.asking().map(({ serial, peer }) => [serial, peer]),
    [['99887766', '10.0.0.9']],
  );
  assert.deepEqual(lines, ['tftp.board.unknown']);
});
