// A lane's thread: see lanes.ts for what lanes are for, and lane.ts for what one does.
import { parentPort, workerData } from 'node:worker_threads';
import { Lane } from './lane.js';

if (parentPort !== null) new Lane(parentPort, workerData).run();
