/** The calls of sockets that Node lacks, and their numbers, for the files of this folder. */
import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from '../base/addresses.js';
import { libcFunction } from './libc.js';

export const socket = libcFunction('socket', 'int socket(int domain, int type, int protocol)');
export const bind = libcFunction('bind', 'int bind(int fd, const void *address, unsigned int length)');
export const setsockopt = libcFunction(
  'setsockopt',
  'int setsockopt(int fd, int level, int name, const void *value, unsigned int length)',
);
export const getsockopt = libcFunction(
  'getsockopt',
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
);
export const sendto = libcFunction(
  'sendto',
  'int64_t sendto(int fd, const void *buffer, size_t length, int flags, const void *address, unsigned int addressLength)',
);
export const getsockname = libcFunction('getsockname', 'int getsockname(int fd, void *address, void *addressLength)');
export const connect = libcFunction('connect', 'int connect(int fd, const void *address, unsigned int length)');
export const recv = libcFunction('recv', 'int64_t recv(int fd, void *buffer, size_t length, int flags)');
export const send = libcFunction('send', 'int64_t send(int fd, const void *buffer, size_t length, int flags)');
export const poll = libcFunction('poll', 'int poll(void *descriptors, unsigned long count, int timeout)');

/** Linux, the same on x86-64 and arm64 (asm-generic/socket.h, bits/socket.h, bits/socket_type.h). */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_PEEK = 0x02;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
/** linux/tcp.h, of IPPROTO_TCP. */
export const IPPROTO_TCP = 6;
export const TCP_INFO = 11;
export const TCP_REPAIR = 19;
/** Of TCP_INFO's first byte. */
export const TCP_ESTABLISHED = 1;
/** ip(7), bits/in.h. */
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_OMIT = 5;

/** What an ICMP says of a smaller MTU on the way may be forged, and would cut each datagram into fragments for ten minutes: the interface's MTU counts. */
export function ignoreLearntMtu(descriptor: number): void {
  setNumber(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
}

/** For the many options that are an int. */
export function setNumber(descriptor: number, level: number, name: number, value: number): void {
  const bytes = intBytes(value);
  setsockopt.now(descriptor, level, name, bytes, bytes.length);
}

/** An int of C: both of our platforms are little-endian. */
export function intBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Of struct sockaddr_in. */
export const SOCKET_ADDRESS_BYTES = 16;

/**
 * struct sockaddr_in (ip(7)): the family in the machine's order, the rest in the network's.
 *
 *   family (2) | port (2) | address (4) | zeroes (8)
 */
export function socketAddress(address: Ipv4Address, port: number): Buffer {
  const bytes = Buffer.alloc(SOCKET_ADDRESS_BYTES);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipv4ToBytes(address), 4);
  return bytes;
}

/** The reverse of `socketAddress`. */
export function endpointOf(bytes: Buffer): { readonly address: Ipv4Address; readonly port: number } {
  return { address: ipv4FromBytes(bytes.subarray(4)), port: bytes.readUInt16BE(2) };
}
