/**
 * Connections of which this host knows nothing for a while (`tcp-repair`), kept by rules of the packet filter until they are back: what
 * comes from their peers is answered with "host unreachable", which keeps the peer's kernel asking a few times a second (RFC 6069; a
 * packet that is merely dropped lets it wait twice as long each time, and the pause would last a multiple of ours). What we would say
 * of it is dropped. So is whoever wants to connect to the port of a listener that is away: a client tries once, and a refusal
 * is for good.
 */

import { type ExecFileException, execFile } from 'node:child_process';
import { HELD_RULES_MS } from '../base/limits.js';

export interface HeldConnection {
  readonly local: HeldEndpoint;
  readonly peer: HeldEndpoint;
}

export interface HeldEndpoint {
  /** IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
}

/** What is held, and for how long: it forgets by itself, should nobody come. */
export interface Held {
  readonly connections: readonly HeldConnection[];
  /** Ports of listeners that are away. */
  readonly ports: readonly number[];
  readonly seconds: number;
}

/** Why rules can't be had: EPERM without the capability, ENOENT without the program, and else EIO with what it said. The message is a sentence. */
export class HoldFailed extends Error {
  override readonly name = 'HoldFailed';
  readonly code: 'EPERM' | 'ENOENT' | 'EIO';

  constructor(code: HoldFailed['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Rules under a name of their own, so that several servers on a host keep out of each other's way. */
export class ConnectionHold {
  readonly name: string;

  /** `name`: letters, digits and underscores. */
  constructor(name: string) {
    this.name = name;
  }

  /** Puts these in the place of what was held before, in one step. Rejects with HoldFailed. */
  hold(held: Held): Promise<void> {
    return runNft(holdRules(this.name, held));
  }

  /** Whether there may be rules of ours: not where nft says that there are none. */
  async isHolding(): Promise<boolean> {
    return runNft(`list table inet ${this.name}\n`).then(
      () => true,
      (error: HoldFailed) => !NO_TABLE.test(error.message),
    );
  }

  /** Nothing is held any more; good too where nothing was. */
  release(): Promise<void> {
    return runNft(`add table inet ${this.name}\ndelete table inet ${this.name}\n`);
  }

  /** What is missing to hold anything; undefined if it can be done. Changes nothing. */
  async whyNot(): Promise<HoldFailed | undefined> {
    const probe = { connections: [], ports: [NO_PORT], seconds: 1 };
    return runNft(holdRules(this.name, probe), ['--check']).then(
      () => undefined,
      (error: HoldFailed) => error,
    );
  }
}

const NO_TABLE = /No such file or directory/;

/** For `nft -f`: a table that replaces the one of that name. */
function holdRules(table: string, { connections, ports, seconds }: Held): string {
  const isV4 = ({ local }: HeldConnection) => !local.address.includes(':');
  const v4 = connections.filter(isV4);
  const v6 = connections.filter((connection) => !isV4(connection));
  const timeout = `timeout ${Math.ceil(seconds)}s`;
  const quads = (list: readonly HeldConnection[]) =>
    list.map(({ local, peer }) => `${peer.address} . ${peer.port} . ${local.address} . ${local.port} ${timeout}`);
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  set held4 { typeof ip saddr . tcp sport . ip daddr . tcp dport; flags timeout;${elements(quads(v4))} }
  set held6 { typeof ip6 saddr . tcp sport . ip6 daddr . tcp dport; flags timeout;${elements(quads(v6))} }
  set away { type inet_service; flags timeout;${elements(ports.map((port) => `${port} ${timeout}`))} }
  chain input {
    type filter hook input priority filter; policy accept;
    ip saddr . tcp sport . ip daddr . tcp dport @held4 reject with icmp host-unreachable
    ip6 saddr . tcp sport . ip6 daddr . tcp dport @held6 reject with icmpv6 addr-unreachable
    tcp dport @away tcp flags & (syn | ack) == syn drop
  }
  chain output {
    type filter hook output priority filter; policy accept;
    ip daddr . tcp dport . ip saddr . tcp sport @held4 drop
    ip6 daddr . tcp dport . ip6 saddr . tcp sport @held6 drop
  }
}
`;
}

function elements(list: readonly string[]): string {
  return list.length === 0 ? '' : ` elements = { ${list.join(', ')} };`;
}

/** "tcpmux": nobody's. */
const NO_PORT = 1;

/** Rejects with HoldFailed. */
function runNft(rules: string, options: readonly string[] = []): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error: ExecFileException | null, _stdout: string, stderr: string) => {
      if (error === null) resolve();
      else reject(failureOf(error, stderr));
    };
    const child = execFile('nft', [...options, '-f', '-'], { timeout: HELD_RULES_MS, env: PLACES }, done);
    child.stdin?.on('error', () => {}); // who could not be started does not read either
    child.stdin?.end(rules);
  });
}

/** A service has no other: and on Debian it lies in none that users have. */
const PLACES = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin', LANG: 'C' };

function failureOf(error: ExecFileException, stderr: string): HoldFailed {
  if (error.code === 'ENOENT') return new HoldFailed('ENOENT', 'there is no program `nft`');
  if (/not permitted|permission denied/i.test(stderr)) return new HoldFailed('EPERM', 'no CAP_NET_ADMIN');
  if (error.killed === true) return new HoldFailed('EIO', `nft has not answered within ${HELD_RULES_MS / 1000} s`);
  const [first = ''] = stderr.trim().split('\n');
  return new HoldFailed('EIO', `nft: ${first === '' ? error.message.split('\n')[0] : first}`);
}
