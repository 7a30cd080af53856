import { Worker } from 'node:worker_threads';
import type { Clock } from '../../base/clock.js';
import { INITRAMFS_BYTES_MAX, INITRAMFS_PATIENCE_MS } from '../../base/limits.js';
import type { InitramfsFindings, InitramfsWarning } from './examination.js';

/**
 * What of a root on NBD is in this initramfs; never throws for what the bytes are. It works in a thread of its own: a block of
 * twenty bytes can keep the zstd decoder in a loop for minutes, and thousands of them fit in a file, so the only sure bound is
 * to end it from outside, after INITRAMFS_PATIENCE_MS. The thread's memory goes with it. `bytes` are copied to it.
 */
export async function inspectInitramfs(bytes: Uint8Array, clock: Clock): Promise<InitramfsFindings> {
  if (bytes.length > INITRAMFS_BYTES_MAX) return unseen({ kind: 'tooLarge' });
  const copy = new Uint8Array(bytes);
  const worker = new Worker(new URL('./inspection-worker.js', import.meta.url), {
    workerData: copy,
    transferList: [copy.buffer],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES },
  });
  try {
    return await findingsOf(worker, clock);
  } finally {
    await worker.terminate();
  }
}

function findingsOf(worker: Worker, clock: Clock): Promise<InitramfsFindings> {
  return new Promise((resolve) => {
    const patience = clock.after(INITRAMFS_PATIENCE_MS, () =>
      resolve(gaveUp(`it was not through after ${INITRAMFS_PATIENCE_MS / 1000} s`)),
    );
    worker.once('message', (findings: InitramfsFindings) => resolve(findings));
    worker.once('error', (error: Error) => resolve(gaveUp(error.message)));
    worker.once('exit', (code) => {
      patience.cancel();
      resolve(gaveUp(`its thread ended with ${code}`));
    });
  });
}

function gaveUp(because: string): InitramfsFindings {
  return unseen({ kind: 'gaveUp', because });
}

function unseen(warning: InitramfsWarning): InitramfsFindings {
  return {
    nbdModule: undefined,
    nbdClient: undefined,
    nbdScript: undefined,
    builder: 'unknown',
    kernelVersions: [],
    isComplete: false,
    warnings: [warning],
  };
}

/** Of JavaScript objects; the decoders' buffers lie outside, bounded by their own limits. */
const HEAP_MEBIBYTES = 256;
