/** UDP sockets with what node:dgram cannot set before it binds: the interface, above all. */
import { createSocket, type Socket } from 'node:dgram';
import { closeSync } from 'node:fs';
import type { Ipv4Address } from '../base/addresses.js';
import { withBindAdvice } from './bind-advice.js';
import { SystemCallError } from './libc.js';
import {
  AF_INET,
  bind,
  ignoreLearntMtu,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  setNumber,
  setsockopt,
  socket,
  socketAddress,
} from './socket-calls.js';

export interface UdpSocketPlace {
  readonly address: Ipv4Address;
  /** 0: one that is free. */
  readonly port: number;
  /** Receives and sends by this interface only, whatever the routes say (SO_BINDTODEVICE); empty: by any. */
  readonly interfaceName: string;
}

/** The socket could not be had: `code` is errno's name, the message says what to do. */
export class UdpSocketError extends Error {
  override readonly name = 'UdpSocketError';
  readonly code: string;
  readonly place: UdpSocketPlace;

  constructor(code: string, place: UdpSocketPlace) {
    const on = place.interfaceName === '' ? '' : ` on ${place.interfaceName}`;
    super(withBindAdvice(`UDP ${place.address}:${place.port}${on}: ${code}`, code));
    this.code = code;
    this.place = place;
  }
}

/**
 * Bound and receiving when it returns. It shares its address with other sockets that share it too (SO_REUSEADDR) and may
 * send to broadcast addresses. Throws UdpSocketError.
 */
export function openUdpSocket(place: UdpSocketPlace): Socket {
  const descriptor = openDescriptor(place);
  const opened = createSocket('udp4');
  try {
    // Takes the descriptor over: closing the socket closes it.
    return opened.bind({ fd: descriptor });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Binds a socket of node:dgram to an address and port that it shares with nobody; it believes no ICMP about MTUs, which can only
 * be said before it is Node's. Throws UdpSocketError.
 */
export function bindAlone(opened: Socket, address: Ipv4Address, port: number): void {
  const place = { address, port, interfaceName: '' };
  const descriptor = attempt(place, () => socket.now(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    attempt(place, () => {
      ignoreLearntMtu(descriptor);
      const local = socketAddress(address, port);
      bind.now(descriptor, local, local.length);
    });
    opened.bind({ fd: descriptor });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** asm-generic/socket.h. */
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

function openDescriptor(place: UdpSocketPlace): number {
  const descriptor = attempt(place, () => socket.now(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    attempt(place, () => {
      setNumber(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
      setNumber(descriptor, SOL_SOCKET, SO_BROADCAST, 1);
      const device = Buffer.from(`${place.interfaceName}\0`);
      setsockopt.now(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
      const address = socketAddress(place.address, place.port);
      bind.now(descriptor, address, address.length);
    });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return descriptor;
}

function attempt<Result>(place: UdpSocketPlace, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    if (error instanceof SystemCallError) throw new UdpSocketError(error.code, place);
    throw error;
  }
}
