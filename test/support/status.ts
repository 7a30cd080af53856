import type { ServerStatus } from '../../src/boards/journal/status.js';

const STARTED = new Date(Date.UTC(2026, 0, 2, 3, 4, 5));

/** A server with one board that failed, and `text` wherever a peer or the kernel may have put it. */
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
