import { NBD_STATUS_EXTENTS_MAX } from '../base/limits.js';
import type { Extent } from '../block/block-device.js';
import { allocationAt } from './allocation.js';
import { attempt } from './device-errors.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { wantsOneExtent } from './transmission.js';
import type { NbdRequest } from './transmission-wire.js';

/** What a descriptor takes at most, in any form of reply. */
const DESCRIPTOR_BYTES = 16;

/** Requests of one connection that neither carry nor change data. */
export class DiskQueries {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;

  constructor(world: SessionWorld, underWay: RequestsUnderWay, replies: Replies) {
    this.#world = world;
    this.#underWay = underWay;
    this.#replies = replies;
  }

  tellAllocation(request: NbdRequest): void {
    const extentsMax = wantsOneExtent(request) ? 1 : NBD_STATUS_EXTENTS_MAX;
    const running = this.#underWay.begin(request, extentsMax * DESCRIPTOR_BYTES);
    const range = { offset: Number(request.offset), lengthBytes: request.lengthBytes };
    this.#underWay.task(async () => {
      let extents: readonly Extent[] = [];
      const errno = await attempt(this.#world, async () => {
        extents = await allocationAt(this.#world.device, range, extentsMax);
      });
      if (errno === undefined) this.#replies.allocation(running, extents);
      else this.#replies.failed(running, errno);
    });
  }
}
