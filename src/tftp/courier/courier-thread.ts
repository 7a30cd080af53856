// The courier's thread: see courier.ts for what it is for, and courier-loop.ts for what it does.
import { parentPort, workerData } from 'node:worker_threads';
import { CourierLoop } from './courier-loop.js';

if (parentPort !== null) await new CourierLoop(parentPort, workerData).run();
