import { FaultDevice } from './fault-device.js';

/** A disk whose writes wait until the test opens the gate. */
export class GateDevice extends FaultDevice {
  constructor(content: Uint8Array | number) {
    super(content);
    this.hold('write');
  }

  open(): void {
    this.release();
  }
}
