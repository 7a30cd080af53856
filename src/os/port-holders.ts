/** Who has a port, as far as /proc tells. For people: nothing is decided by it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface PortHolder {
  /** What the socket is bound to: `0.0.0.0`, `::`, an address. */
  readonly address: string;
  /** `dnsmasq (pid 812)`; undefined where it is another user's, or runs outside of our container. */
  readonly program: string | undefined;
}

/** The addresses that others, and this process, have UDP sockets of this port at. Empty where /proc can't be read. */
export function udpPortAddresses(port: number): readonly string[] {
  return [...new Set(socketsAt('udp', port).map(({ address }) => address))];
}

/** With the programs' names: that takes a look at all descriptors of all processes. Of TCP, those that listen. */
export function portHolders(protocol: 'udp' | 'tcp', port: number): readonly PortHolder[] {
  const sockets = socketsAt(protocol, port);
  if (sockets.length === 0) return [];
  const programs = programsOf(new Set(sockets.map(({ inode }) => `socket:[${inode}]`)));
  return sockets.map(({ address, inode }) => ({ address, program: programs.get(`socket:[${inode}]`) }));
}

/** include/net/tcp_states.h. */
const TCP_LISTEN = '0A';

interface SocketSeen {
  readonly address: string;
  readonly inode: string;
}

function socketsAt(protocol: 'udp' | 'tcp', port: number): readonly SocketSeen[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  // Of this thread: that is where our own sockets are made.
  const lines = [protocol, `${protocol}6`].flatMap((table) =>
    textOf(`/proc/thread-self/net/${table}`).split('\n').slice(1),
  );
  return lines.flatMap((line) => {
    // sl, local address:port, remote address:port, state, queues, timer, retransmits, uid, timeout, inode, …
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (protocol === 'tcp' && state !== TCP_LISTEN) return [];
    const [address = '', localPort] = local.split(':');
    return localPort === wanted ? [{ address: addressOf(address), inode }] : [];
  });
}

/** Each 32 bits are written as the number that they are to this machine, which is little-endian. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, 'hex').reverse()]);
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.every((byte) => byte === 0)) return '::';
  const groups = Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? [];
  return groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':');
}

function programsOf(wanted: ReadonlySet<string>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pid of namesIn('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of namesIn(`/proc/${pid}/fd`)) {
      const target = targetOf(`/proc/${pid}/fd/${descriptor}`);
      if (wanted.has(target)) found.set(target, `${textOf(`/proc/${pid}/comm`).trim()} (pid ${pid})`);
    }
  }
  return found;
}

// Processes end while they are looked at, and other users' can't be.
function textOf(path: string): string {
  return orElse(() => readFileSync(path, 'utf8'), '');
}

function namesIn(folder: string): readonly string[] {
  return orElse(() => readdirSync(folder), []);
}

function targetOf(link: string): string {
  return orElse(() => readlinkSync(link), '');
}

function orElse<Value>(look: () => Value, otherwise: Value): Value {
  try {
    return look();
  } catch {
    return otherwise;
  }
}
