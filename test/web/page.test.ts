import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServerStatus } from '../../src/boards/status.js';
import { escapeHtml, markup } from '../../src/web/markup.js';
import { statusPage } from '../../src/web/page.js';

const STARTED = new Date(Date.UTC(2026, 0, 2, 3, 4, 5));

export function sampleStatus(text: string): ServerStatus {
  return {
    version: '1.2.3',
    startedAt: STARTED,
    listeners: [
      { name: 'dhcp eth0', missing: undefined },
      { name: 'tftp 10.0.0.1:69', missing: text },
    ],
    boards: [
      {
        name: 'node1',
        serial: 'bf9fed6f',
        mac: undefined,
        image: 'noble',
        disk: 'direct',
        sizeBytes: 4e9,
        state: 'failed',
        attachedFrom: undefined,
        lastBoot: {
          board: 'node1',
          startedAt: STARTED,
          state: { at: 'failed', stage: 'tftp', because: text },
          steps: [{ afterMs: 12, kind: 'file', text }],
          filesRead: 1,
          bytesRead: 2,
          probes: 3,
        },
      },
    ],
    unknownBoards: [{ serial: text, mac: 'dc:a6:32:00:00:01', model: text, seenAt: STARTED, suggestion: text }],
  };
}

describe('the status page', () => {
  const hostile = '<script>alert(1)</script>&"\'\u001b[31m\u0000\u202e';

  test('shows whatever a LAN can say as text', () => {
    const page = statusPage(sampleStatus(hostile));
    assert.ok(!page.includes('<script'));
    assert.ok(!page.includes('\u001b'));
    assert.ok(!page.includes('\u202e'));
    assert.equal(page.split('&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;').length - 1, 5);
  });

  test('tells each board, its state and the steps of its last boot', () => {
    const page = statusPage(sampleStatus('start4.elf'));
    for (const part of ['node1', 'bf9fed6f', 'Failed at tftp', '0.012 s', 'tftp 10.0.0.1:69', '0 of 1 board running']) {
      assert.ok(page.includes(part), part);
    }
  });

  test('markup escapes strings and numbers, and takes markup as it is', () => {
    assert.equal(markup`<b>${'<i>'}${1}${markup`<u>`}${[markup`a`, markup`b`]}</b>`.text, '<b>&lt;i&gt;1<u>ab</b>');
    assert.equal(escapeHtml('a\tb\nc'), 'a→b\nc');
  });
});
