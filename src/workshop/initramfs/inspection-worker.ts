// The thread of `inspectInitramfs`: looks into the bytes it was given and tells what it found.
import { parentPort, workerData } from 'node:worker_threads';
import { examineInitramfs } from './examination.js';

if (workerData instanceof Uint8Array) parentPort?.postMessage(await examineInitramfs(workerData));
