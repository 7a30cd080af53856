// The Python library of libnbd, option by option and request by request, with its own checks switched off: what it would
// never send is what a broken client sends.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Board } from '../../src/boards/board.js';
import { diskBoard } from '../support/boards.js';
import { runForeign } from '../support/foreign.js';
import { fileBoard } from '../support/lane-server.js';
import { serveBoards } from '../support/nbd-server.js';
import { withoutPythonLibnbd } from '../support/programs.js';

const MEBI = 1024 * 1024;

async function succeed(context: TestContext, board: Board, script: string): Promise<void> {
  const { port } = await serveBoards(context, [board, diskBoard('node2', 512)]);
  const { status, stderr } = await runForeign('/usr/bin/python3', '-c', script, `nbd://127.0.0.1:${port}/node1`);
  assert.equal(status, 0, stderr);
}

const PLACES = {
  'main thread': async () => diskBoard('node1', 32 * MEBI),
  lanes: async (context: TestContext) => (await fileBoard(context, 'node1', new Uint8Array(32 * MEBI))).board,
};

for (const [place, boardOf] of Object.entries(PLACES)) {
  describe(`libnbd with strict mode off, served by the ${place}`, { skip: withoutPythonLibnbd() }, () => {
    test('gets an errno for every illegal request in chunks, and goes on', async (context) =>
      succeed(context, await boardOf(context), ILLEGAL));
    test('lists and sets contexts for one export and goes to another', async (context) =>
      succeed(context, await boardOf(context), CONTEXTS));
  });
}

const ILLEGAL = `
import nbd, sys, errno
def connect(contexts=True, structured=True):
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.set_request_structured_replies(structured)
    if contexts: h.add_meta_context('base:allocation')
    h.add_meta_context('x-nobody:knows')
    h.connect_uri(sys.argv[1])
    return h
def refused(what, *wanted):
    try:
        what()
    except nbd.Error as e:
        assert e.errnum in wanted, (e.errnum, wanted)
    else:
        raise AssertionError('was accepted')
h = connect()
size = h.get_size()
assert h.can_meta_context('base:allocation') and not h.can_meta_context('x-nobody:knows')
assert h.can_df() and h.can_cache() and h.can_fast_zero()
told = []
def extents(context, offset, entries, error):
    assert context == 'base:allocation' and error.value == 0
    told.append((offset, list(entries)))
def status(count, offset, flags=0):
    told.clear()
    h.block_status(count, offset, extents, flags)
    (at, entries), = told
    assert at == offset and all(length > 0 for length in entries[::2])
    return entries
assert sum(status(size, 0)[::2]) <= size
assert len(status(size, 0, nbd.CMD_FLAG_REQ_ONE)) == 2
assert status(512, size - 512, nbd.CMD_FLAG_REQ_ONE)[0] <= 512
edges = [size - 1, size, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
lengths = [0, 1, 512, 2**32 - 1]
for offset in edges:
    for count in lengths:
        inside = offset + count <= size
        for name, what in (
            ('zero', lambda: h.zero(count, offset)),
            ('trim', lambda: h.trim(count, offset)),
            ('cache', lambda: h.cache(count, offset)),
            ('status', lambda: h.block_status(count, offset, extents))):
            if inside and not (name == 'status' and count == 0): what()
            else: refused(what, errno.ENOSPC if name == 'zero' else errno.EINVAL)
        if count <= 512:
            if inside: h.pread(count, offset)
            else: refused(lambda: h.pread(count, offset), errno.EINVAL)
chunks = []
def chunk(data, offset, kind, error):
    chunks.append((offset, len(data), kind))
def structured(count, offset, flags):
    chunks.clear()
    h.pread_structured(count, offset, chunk, flags)
structured(65536, 1, nbd.CMD_FLAG_DF)
assert chunks == [(1, 65536, nbd.READ_DATA)], chunks
structured(2**20, 0, nbd.CMD_FLAG_DF)
assert len(chunks) == 1
refused(lambda: structured(2**20 + 1, 0, nbd.CMD_FLAG_DF), errno.EOVERFLOW)
structured(4 * 2**20, 0, 0)
assert sum(length for _, length, _ in chunks) == 4 * 2**20
for what in (
    lambda: h.pread(512, 0, nbd.CMD_FLAG_REQ_ONE),
    lambda: h.pwrite(bytes(512), 0, nbd.CMD_FLAG_DF),
    lambda: h.block_status(512, 0, extents, nbd.CMD_FLAG_DF),
    lambda: h.trim(512, 0, nbd.CMD_FLAG_FAST_ZERO),
    lambda: h.cache(512, 0, nbd.CMD_FLAG_REQ_ONE),
    lambda: h.zero(512, 0, 1 << 5),
    lambda: h.flush(nbd.CMD_FLAG_NO_HOLE)):
    refused(what, errno.EINVAL)
h.zero(4096, 4096, nbd.CMD_FLAG_FAST_ZERO)
h.flush()
h.shutdown()
# Without a context, and without structured replies.
h = connect(contexts=False)
refused(lambda: h.block_status(512, 0, extents), errno.EINVAL, errno.ENOTSUP)
h.pread(512, 0)
h.shutdown()
h = connect(structured=False)
assert not h.can_df()
refused(lambda: h.pread(512, 0, nbd.CMD_FLAG_DF), errno.EINVAL)
refused(lambda: h.block_status(512, 0, extents), errno.EINVAL, errno.ENOTSUP)
assert h.pread(512, 0) == bytes(512)
h.shutdown()
`;

const CONTEXTS = `
import nbd, sys
# SET_META for one name, GO for another; contexts listed in any order; twice the same.
h = nbd.NBD()
h.set_opt_mode(True)
h.set_strict_mode(0)
h.set_full_info(True)
h.add_meta_context('base:allocation')
h.connect_uri(sys.argv[1])
def listed(*queries):
    h.clear_meta_contexts()
    for query in queries: h.add_meta_context(query)
    names = []
    h.opt_list_meta_context(lambda name: names.append(name))
    return names
for round in range(2):
    assert listed() == ['base:allocation']
    assert listed('base:') == ['base:allocation']
    assert listed('qemu:', 'x-a:b', 'nonsense') == []
    h.opt_info()
    assert h.get_export_description() == 'Disk of node1', h.get_export_description()
    assert listed('qemu:', 'base:allocation') == ['base:allocation']
h.opt_info()
assert h.can_meta_context('base:allocation')
h.set_export_name('node2')
h.opt_go()
assert h.get_size() == 512
h.block_status(512, 0, lambda *told: None)
h.shutdown()
`;
