import type { BlockErrorCode } from '../../src/block/block-error.js';
import { FaultDevice, type Operation } from './fault-device.js';

/** A disk on a filesystem that a test fills and frees. */
export class FullDevice extends FaultDevice {
  /** `space`: all is well; `broken`: the medium fails otherwise. */
  state: 'space' | 'full' | 'broken' | 'fullForFlushes' = 'full';

  constructor(content: Uint8Array | number) {
    super(content);
    this.faultOf = (operation) => this.#fault(operation);
  }

  #fault(operation: Operation): BlockErrorCode | undefined {
    if (operation === 'read') return undefined;
    if (operation === 'flush') return this.state === 'fullForFlushes' ? 'ENOSPC' : undefined;
    if (this.state === 'full') return 'ENOSPC';
    return this.state === 'broken' ? 'EIO' : undefined;
  }
}
