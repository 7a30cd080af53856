// A thread that changes a shared file without pause: see test/block/shared-file.test.ts.
import { isMainThread, workerData } from 'node:worker_threads';
import { SharedFile, type ToldFile } from '../../src/block/shared-file.js';

export interface ChangeWork {
  readonly file: ToldFile;
  /** Int32: 0 ends it; changes that are under way; changes done; changes left to the owner. */
  readonly tally: SharedArrayBuffer;
  readonly offset: number;
}

export const Tally = { GoesOn: 0, UnderWay: 1, Done: 2, Left: 3 } as const;

if (!isMainThread) changeOnAndOn(workerData);

function changeOnAndOn({ file: told, tally: memory, offset }: ChangeWork): void {
  const file = new SharedFile(told);
  const tally = new Int32Array(memory);
  while (Atomics.load(tally, Tally.GoesOn) === 1) {
    const pot = file.beginChange(offset, 4096);
    if (pot === undefined) {
      Atomics.add(tally, Tally.Left, 1);
      continue;
    }
    Atomics.add(tally, Tally.UnderWay, 1);
    Atomics.add(tally, Tally.Done, 1);
    Atomics.sub(tally, Tally.UnderWay, 1);
    file.endChange(pot);
  }
}
