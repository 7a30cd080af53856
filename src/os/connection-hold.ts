/**
 * Connections of which this host knows nothing for a while (`tcp-repair`), kept by rules of the packet filter until they are back: what
 * comes from their peers is answered with "host unreachable", which keeps the peer's kernel asking a few times a second (RFC 6069; a
 * packet that is merely dropped lets it wait twice as long each time, and the pause would last a multiple of ours). What we would say
 * of it is dropped. So is whoever wants to connect to the port of a listener that is away: a client tries once, and a refusal
 * is for good.
 */

import { type ExecFileException, execFile } from 'node:child_process';
import { messageOf } from '../base/errors.js';
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

/** Rules under a name of their own, so that several servers on a host keep out of each other's way. */
export class ConnectionHold {
  readonly #table: string;

  /** `name`: letters, digits and underscores. */
  constructor(name: string) {
    this.#table = name;
  }

  /** Puts these in the place of what was held before, in one step. Rejects with a sentence. */
  hold(held: Held): Promise<void> {
    return runNft(holdRules(this.#table, held));
  }

  /** Whether there are rules of ours. */
  async isHolding(): Promise<boolean> {
    return runNft(`list table inet ${this.#table}\n`).then(
      () => true,
      () => false,
    );
  }

  /** Nothing is held any more; good too where nothing was. */
  release(): Promise<void> {
    return runNft(`add table inet ${this.#table}\ndelete table inet ${this.#table}\n`);
  }

  /** What is missing to hold anything; undefined if it can be done. Changes nothing. */
  async whyNot(): Promise<string | undefined> {
    const probe = { connections: [], ports: [NO_PORT], seconds: 1 };
    try {
      await runNft(holdRules(this.#table, probe), ['--check']);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }
}

/** For `nft -f`: a table that replaces the one of that name. */
export function holdRules(table: string, { connections, ports, seconds }: Held): string {
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

function runNft(rules: string, options: readonly string[] = []): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error: ExecFileException | null, _stdout: string, stderr: string) => {
      if (error === null) resolve();
      else reject(new Error(explained(error, stderr)));
    };
    const child = execFile('nft', [...options, '-f', '-'], { timeout: HELD_RULES_MS, env: PLACES }, done);
    child.stdin?.on('error', () => {}); // who could not be started does not read either
    child.stdin?.end(rules);
  });
}

/** A service has no other: and on Debian it lies in none that users have. */
const PLACES = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin', LANG: 'C' };

function explained(error: ExecFileException, stderr: string): string {
  if (error.code === 'ENOENT') return 'there is no program `nft`: install the package nftables';
  const [first = ''] = stderr.trim().split('\n');
  if (/not permitted|permission denied/i.test(stderr)) return 'no CAP_NET_ADMIN';
  return first === '' ? `nft: ${error.message.split('\n')[0]}` : `nft: ${first}`;
}
