import { closeSync } from 'node:fs';
import type { Ipv4Address } from '../base/addresses.js';
import { libcFunction } from './libc.js';
import { AF_INET, SOCK_DGRAM, socket, socketAddress } from './socket-calls.js';

const ioctl = libcFunction('ioctl', 'int ioctl(int fd, unsigned long request, ...)');

const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;

/** Gives an interface its IPv4 address, in place of the primary one it had (netdevice(7)). Needs CAP_NET_ADMIN. */
export function setInterfaceAddress(interfaceName: string, address: Ipv4Address, netmask: Ipv4Address): void {
  const descriptor = socket.now(AF_INET, SOCK_DGRAM, 0);
  try {
    ioctl.now(descriptor, SIOCSIFADDR, 'void *', interfaceRequest(interfaceName, address));
    ioctl.now(descriptor, SIOCSIFNETMASK, 'void *', interfaceRequest(interfaceName, netmask));
  } finally {
    closeSync(descriptor);
  }
}

/** struct ifreq: name (16), then a struct sockaddr_in, 40 bytes in all. */
function interfaceRequest(interfaceName: string, address: Ipv4Address): Uint8Array {
  const bytes = Buffer.alloc(40);
  bytes.write(interfaceName.slice(0, 15), 0, 'latin1');
  bytes.set(socketAddress(address, 0), 16);
  return bytes;
}
