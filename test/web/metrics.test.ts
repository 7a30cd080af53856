import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { METRICS, Metrics } from '../../src/web/metrics.js';
import { noStates } from '../support/status.js';

function metrics(): Metrics {
  const version = '9.9.9';
  const states = {
    ...noStates,
    storage: async () => ({ free: [['/srv', 5000] as const], allocated: [['node1', 4096] as const] }),
    heldRequests: () => [['node1', 3] as const],
    countElsewhere: () => {},
    certificates: () => [['server', 86_400] as const],
    failedDisks: () => [['node1', true] as const],
  };
  return new Metrics(states, { version, boardNames: ['node1'] });
}

async function ours(subject: Metrics): Promise<string[]> {
  const text = await subject.text();
  return text.split('\n').filter((line) => line.startsWith('brambleboot_') && !line.includes('_bucket'));
}

describe('metrics', () => {
  test('the whole scrape after one boot', async () => {
    const subject = metrics();
    const ended = {
      kind: 'transferEnded',
      peer: '10.0.0.5',
      path: 'x',
      role: 'other',
      sizeBytes: 5,
      durationMs: 1,
    } as const;
    const events: BoardEvent[] = [
      { board: 'node1', kind: 'discover', mac: 'm', serial: 's', model: 'm', interfaceName: 'eth0', answer: 'offered' },
      {
        board: undefined,
        kind: 'discover',
        mac: 'm',
        serial: 's',
        model: 'm',
        interfaceName: 'eth0',
        answer: 'notListed',
      },
      { board: 'node1', ...ended, outcome: 'complete', sentBytes: 5 },
      { board: undefined, ...ended, outcome: 'not_found', sentBytes: 0 },
      { board: 'node1', kind: 'refused', peer: 'p', exportName: 'node1', reason: 'tls', because: 'b' },
      { board: undefined, kind: 'refused', peer: 'p', exportName: 'x', reason: 'unknown', because: 'b' },
    ];
    for (const event of events) subject.event(event);
    subject.news({ kind: 'booted', board: 'node1', durationMs: 21_000, filesRead: 2, bytesRead: 3 });
    subject.news({ kind: 'failed', board: 'node1', stage: 'kernel', because: 'b' });
    subject.connectionOpened('node1');
    subject.tlsFailed();
    subject.requestFinished('node1', 'read', 4096, 0.001, undefined);
    subject.requestFinished('node1', 'write', 512, 0.001, 'ENOSPC');
    assert.deepEqual(await ours(subject), [
      'brambleboot_boots_total{board="node1"} 1',
      'brambleboot_boot_failures_total{board="node1",stage="kernel"} 1',
      'brambleboot_boot_duration_seconds_sum{board="node1"} 21',
      'brambleboot_boot_duration_seconds_count{board="node1"} 1',
      'brambleboot_dhcp_offers_total{board="node1"} 1',
      'brambleboot_tftp_transfers_total{board="node1",outcome="complete"} 1',
      'brambleboot_tftp_transfers_total{board="",outcome="not_found"} 1',
      'brambleboot_tftp_bytes_total{board="node1"} 5',
      'brambleboot_tftp_bytes_total{board=""} 0',
      'brambleboot_nbd_connections{board="node1"} 1',
      'brambleboot_nbd_requests_total{board="node1",command="read"} 1',
      'brambleboot_nbd_requests_total{board="node1",command="write"} 1',
      'brambleboot_nbd_bytes_total{board="node1",direction="read"} 4096',
      'brambleboot_nbd_errors_total{board="node1",errno="ENOSPC"} 1',
      'brambleboot_nbd_refusals_total{board="node1",reason="tls"} 1',
      'brambleboot_nbd_refusals_total{board="",reason="unknown"} 1',
      'brambleboot_nbd_tls_failures_total 1',
      'brambleboot_nbd_certificate_seconds_left{certificate="server"} 86400',
      'brambleboot_storage_free_bytes{filesystem="/srv"} 5000',
      'brambleboot_disk_allocated_bytes{board="node1"} 4096',
      'brambleboot_disk_held_requests{board="node1"} 3',
      'brambleboot_disk_failed{board="node1"} 1',
      'brambleboot_unknown_boards 0',
      'brambleboot_inventory_faults 0',
      'brambleboot_config_last_reload_successful 1',
      'brambleboot_config_last_reload_success_timestamp_seconds 1767323045',
      'brambleboot_build_info{version="9.9.9"} 1',
      'brambleboot_nbd_request_duration_seconds_sum{command="read"} 0.001',
      'brambleboot_nbd_request_duration_seconds_count{command="read"} 1',
      'brambleboot_nbd_request_duration_seconds_sum{command="write"} 0.001',
      'brambleboot_nbd_request_duration_seconds_count{command="write"} 1',
    ]);
  });

  test('what is no longer measured is no longer shown', async () => {
    let measured = true;
    const storage = async () => ({ free: measured ? [['/srv', 1] as const] : [], allocated: [] });
    const subject = new Metrics({ ...noStates, storage }, { version: '1', boardNames: [] });
    assert.match(await subject.text(), /storage_free_bytes\{/);
    measured = false;
    assert.doesNotMatch(await subject.text(), /storage_free_bytes\{/);
  });

  test('of a board that is served no longer nothing is left, and one that comes is there from the start', async () => {
    const subject = metrics();
    subject.begin('node2');
    assert.match(await subject.text(), /brambleboot_boots_total\{board="node2"\} 0\n/);
    subject.connectionOpened('node2');
    subject.requestFinished('node2', 'write', 4096, 0.001, undefined);
    subject.requestFinished('node2', 'write', 4096, 0.001, 'EIO');
    for (const name of ['node1', 'node2'])
      subject.news({ kind: 'booted', board: name, durationMs: 20_000, filesRead: 2, bytesRead: 3 });
    await subject.end('node2');
    const text = await subject.text();
    assert.doesNotMatch(text, /node2/);
    assert.match(text, /brambleboot_boots_total\{board="node1"\} 1\n/);
    assert.match(text, /brambleboot_boot_duration_seconds_count\{board="node1"\} 1\n/);
  });

  test('of a faulty inventory it is told how many faults there are, and since when it is another', async () => {
    const inventory = () => ({ faultCount: 3, loadedAt: undefined });
    const text = await new Metrics({ ...noStates, inventory }, { version: '1', boardNames: [] }).text();
    assert.match(text, /\nbrambleboot_inventory_faults 3\n/);
    assert.match(text, /\nbrambleboot_config_last_reload_successful 0\n/);
    assert.match(text, /\nbrambleboot_config_last_reload_success_timestamp_seconds 0\n/);
  });

  test('every metric of the table is registered under its name, with help', async () => {
    const text = await metrics().text();
    for (const { name, help } of Object.values(METRICS)) assert.ok(text.includes(`# HELP ${name} ${help}`), name);
  });
});
