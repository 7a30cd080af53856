// Whose disk is for whom.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { parseSubnet } from '../../../src/base/subnets.js';
import type { Board } from '../../../src/boards/board.js';
import { connectNbd } from '../../../src/nbd/client/client.js';
import { exportsFor } from '../../../src/nbd/handshake/admission.js';
import { CLEAR } from '../../../src/nbd/handshake/tls-peer.js';
import { Option, OptionReply } from '../../../src/nbd/wire/constants.js';
import { encodeOption } from '../../../src/nbd/wire/handshake-wire.js';
import { diskBoard, lookupOf } from '../../support/boards.js';
import { keptLog } from '../../support/log-lines.js';
import { serveBoards } from '../../support/nbd-server.js';
import { rawNbd } from '../../support/raw-nbd.js';
import { scratchFolder } from '../../support/scratch.js';

/** Nothing after the name: for everybody. */
function boardFor(name: string, ...allow: readonly string[]): Board {
  const subnets = allow.flatMap((text) => parseSubnet(text) ?? []);
  return { ...diskBoard(name, 4096), access: { allow: allow.length === 0 ? undefined : subnets, tls: 'allowed' } };
}

function mayHave(peer: string, ...allow: readonly string[]): boolean {
  const exports = exportsFor(peer, lookupOf(boardFor('node1', ...allow)), undefined);
  return exports.find('node1', CLEAR).answer === 'export';
}

describe('who may have a disk', () => {
  test('goes by the bits of an address, at both edges of a network', () => {
    for (const [network, inside, outside] of [
      ['192.168.1.64/26', ['192.168.1.64', '192.168.1.127'], ['192.168.1.63', '192.168.1.128', '192.168.1.6']],
      ['10.0.0.0/31', ['10.0.0.0', '10.0.0.1'], ['10.0.0.2', '9.255.255.255', '10.0.0.10']],
      ['10.0.0.1', ['10.0.0.1'], ['10.0.0.0', '10.0.0.2', '10.0.0.10', '10.0.0.12', '110.0.0.1']],
      ['128.0.0.0/1', ['128.0.0.0', '255.255.255.255'], ['127.255.255.255']],
      ['2001:db8::/33', ['2001:db8:7fff::1'], ['2001:db8:8000::', '10.0.0.1', '::ffff:10.0.0.1']],
    ] as const) {
      for (const peer of inside) assert.ok(mayHave(peer, network), `${peer} in ${network}`);
      for (const peer of outside) assert.ok(!mayHave(peer, network), `${peer} in ${network}`);
    }
    assert.ok(mayHave('10.0.0.7', '192.168.1.0/24', '10.0.0.7'));
    assert.ok(mayHave('255.1.2.3', '0.0.0.0/0'));
  });

  test('takes an IPv4 peer of an IPv6 socket for what it is', () => {
    assert.ok(mayHave('::ffff:192.168.1.21', '192.168.1.21'));
    assert.ok(mayHave('::ffff:c0a8:115', '192.168.1.0/24'));
    assert.ok(mayHave('192.168.1.21', '::ffff:192.168.1.0/120'));
    assert.ok(!mayHave('::ffff:192.168.2.21', '192.168.1.0/24'));
    assert.ok(!mayHave('::192.168.1.21', '192.168.1.0/24'));
  });

  test('is everybody where nothing is said, and nobody without an address where something is', () => {
    assert.ok(mayHave('203.0.113.9'));
    for (const peer of ['', 'localhost', '10.0.0.1/8', '10.0.0.1 ']) assert.ok(!mayHave(peer, '0.0.0.0/0'), peer);
  });

  test('is not asked of who comes by a Unix socket', () => {
    assert.ok(mayHave('unix:4711@3', '192.168.1.21'));
    assert.ok(mayHave('unix:#1', '192.168.1.21'));
  });
});

describe('a disk that is for others', () => {
  async function served(context: Parameters<typeof serveBoards>[0]) {
    const kept = keptLog();
    const boards = [boardFor('node1', '127.0.0.2/31'), boardFor('node2'), boardFor('node3', '127.0.0.1')];
    return { ...(await serveBoards(context, boards, { log: kept.log })), kept };
  }

  function client(port: number, localAddress: string) {
    return connectNbd({ host: '127.0.0.1', port, localAddress }, systemClock);
  }

  test('is in nobody else’s list, also where a name is refused', async (context) => {
    const { port } = await served(context);
    assert.deepEqual(await (await client(port, '127.0.0.1')).list(), ['node2', 'node3']);
    assert.deepEqual(await (await client(port, '127.0.0.2')).list(), ['node1', 'node2']);
    assert.deepEqual(await (await client(port, '127.0.0.3')).list(), ['node1', 'node2']);
    const stranger = await client(port, '127.0.0.4');
    assert.deepEqual(await stranger.list(), ['node2']);
    await assert.rejects(stranger.go('node9'), /It lists node2$/);
  });

  test('is refused with a sentence to INFO, GO and questions of metadata, and the client goes on', async (context) => {
    const { port, events, kept } = await served(context);
    const stranger = await client(port, '127.0.0.1');
    const refused = { reply: OptionReply.ErrPolicy, sentence: /^The disk of node1 is not for 127\.0\.0\.1\. Add / };
    await assert.rejects(stranger.info('node1'), refused);
    assert.deepEqual(events, []);
    await assert.rejects(stranger.go('/node1'), refused);
    const because = 'its address is not in `allow` of the board';
    const facts = { board: 'node1', peer: '127.0.0.1', exportName: '/node1', because };
    assert.deepEqual(events, [{ kind: 'refused', reason: 'address', ...facts }]);
    assert.deepEqual(kept.lines.at(-1), { ...facts, event: 'nbd.disk.refused' });
    await stranger.structuredReplies();
    await assert.rejects(stranger.setMetaContexts('node1', ['base:allocation']), refused);
    const disk = await stranger.go('node3');
    assert.deepEqual(await disk.read(0, 3), Uint8Array.of(0, 0, 0));
    await disk.disconnect();
  });

  test('ends the connection of who asks by EXPORT_NAME, which has no other answer', async (context) => {
    const { port, server } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    await raw.send(encodeOption(Option.ExportName, new TextEncoder().encode('node1')));
    assert.equal(await raw.receive(1), undefined);
    assert.deepEqual(server.connections(), []);
  });

  test('is had by a process of this host, by a Unix socket', async (context) => {
    const { server } = await served(context);
    const path = `${scratchFolder(context)}/nbd.sock`;
    await server.listen({ kind: 'unix', path });
    const raw = await rawNbd(context, path).transmitting('node1');
    assert.deepEqual(
      server.connections().map(({ board }) => board),
      ['node1'],
    );
    raw.destroy();
  });
});
