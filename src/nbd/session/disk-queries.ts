import { NBD_PREFETCH_BYTES_MAX, NBD_STATUS_EXTENTS_MAX } from '../../base/limits.js';
import type { Extent } from '../../block/block-device.js';
import type { NbdRequest } from '../wire/transmission-wire.js';
import { allocationAt } from './allocation.js';
import { attempt } from './device-errors.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { wantsOneExtent } from './transmission.js';

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

  /** A hint: more than a certain amount is not brought into memory, and success promises nothing. */
  prefetch(request: NbdRequest): void {
    const { device, form } = this.#world;
    const running = this.#underWay.begin(request, form.dataHeadBytes);
    const lengthBytes = Math.min(request.lengthBytes, NBD_PREFETCH_BYTES_MAX);
    this.#underWay.task(async () => {
      const errno = await attempt(this.#world, () => device.prefetch(Number(request.offset), lengthBytes));
      if (errno === undefined) this.#replies.done(running);
      else this.#replies.failed(running, errno);
    });
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
