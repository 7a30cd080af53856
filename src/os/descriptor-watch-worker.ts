// The thread of `DescriptorWatch`: waits where Node can't, and tells whose turn it is. Which descriptors it waits for is the
// kernel's to know: the main thread changes that while this one waits.
import { parentPort, workerData } from 'node:worker_threads';
import { END_TOKEN } from './descriptor-watch.js';
import { EventPoll } from './event-poll.js';

/** A process that ends without ending this thread first waits for it: no longer than this. */
const WAIT_MS = 500;

const poll = new EventPoll(workerData);
while (turn()) {}

/** False when it is told to end. */
function turn(): boolean {
  const count = poll.wait(WAIT_MS);
  for (let index = 0; index < count; index += 1) {
    const token = poll.ready(index);
    if (token === END_TOKEN) return false;
    parentPort?.postMessage(token);
  }
  return true;
}
