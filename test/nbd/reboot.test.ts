// What a board's disk does when the board is gone without a word, on a network that can be cut.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { withoutNamespaces } from '../support/network-namespace.js';
import { projectFile } from '../support/project.js';
import { type HostProgram, twoHosts } from '../support/two-hosts.js';

const skip = withoutNamespaces();

function imports(names: string, path: string): string {
  return `import { ${names} } from ${JSON.stringify(projectFile('build', path))};`;
}

const server = `
  ${imports('startNbdServer', 'src/nbd/server.js')}
  ${imports('silentMeter', 'src/nbd/meter.js')}
  ${imports('systemClock', 'src/base/clock.js')}
  ${imports('silentLog', 'src/base/log.js')}
  ${imports('diskBoard, lookupOf', 'test/support/boards.js')}
  const board = diskBoard('node1', 1048576);
  const server = await startNbdServer({
    addresses: ['0.0.0.0'], port: 10809, lookup: lookupOf(board), meter: silentMeter, clock: systemClock, log: silentLog,
    answers: () => true,
    tell: (event) => console.log([event.kind, event.peer, event.because ?? ''].join(' ').trim()),
  });
  console.log('listening');
  process.stdin.setEncoding('utf8').on('data', (line) => {
    if (line.startsWith('suspect')) board.writerLock.suspect();
    if (line.startsWith('count')) console.log(server.connections().length);
  });
`;

/** Attaches, then writes a byte for each line on its input. */
const board = `
  ${imports('connectNbd', 'src/nbd/client/client.js')}
  ${imports('systemClock', 'src/base/clock.js')}
  const said = (error) => console.log(error.name);
  try {
    const disk = await (await connectNbd({ host: '10.91.0.1', port: 10809 }, systemClock)).go('node1');
    console.log('attached');
    process.stdin.on('data', () => disk.write(0, Uint8Array.of(1)).then(() => console.log('written'), said));
  } catch (error) {
    said(error);
  }
`;

interface Lan {
  readonly hosts: ReturnType<typeof twoHosts>;
  readonly server: HostProgram;
  readonly board: HostProgram;
}

async function attached(context: TestContext): Promise<Lan> {
  const hosts = twoHosts(context);
  const near = hosts.run('near', server);
  assert.equal(await near.line(), 'listening');
  const far = hosts.run('far', board);
  assert.equal(await far.line(), 'attached');
  assert.equal(await near.line(), 'attached 10.91.0.2');
  return { hosts, server: near, board: far };
}

describe('a board that holds its disk', { skip, concurrency: true }, () => {
  test('keeps it from another address while it is there, and notices nothing', async (context) => {
    const lan = await attached(context);
    const other = lan.hosts.run('near', board);
    assert.equal(await other.line(), 'NbdRefused');
    assert.equal(await lan.server.line(), 'refused 10.91.0.1 held by 10.91.0.2');
    lan.board.say('');
    assert.equal(await lan.board.line(), 'written');
  });

  test('loses it to another address that asks once when it was switched off', async (context) => {
    const lan = await attached(context);
    lan.hosts.cutCable();
    const other = lan.hosts.run('near', board);
    assert.equal(await lan.server.line(), 'detached 10.91.0.2 stopped answering');
    assert.equal(await other.line(), 'attached');
    assert.equal(await lan.server.line(), 'attached 10.91.0.1');
  });

  test('is not harmed by a forged sign of reboot', async (context) => {
    const lan = await attached(context);
    for (let count = 0; count < 5; count += 1) lan.server.say('suspect');
    lan.board.say('');
    assert.equal(await lan.board.line(), 'written');
  });

  test('keeps it over a cut cable that nobody is suspicious about', async (context) => {
    const lan = await attached(context);
    lan.hosts.cutCable();
    lan.board.say('');
    await new Promise((resolve) => setTimeout(resolve, 1000)); // long enough for the write to be lost and sent again
    lan.hosts.mendCable();
    assert.equal(await lan.board.line(), 'written');
  });

  test('comes back after a reboot from the same address, beside the old connection, which then goes', async (context) => {
    const lan = await attached(context);
    lan.hosts.cutCable();
    lan.hosts.forgetConnections();
    lan.hosts.mendCable();
    const rebooted = lan.hosts.run('far', board);
    assert.equal(await rebooted.line(), 'attached');
    for (let connections = '2'; connections !== '1'; connections = await lan.server.line()) lan.server.say('count');
    rebooted.say('');
    assert.equal(await rebooted.line(), 'written');
  });
});
