// What lanes do with words about a connection that came late: its record is another one's by then, or on its way to be.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { passed } from '../../../src/base/clock.js';
import { CarriedConnection } from '../../../src/nbd/lanes/carried-connection.js';
import { Lane } from '../../../src/nbd/lanes/lane.js';
import { LaneCounts } from '../../../src/nbd/lanes/lane-counts.js';
import { LaneDesk } from '../../../src/nbd/lanes/lane-desk.js';
import { END_TOKEN, Field, LaneTable, Standing, tokenOf, Unsent } from '../../../src/nbd/lanes/lane-table.js';
import { WakeUp } from '../../../src/os/event-poll.js';
import { duplicate } from '../../../src/os/stream-calls.js';
import { Readiness, StreamPoll } from '../../../src/os/stream-poll.js';
import { descriptorOf } from '../../../src/os/tcp-probe.js';
import { FakeClock } from '../../support/fake-clock.js';

const RECORD = 3;
const GENERATION = 7;

/** A connection in a table, and a lane that runs in this thread until it was told all that is to be told. */
async function oneConnection(context: TestContext) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const peer = connect(address !== null && typeof address === 'object' ? address.port : 0, '127.0.0.1');
  const [socket] = await once(server, 'connection');
  const descriptor = duplicate(descriptorOf(socket) ?? -1) ?? -1;
  const echo = duplicate(descriptor) ?? -1;
  const table = LaneTable.create();
  const poll = new StreamPoll();
  const ending = new WakeUp();
  const { port1, port2 } = new MessageChannel();
  context.after(() => {
    for (const each of [peer, socket]) each.destroy();
    for (const each of [port1, port2, server, ending, poll]) each.close();
  });
  const desk = new LaneDesk();
  const place = { table, poll, desks: [desk], record: RECORD, generation: GENERATION, disk: 0 };
  const ties = { descriptor, echo, form: 0, input: new Uint8Array(0) };
  const deaf = { handed() {}, reply() {}, over() {}, failed: (error: unknown) => assert.fail(String(error)) };
  const connection = new CarriedConnection(place, { ...ties, ...deaf }, () => {});
  const at = (field: Field) => table.field(RECORD, field);
  return {
    connection,
    desk,
    peer,
    get: (field: Field) => Atomics.load(table.fields, at(field)),
    set: (field: Field, value: number) => Atomics.store(table.fields, at(field), value),
    keepUnsent(bytes: Uint8Array) {
      table.bytes.set(bytes, table.outputAt(RECORD));
      Atomics.store(table.fields, at(Field.UnsentTo), bytes.length);
      Atomics.store(table.fields, at(Field.Unsent), Unsent.Waiting);
    },
    /** The lane is told that there is room, or something to read. */
    tell(toWrite: boolean) {
      const what = toWrite ? Readiness.Write : Readiness.Read;
      poll.ask(toWrite ? echo : descriptor, what, tokenOf(RECORD, GENERATION, toWrite));
      poll.addForAll(ending.descriptor, END_TOKEN);
      ending.ring();
      const counts = new LaneCounts().memory;
      new Lane(port1, { table: table.told, pollDescriptor: poll.descriptor, counts, desk: desk.memory }).run();
    },
  };
}

/** Whatever waits for what has happened has gone on. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a record', () => {
  test('of which a lane comes late is not taken for empty once that has gone', async (context) => {
    const { connection, get, set } = await oneConnection(context);
    set(Field.Users, 1);
    connection.begin();
    assert.equal(get(Field.Users), 1);
  });

  test('that is being given back is not written from any more: the rest of its replies is on another way', async (context) => {
    const { connection, get, set, keepUnsent, tell } = await oneConnection(context);
    connection.begin();
    keepUnsent(Buffer.from('sent by who closes it'));
    set(Field.Standing, Standing.Closing);
    tell(true);
    assert.equal(get(Field.Unsent), Unsent.Waiting);
    assert.equal(get(Field.Users), 0);
  });

  test('is taken from a lane that waits for a disk with it, once that was too long', async (context) => {
    const { connection, desk, get, set } = await oneConnection(context);
    const clock = new FakeClock();
    connection.begin();
    set(Field.Users, 1);
    desk.input.set(Buffer.from('came'));
    desk.beginWait(RECORD, 0, 4, 0, 0);
    const released = connection.release({ clock, late: passed(clock, 1000) });
    clock.advance(999);
    await turn();
    assert.equal(get(Field.Users), 1);
    clock.advance(1);
    await released;
    assert.equal(desk.endWait(RECORD), false);
    const fetched = connection.moveTo({ write() {}, hold() {}, letGo() {} });
    assert.equal(Buffer.from(fetched.input).toString(), 'came');
    assert.ok(fetched.isBusy);
  });

  test('is not, where it was given back before: a lane waits with it for another connection then', async (context) => {
    const { connection, desk, set, get } = await oneConnection(context);
    const clock = new FakeClock();
    connection.begin();
    await connection.release({ clock, late: passed(clock, 1000) });
    connection.moveTo({ write() {}, hold() {}, letGo() {} });
    set(Field.Users, 1);
    desk.beginWait(RECORD, 0, 0, 0, 0);
    clock.advance(1000);
    await turn();
    assert.equal(get(Field.Users), 1);
    assert.equal(desk.endWait(RECORD), true);
  });

  test('of another connection by now is left alone', async (context) => {
    const { connection, peer, get, set, keepUnsent, tell } = await oneConnection(context);
    connection.begin();
    set(Field.Generation, GENERATION + 1);
    keepUnsent(Buffer.from('to another client'));
    tell(true);
    assert.equal(get(Field.Unsent), Unsent.Waiting);
    assert.equal(get(Field.Users), 0);
    assert.equal(peer.bytesRead, 0);
  });
});
