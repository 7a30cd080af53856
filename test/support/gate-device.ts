import { MemoryDevice } from '../../src/block/memory-device.js';

/** A disk whose writes wait until the test opens the gate. */
export class GateDevice extends MemoryDevice {
  /** Writes that wait. */
  waiting = 0;
  #isOpen = false;
  #waiters: (() => void)[] = [];

  open(): void {
    this.#isOpen = true;
    for (const resume of this.#waiters) resume();
    this.#waiters = [];
  }

  override async write(offset: number, source: Uint8Array): Promise<void> {
    if (!this.#isOpen) {
      this.waiting += 1;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
      this.waiting -= 1;
    }
    await super.write(offset, source);
  }
}
