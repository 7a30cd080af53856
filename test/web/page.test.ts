import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HandoverStatus } from '../../src/boards/journal/status.js';
import { boardPage, unknownBoardPage } from '../../src/web/board-page.js';
import { escapeHtml, markup } from '../../src/web/markup.js';
import { statusPage } from '../../src/web/page.js';
import { sampleHistory, sampleStatus, soundInventory } from '../support/status.js';

const hostile = '<script>alert(1)</script>&"\'\u001b[31m\u0000\u202e';

describe('the status page', () => {
  test('shows whatever a LAN can say as text', () => {
    const page = statusPage(sampleStatus(hostile));
    assert.ok(!page.includes('<script'));
    assert.ok(!page.includes('\u001b'));
    assert.ok(!page.includes('\u202e'));
    assert.equal(page.split('&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;').length - 1, 15);
  });

  test('tells what a restart would end, and nothing where it ends none', () => {
    const status = sampleStatus('x');
    const told = (handover: HandoverStatus) => statusPage({ ...status, handover });
    const lacks = { lacks: 'no CAP_NET_ADMIN', remedy: 'grant it', atRisk: ['node1'] };
    assert.match(told(lacks), /loses the root disk of node1: no CAP_NET_ADMIN\. To keep them: grant it\./);
    assert.match(told({ ...lacks, atRisk: [] }), /the root disk of boards that run: no CAP_NET_ADMIN/);
    assert.match(told({ lacks: undefined, remedy: undefined, atRisk: ['node1'] }), /node1: attached by TLS/);
    assert.doesNotMatch(told({ lacks: undefined, remedy: undefined, atRisk: [] }), /loses the root disk/);
  });

  test('tells each board, its state and the steps of its last boot', () => {
    const page = statusPage(sampleStatus('start4.elf'));
    for (const part of ['node1', 'bf9fed6f', 'Failed at tftp', '0.012 s', 'tftp 10.0.0.1:69', '0 of 1 board running']) {
      assert.ok(page.includes(part), part);
    }
  });

  test('tells what a disk over an image has of its own, why it can not be had, and what is to be seen to at images', () => {
    const page = statusPage(sampleStatus('/srv/noble.img'));
    for (const part of [
      'image noble (overlay, 4 GB, 1.2 GB of its own, 3 snapshots)',
      'have its disk: a layer is damaged.',
      '/srv/noble.img: it was touched: all of it is compared with what it was, 42 % of 10 GB',
      '<td>old</td><td class="why">/srv/noble.img: /srv/noble.img</td>',
    ]) {
      assert.ok(page.includes(part), part);
    }
    assert.ok(boardPage(sampleHistory('x')).includes('have its disk: a layer is damaged.'));
  });

  test('says how what is served stands to the inventory, and nothing where all is as it says', () => {
    const status = sampleStatus('/srv/config.yaml');
    for (const part of [
      '/srv/config.yaml could not be loaded since 2026-01-02 03:04:05 UTC. The server runs on its copy of the last sound one.',
      '<pre>/srv/config.yaml</pre>',
      '<tr><td>node1</td><td>removed: /srv/config.yaml</td></tr>',
      '<tr><td>nbd.port</td><td>needs a restart of the server</td></tr>',
      'Inventory last changed at 2026-01-02 03:04:05 UTC: /srv/config.yaml',
    ]) {
      assert.ok(statusPage(status).includes(part), part);
    }
    const what = Array.from({ length: 25 }, (_, at) => `board node${at}: added`);
    const large = { ...soundInventory, changed: { at: new Date(0), what } };
    assert.match(statusPage({ ...status, inventory: large }), /board node19: added and 5 more/);
    assert.doesNotMatch(statusPage({ ...status, inventory: soundInventory }), /faulty|changes that wait|last changed/);
  });

  test('says once why a boot failed, with its steps or without', () => {
    const status = sampleStatus('the reason');
    const times = (page: string) => page.match(/<section>\n<h2><a[\s\S]*?<\/section>/)?.[0].split('the reason').length;
    assert.equal(times(statusPage(status)), 2);
    const running = status.boards.map((board) => ({ ...board, state: 'running' as const }));
    assert.equal(times(statusPage({ ...status, boards: running })), 2);
  });

  test('leads to the boots of each board, and has nothing that its reload would fold again', () => {
    const page = statusPage(sampleStatus('x'));
    assert.ok(page.includes('<a href="/boards/node1">'));
    assert.ok(!page.includes('<details'));
  });

  test('says first whose writes wait for space, and which filesystem has little left', () => {
    const { boards, ...status } = sampleStatus('/srv');
    const running = boards.map((board) => ({
      ...board,
      name: 'node0',
      state: 'failed' as const,
      waitingForSpace: undefined,
      diskFailure: undefined,
      own: undefined,
    }));
    const page = statusPage({ ...status, boards: [...running, ...boards] });
    assert.ok(page.indexOf('node1') < page.indexOf('node0'));
    assert.match(page, /3 writes \(12\.3 kB\) waiting since 2026-01-02 03:04:05 UTC/);
    assert.match(page, /3 GB of 100 GB free \(3 %\); it holds image noble, \/srv/);
    assert.doesNotMatch(page, /file deleted, moved or replaced/);
    const filesystems = status.filesystems.map((filesystem) => ({ ...filesystem, missing: ['image noble'] }));
    assert.match(
      statusPage({ ...status, boards, filesystems }),
      /file deleted, moved or replaced[\s\S]*image noble: its board/,
    );
    assert.equal(page.split('waiting for space').length, 2);
    assert.match(
      page,
      /Its disk failed at 2026-01-02 03:04:05 UTC: node1\.img: EIO.*<code>brambleboot reopen node1<\/code>/,
    );
    assert.equal(page.split('disk failed<').length, 2);
  });

  test('markup escapes strings and numbers, and takes markup as it is', () => {
    assert.equal(markup`<b>${'<i>'}${1}${markup`<u>`}${[markup`a`, markup`b`]}</b>`.text, '<b>&lt;i&gt;1<u>ab</b>');
    assert.equal(escapeHtml('a\tb\nc'), 'a→b\nc');
  });
});

describe('the page of a board', () => {
  test('shows every boot with its steps, and whatever a LAN can say as text', () => {
    const page = boardPage(sampleHistory(hostile));
    for (const part of ['Failed at tftp', 'Booted in 31.2 s', '0.012 s']) assert.ok(page.includes(part), part);
    assert.ok(!page.includes('<script'));
    assert.ok(!page.includes('\u001b'));
    assert.equal(page.split('&lt;script&gt;').length - 1, 2);
    assert.ok(!unknownBoardPage(hostile).includes('<script'));
  });

  test('loads itself again only while the board boots', () => {
    const history = sampleHistory('x');
    assert.ok(!boardPage(history).includes('http-equiv'));
    assert.ok(boardPage({ ...history, state: 'booting' }).includes('http-equiv="refresh"'));
  });
});
