// The thread of `Digests`: reads one image through, behind everybody else, and tells its digest.
import { fstatSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { systemUptimeMs } from '../../base/clock.js';
import { IMAGE_DIGEST_PIECE_BYTES } from '../../base/limits.js';
import { sizeOf } from '../../os/file-space.js';
import { QuietReader } from '../../os/quiet-reader.js';
import { standBack } from '../../os/thread-priority.js';
import { DigestControl } from './digest-control.js';
import type { DigestWork } from './digests.js';
import { type DigestResult, digestImage } from './image-digest.js';
import { factsOf, isUntouched } from './image-facts.js';

parentPort?.postMessage(work(workerData));

function work({ descriptor, facts, control: memory }: DigestWork): DigestResult {
  standBack();
  const control = new DigestControl(memory);
  const reader = new QuietReader(descriptor, { sizeBytes: facts.sizeBytes, pieceBytes: IMAGE_DIGEST_PIECE_BYTES });
  try {
    return digestImage(facts.sizeBytes, {
      next: () => reader.next(),
      isUntouched: () => isUntouched(facts, factsOf(fstatSync(descriptor, { bigint: true }), sizeOf(descriptor))),
      isStopped: () => control.isStopped,
      nowMs: systemUptimeMs,
      rest: (ms) => control.rest(ms),
      done: (bytes) => {
        control.doneBytes = bytes;
      },
    });
  } finally {
    reader.close();
  }
}
