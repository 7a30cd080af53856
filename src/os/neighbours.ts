import { readFileSync } from 'node:fs';
import type { Ipv4Address, MacAddress } from '../base/addresses.js';

/** Asks the kernel's IPv4 neighbour table (proc(5), /proc/net/arp) who has an address. A small file that waits for no disk. */
export function neighbourMac(address: Ipv4Address): MacAddress | undefined {
  try {
    return macInArpTable(readFileSync('/proc/net/arp', 'latin1'), address);
  } catch {
    // No descriptor left (EMFILE), no /proc: then nobody is known, which is an answer.
    return undefined;
  }
}

/**
 *     IP address       HW type     Flags       HW address            Mask     Device
 *     192.168.1.50     0x1         0x2         dc:a6:32:01:02:03     *        eth0
 *
 * Flag 0x2 says that the entry is complete; an incomplete one shows zeroes.
 */
export function macInArpTable(table: string, address: Ipv4Address): MacAddress | undefined {
  for (const line of table.split('\n').slice(1)) {
    const [ip, , flags, mac] = line.trim().split(/\s+/);
    if (ip === address && (Number(flags) & 0x2) !== 0) return mac?.toLowerCase();
  }
  return undefined;
}
