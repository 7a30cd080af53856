import type { Ipv4Address, MacAddress } from '../../base/addresses.js';
import { ADDRESS_BOOK_ENTRIES_MAX } from '../../base/limits.js';
import { RecentMap } from '../../base/recent-map.js';
import type { Serial } from '../../base/serial.js';

/**
 * Which hardware has which address, and which serial: overheard from DHCP, or else asked of the kernel. It decides whose files
 * an un-prefixed request gets, and so is a hint and never a permission: anybody on the LAN can say what it was told.
 */
export class AddressBook {
  readonly #macs = new RecentMap<Ipv4Address, MacAddress>(ADDRESS_BOOK_ENTRIES_MAX);
  readonly #serials = new RecentMap<MacAddress, Serial>(ADDRESS_BOOK_ENTRIES_MAX);
  readonly #neighbour: (address: Ipv4Address) => MacAddress | undefined;

  /** `neighbour` asks the kernel's neighbour table. */
  constructor(neighbour: (address: Ipv4Address) => MacAddress | undefined) {
    this.#neighbour = neighbour;
  }

  /** A board asked the router for this address (option 50 of the REQUEST that it broadcast). */
  noteAddress(address: Ipv4Address, mac: MacAddress): void {
    this.#macs.set(address, mac);
  }

  /** A board of the inventory said its serial beside its MAC (option 97). */
  noteSerial(mac: MacAddress, serial: Serial): void {
    this.#serials.set(mac, serial);
  }

  macOf(address: Ipv4Address): MacAddress | undefined {
    return this.#macs.get(address) ?? this.#neighbour(address);
  }

  serialOf(mac: MacAddress): Serial | undefined {
    return this.#serials.get(mac);
  }
}
