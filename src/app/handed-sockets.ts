import type { Inventory } from '../inventory/inventory.js';
import { isStoredName } from '../nbd/handover/store-keeper.js';
import {
  duplicate,
  type HandedDescriptor,
  type HandedSocket,
  lookAtSocket,
  takeHandedDescriptors,
} from '../os/handed-descriptors.js';
import { isEverywhere, placeText, type SocketPlace } from '../os/socket-place.js';

/** What may be handed over, as `FileDescriptorName=` says it. DHCP is heard below IP, by a socket that no unit can describe. */
export const HANDED_SERVICES = ['nbd', 'http', 'tftp'] as const;
export type HandedService = (typeof HANDED_SERVICES)[number];

/** A socket that systemd made and keeps: it outlives us, with those who wait in its queue. */
export interface ServiceSocket {
  readonly place: SocketPlace;
  /** A descriptor of its own for whoever listens, who closes it. Throws SystemCallError. */
  open(): number;
}

export type HandedSockets = Readonly<Record<HandedService, readonly ServiceSocket[]>>;

export const NONE_HANDED: HandedSockets = { nbd: [], http: [], tftp: [] };

export type HandedSocketsVerdict =
  | {
      readonly answer: 'sockets';
      readonly sockets: HandedSockets;
      /** What the process before us had left with systemd. */
      readonly stored: readonly HandedDescriptor[];
    }
  /** A sentence each, that says what to change in which unit. */
  | { readonly answer: 'refused'; readonly because: readonly string[] };

/** What was handed to this process, by name; to be asked once, before any child or thread is started. */
export function takeHandedSockets(environment: NodeJS.ProcessEnv, pid: number): HandedSocketsVerdict {
  const taken = takeHandedDescriptors(environment, pid);
  if (taken.answer === 'refused') return { answer: 'refused', because: [taken.because] };
  return sortHanded(taken.descriptors, lookAtSocket);
}

export function sortHanded(
  descriptors: readonly HandedDescriptor[],
  look: (descriptor: number) => HandedSocket | undefined,
): HandedSocketsVerdict {
  const sockets: Record<HandedService, ServiceSocket[]> = { nbd: [], http: [], tftp: [] };
  const because: string[] = [];
  const stored = descriptors.filter(({ name }) => isStoredName(name));
  for (const { descriptor, name } of descriptors) {
    if (isStoredName(name)) continue;
    const socket = look(descriptor);
    const service = HANDED_SERVICES.find((known) => known === name);
    const fault = socket === undefined ? NO_SOCKET : service === undefined ? NO_SERVICE : misfit(service, socket);
    if (socket !== undefined && service !== undefined && fault === undefined) {
      sockets[service].push({ place: socket.place, open: () => duplicate(descriptor) });
    } else {
      because.push(`descriptor ${descriptor}, ${described(name, socket)}: ${fault}`);
    }
  }
  return because.length > 0 ? { answer: 'refused', because } : { answer: 'sockets', sockets, stored };
}

const NO_SOCKET =
  'this is no socket: only sockets are taken over (ListenStream= and ListenDatagram= of a .socket unit)';
const NO_SERVICE = `this name is none of ${HANDED_SERVICES.join(', ')}: write FileDescriptorName=nbd, http or tftp in the [Socket] section of its unit, one unit for each`;

function described(name: string, socket: HandedSocket | undefined): string {
  return socket === undefined ? `"${name}"` : `"${name}" at ${placeText(socket.place)}`;
}

/** Why this socket is none for this service, and what to write in its unit. */
function misfit(service: HandedService, socket: HandedSocket): string | undefined {
  return service === 'tftp' ? tftpMisfit(socket) : streamMisfit(service, socket);
}

// From a socket that is bound to all addresses an answer comes from the interface's primary one, and a board throws it away.
function tftpMisfit({ type, place }: HandedSocket): string | undefined {
  const write = 'write ListenDatagram=ADDRESS:69 with an IPv4 address that boards are told to ask, a line for each';
  if (type !== 'datagram') return `TFTP takes datagrams, and this socket does not: ${write}`;
  if (isEverywhere(place)) return `answers have to come from the very address that was asked: ${write}`;
  return place.kind === 'ipv4' ? undefined : `boards speak IPv4 alone: ${write}`;
}

function streamMisfit(service: HandedService, { type, listens, place }: HandedSocket): string | undefined {
  if (type !== 'stream') return `${service} takes streams: write ListenStream= in place of ${wordOf(type)}`;
  if (!listens) return 'this socket does not listen: write Accept=no, so that the listening socket is handed over';
  return place.kind === 'unknown' ? 'only IPv4, IPv6 and Unix sockets are served: write ListenStream=10809' : undefined;
}

function wordOf(type: 'datagram' | 'other'): string {
  return type === 'datagram' ? 'ListenDatagram=' : 'ListenSequentialPacket=';
}

/** `nbd from systemd 0.0.0.0 port 10809`: how it is called in the log, on the page and by /readyz. */
export function handedName(service: HandedService, { place }: ServiceSocket): string {
  return `${service} from systemd ${placeText(place)}`;
}

/** What will not work although every socket is sound by itself. */
export function handedWarnings(sockets: HandedSockets, inventory: Inventory): readonly string[] {
  return HANDED_SERVICES.flatMap((service) => {
    const { enabled, port } = inventory[service];
    if (!enabled && sockets[service].length > 0) {
      return [
        `systemd holds a socket for ${service}, but ${service}.enabled is false: who connects will wait for ever; stop its .socket unit`,
      ];
    }
    const ports = fromNetwork(sockets[service]).flatMap(({ place }) => ('port' in place ? [place.port] : []));
    if (service === 'http' || ports.length === 0 || ports.includes(port)) return [];
    return [
      `systemd holds ${service} port ${ports.join(', ')}, but boards ask at ${service}.port, ${port}: make them the same`,
    ];
  });
}

/** A line each, for `check`. */
export function handedLines(sockets: HandedSockets): readonly string[] {
  return HANDED_SERVICES.flatMap((service) => sockets[service].map((socket) => handedName(service, socket)));
}

/** Those that boards and browsers come to. A Unix socket is one more way in, and takes no other's place. */
export function fromNetwork(sockets: readonly ServiceSocket[]): readonly ServiceSocket[] {
  return sockets.filter(({ place }) => place.kind !== 'unix');
}
