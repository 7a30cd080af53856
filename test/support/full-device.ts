import { BlockError } from '../../src/block/block-error.js';
import { MemoryDevice } from '../../src/block/memory-device.js';

/** A disk on a filesystem that a test fills and frees. A write that does not fit is done by half, as the kernel does it. */
export class FullDevice extends MemoryDevice {
  /** `space`: the medium fails otherwise. */
  state: 'space' | 'full' | 'broken' | 'fullForFlushes' = 'full';
  /** Changes that reached the medium, done or not. */
  readonly attempts: string[] = [];
  flushes = 0;

  override async write(offset: number, source: Uint8Array): Promise<void> {
    this.attempts.push(`write ${offset}+${source.length}`);
    const failed = this.#failure();
    await super.write(offset, failed === undefined ? source : source.subarray(0, source.length / 2));
    if (failed !== undefined) throw failed;
  }

  override async zero(offset: number, lengthBytes: number): Promise<void> {
    this.attempts.push(`zero ${offset}+${lengthBytes}`);
    const failed = this.#failure();
    if (failed !== undefined) throw failed;
    await super.zero(offset, lengthBytes, { keepAllocated: true, durable: false });
  }

  override async discard(offset: number, lengthBytes: number): Promise<void> {
    this.attempts.push(`discard ${offset}+${lengthBytes}`);
    const failed = this.#failure();
    if (failed !== undefined) throw failed;
  }

  override async flush(): Promise<void> {
    this.flushes += 1;
    if (this.state === 'fullForFlushes') throw new BlockError('ENOSPC');
  }

  #failure(): BlockError | undefined {
    if (this.state === 'full') return new BlockError('ENOSPC');
    return this.state === 'broken' ? new BlockError('EIO') : undefined;
  }
}
