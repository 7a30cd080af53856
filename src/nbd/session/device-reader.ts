import type { ErrnoName } from '../wire/constants.js';
import { attempt } from './device-errors.js';
import type { SessionWorld } from './session-world.js';

/** Fills buffers from the device: out of memory at once where it can, as far as this turn of the event loop allows. */
export class DeviceReader {
  readonly #world: SessionWorld;

  constructor(world: SessionWorld) {
    this.#world = world;
  }

  fillNow(offset: number, target: Uint8Array): boolean {
    const { turn, device } = this.#world;
    if (!turn.allows(target.length)) return false;
    try {
      if (!device.readNow(offset, target)) return false;
    } catch {
      return false; // the read that waits meets the same failure, and reports it
    }
    turn.spend(target.length);
    return true;
  }

  async fillLater(offset: number, target: Uint8Array): Promise<ErrnoName | undefined> {
    return await attempt(this.#world, () => this.#world.device.read(offset, target));
  }

  async fill(offset: number, target: Uint8Array): Promise<ErrnoName | undefined> {
    return this.fillNow(offset, target) ? undefined : await this.fillLater(offset, target);
  }
}
