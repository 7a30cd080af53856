import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromNetwork, handedLines, handedWarnings, sortHanded } from '../../src/app/handed-sockets.js';
import type { Inventory } from '../../src/inventory/inventory.js';
import { parseInventory } from '../../src/inventory/parse.js';
import type { HandedSocket } from '../../src/os/handed-descriptors.js';

const tcp: HandedSocket = { type: 'stream', listens: true, place: { kind: 'ipv4', address: '0.0.0.0', port: 10809 } };
const udp: HandedSocket = { type: 'datagram', listens: false, place: { kind: 'ipv4', address: '10.0.0.1', port: 69 } };
const unix: HandedSocket = { type: 'stream', listens: true, place: { kind: 'unix', path: '/run/nbd.sock' } };
const everywhere: HandedSocket = { ...udp, place: { kind: 'ipv6', address: '::', port: 69 } };

function sorted(...handed: readonly (readonly [name: string, socket: HandedSocket | undefined])[]) {
  const descriptors = handed.map(([name], index) => ({ descriptor: index + 3, name }));
  return sortHanded(descriptors, (descriptor) => handed[descriptor - 3]?.[1]);
}

function refusal(name: string, socket: HandedSocket | undefined): string {
  const verdict = sorted([name, socket]);
  return verdict.answer === 'refused' ? verdict.because.join('\n') : '';
}

function inventory(text: string): Inventory {
  const verdict = parseInventory(text, 'config.yaml');
  assert.equal(verdict.answer, 'inventory');
  return verdict.inventory;
}

describe('sockets that systemd hands over', () => {
  test('are sorted by their names, several of a name', () => {
    const verdict = sorted(['nbd', tcp], ['tftp', udp], ['nbd', unix], ['http', { ...tcp, place: everywhere.place }]);
    assert.equal(verdict.answer, 'sockets');
    assert.deepEqual(handedLines(verdict.sockets), [
      'nbd from systemd 0.0.0.0 port 10809',
      'nbd from systemd /run/nbd.sock',
      'http from systemd :: port 69',
      'tftp from systemd 10.0.0.1 port 69',
    ]);
    assert.equal(fromNetwork(verdict.sockets.nbd).length, 1);
  });

  for (const [name, socket, wanted] of [
    [
      'brambleboot.socket',
      tcp,
      /3, "brambleboot.socket" at 0\.0\.0\.0 port 10809: .* write FileDescriptorName=nbd, http or tftp/,
    ],
    ['unknown', undefined, /3, "unknown": this is no socket/],
    ['nbd', udp, /nbd takes streams: write ListenStream= in place of ListenDatagram=/],
    ['http', { ...unix, type: 'other' }, /in place of ListenSequentialPacket=/],
    ['nbd', { ...tcp, listens: false }, /does not listen: write Accept=no/],
    ['nbd', { ...tcp, place: { kind: 'unknown', family: 40 } }, /address family 40: only IPv4, IPv6 and Unix sockets/],
    ['tftp', tcp, /TFTP takes datagrams, .* write ListenDatagram=ADDRESS:69/],
    ['tftp', unix, /TFTP takes datagrams/],
    ['tftp', { ...unix, type: 'datagram' }, /boards speak IPv4 alone: write ListenDatagram=/],
    ['tftp', everywhere, /at :: port 69: answers have to come from the very address that was asked: write/],
    ['tftp', { ...udp, place: { kind: 'ipv4', address: '0.0.0.0', port: 69 } }, /from the very address/],
  ] as const) {
    test(`are refused where they do not fit, with what to write: ${name} ${wanted.source}`, () => {
      assert.match(refusal(name, socket), wanted);
    });
  }

  test('are refused all at once, each with its reason', () => {
    const verdict = sorted(['nbd', udp], ['http', tcp], ['tftp', tcp]);
    assert.equal(verdict.answer === 'refused' && verdict.because.length, 2);
  });

  test('are warned of where boards would not come to them', () => {
    const verdict = sorted(['nbd', tcp], ['tftp', udp]);
    assert.equal(verdict.answer, 'sockets');
    const texts = (yaml: string) => handedWarnings(verdict.sockets, inventory(yaml));
    assert.deepEqual(texts('nbd: { port: 10809 }'), []);
    assert.match(texts('nbd: { port: 10810 }').join(), /holds nbd port 10809, but boards ask at nbd\.port, 10810/);
    assert.match(texts('tftp: { enabled: false }').join(), /tftp\.enabled is false: .* stop its \.socket unit/);
  });
});
