import type { DiskCommands } from '../../src/boards/disks/disk-commands.js';
import type { BootRecord } from '../../src/boards/journal/boot-record.js';
import type { BoardFacts, BoardHistory, InventoryStatus, ServerStatus } from '../../src/boards/journal/status.js';
import type { MeasuredStates } from '../../src/web/metrics.js';
import type { WebSources } from '../../src/web/server.js';

const STARTED = new Date(Date.UTC(2026, 0, 2, 3, 4, 5));

/** Of a server whose inventory is as it was at the start. */
export const soundInventory: InventoryStatus = {
  file: '/srv/config.yaml',
  loadedAt: STARTED,
  faults: undefined,
  changed: undefined,
  waiting: [],
  needsRestart: [],
};

/** For metrics that nobody looks at. */
export const noStates: MeasuredStates = {
  unknownBoards: () => 0,
  storage: async () => ({ free: [], allocated: [] }),
  heldRequests: () => [],
  countElsewhere: () => {},
  failedDisks: () => [],
  atRisk: () => [],
  certificates: () => [],
  inventory: () => ({ faultCount: 0, loadedAt: STARTED }),
};

/** A server with one board that failed, and `text` wherever a peer or the kernel may have put it. */
export function sampleStatus(text: string): ServerStatus {
  return {
    version: '1.2.3',
    startedAt: STARTED,
    listeners: [
      { name: 'dhcp eth0', missing: undefined },
      { name: 'tftp 10.0.0.1:69', missing: text },
    ],
    handover: { lacks: text, remedy: text, atRisk: ['node1'] },
    boards: [
      {
        ...NODE1,
        lastBoot: failedBoot(text),
      },
    ],
    unknownBoards: [{ serial: text, mac: 'dc:a6:32:00:00:01', model: text, seenAt: STARTED, suggestion: text }],
    images: [
      { name: 'noble', file: text, reading: { isCompared: true, doneBytes: 42e8, ofBytes: 1e10 }, trouble: undefined },
      { name: 'old', file: text, reading: undefined, trouble: text },
    ],
    filesystems: [
      { mountPoint: text, sizeBytes: 100e9, freeBytes: 3e9, low: true, holds: ['image noble', text], missing: [] },
    ],
    inventory: {
      file: text,
      loadedAt: undefined,
      faults: { since: STARTED, count: 1, text },
      changed: { at: STARTED, what: [text] },
      waiting: [{ board: 'node1', what: 'removed', because: text }],
      needsRestart: ['nbd.port'],
    },
  };
}

/** The same board with two boots. */
export function sampleHistory(text: string): BoardHistory {
  return { ...NODE1, boots: [failedBoot(text), { ...failedBoot(text), state: { at: 'booted', durationMs: 31_200 } }] };
}

/** What a web server needs, from a server in this state. */
export function sourcesOf(status: ServerStatus, metricsText = 'some_metric 1\n'): WebSources {
  return {
    status: () => status,
    board: (name) =>
      name === 'node1'
        ? { answer: 'board', board: sampleHistory('x') }
        : { answer: 'unknown', because: `there is no board "${name}"` },
    listeners: () => status.listeners,
    metrics: async () => metricsText,
    snapshots: async (board) => ({ answer: 'unknown', because: `there is no board "${board}"` }),
  };
}

/** A reload of which nothing comes. */
export const deafReload = async () => ({ answer: 'refused', because: 'the server is being stopped' }) as const;

/** Commands on disks of which nothing comes. */
export const deafDisks: DiskCommands = {
  snapshots: async () => NO_BOARD,
  snapshot: async () => NO_BOARD,
  rollback: async () => NO_BOARD,
  reset: async () => NO_BOARD,
  drop: async () => NO_BOARD,
  promote: async () => NO_BOARD,
};

const NO_BOARD = { answer: 'unknown', because: 'there is no board' } as const;

const NODE1: BoardFacts = {
  name: 'node1',
  serial: 'bf9fed6f',
  mac: undefined,
  image: 'noble',
  disk: 'overlay',
  sizeBytes: 4e9,
  own: { bytes: 1.2e9, snapshots: 3, unusable: 'a layer is damaged' },
  state: 'failed',
  attachedFrom: undefined,
  waitingForSpace: { since: STARTED, requests: 3, bytes: 12_288 },
  diskFailure: { since: STARTED, because: 'node1.img: EIO: fdatasync failed' },
};

function failedBoot(text: string): BootRecord {
  return {
    board: 'node1',
    startedAt: STARTED,
    state: { at: 'failed', stage: 'tftp', because: text },
    steps: [{ afterMs: 12, kind: 'file', text }],
    filesRead: 1,
    bytesRead: 2,
    probes: 3,
  };
}
