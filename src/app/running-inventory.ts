import { inventoryOf, type Served } from '../inventory/difference.js';
import type { Inventory } from '../inventory/inventory.js';

/**
 * What is served now. Everybody asks here each time and keeps nothing, so that a change counts for all of them at once; what a change
 * has to wait for is as it was.
 */
export class RunningInventory {
  #served: Served;
  #inventory: Inventory;

  constructor(served: Served) {
    this.#served = served;
    this.#inventory = inventoryOf(served);
  }

  get served(): Served {
    return this.#served;
  }

  get inventory(): Inventory {
    return this.#inventory;
  }

  replace(served: Served): void {
    this.#served = served;
    this.#inventory = inventoryOf(served);
  }
}
