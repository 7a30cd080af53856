import type { Ipv4Address } from '../base/addresses.js';
import type { Clock } from '../base/clock.js';
import { Malformed } from '../base/malformed.js';
import { type BootloaderKind, discoverOf, type PretendIdentity, requestOf } from '../dhcp/discover.js';
import { MessageType, messageType, Option, optionAddress } from '../dhcp/options.js';
import { readOffer } from '../dhcp/read-offer.js';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../dhcp/wire.js';
import type { DhcpLine } from './line.js';
import type { Report } from './report.js';

export interface AddressWish {
  readonly loader: BootloaderKind;
  readonly identity: PretendIdentity;
  /** Goes on without an address from the router: where there is none, or its pool is not to be touched. */
  readonly needsAddress: boolean;
  /** How often and how long after each other it asks. */
  readonly tries: number;
  readonly tryEveryMs: number;
}

export interface AddressFound {
  readonly tftpServer: Ipv4Address;
  readonly address: Ipv4Address | undefined;
  readonly netmask: Ipv4Address | undefined;
}

/** DISCOVER, the OFFERs of proxy and router in whatever order they come, and with an EEPROM's loader REQUEST and ACK. */
export async function findAddress(
  line: DhcpLine,
  wish: AddressWish,
  clock: Clock,
  report: Report,
): Promise<AddressFound | string> {
  const conversation = new Conversation(wish, report);
  return new Promise((resolve) => {
    const settle = (result: AddressFound | string) => {
      settled = true;
      timers.cancel();
      resolve(result);
    };
    let settled = false;
    line.onMessage((bytes, source) => {
      const message = decoded(bytes);
      if (message === undefined) return;
      const step = conversation.hear(message, source);
      // A router may be slower than we are, and name another server while files are read already.
      if (settled) return;
      if (step.say !== undefined) line.send(step.say);
      if (step.found !== undefined) settle(step.found);
    });
    const timers = repeat(
      clock,
      wish,
      () => line.send(conversation.discover()),
      () => settle(conversation.complaint()),
    );
  });
}

interface Step {
  readonly say?: Uint8Array;
  readonly found?: AddressFound;
}

class Conversation {
  readonly #wish: AddressWish;
  readonly #report: Report;
  readonly #discover: DhcpMessage;
  #tftpServer: Ipv4Address | undefined;
  #offer:
    | { readonly address: Ipv4Address; readonly server: Ipv4Address; readonly netmask: Ipv4Address | undefined }
    | undefined;
  #requested = false;
  /** The first that named a boot server: another opinion is worth a line. */
  #firstNamed: { readonly tftpServer: Ipv4Address; readonly source: Ipv4Address } | undefined;
  #toldOfTwo = false;

  constructor(wish: AddressWish, report: Report) {
    this.#wish = wish;
    this.#report = report;
    this.#discover = discoverOf(wish.loader, wish.identity, Math.floor(Math.random() * 0x1_0000_0000));
  }

  discover(): Uint8Array {
    this.#report('dhcp', `DISCOVER as ${this.#wish.loader}, serial ${this.#wish.identity.serial}`);
    return encodeDhcp(this.#discover);
  }

  hear(message: DhcpMessage, source: Ipv4Address): Step {
    const offer = readOffer(this.#wish.loader, this.#discover, message, source);
    if (offer?.tftpServer !== undefined) this.#compare(offer.tftpServer, source);
    if (this.#requested) return this.#acknowledged(message) ? this.#done() : {};
    if (offer === undefined) return {};
    if (offer.tftpServer !== undefined) {
      this.#report('dhcp', `OFFER from ${source}: boot server ${offer.tftpServer}`);
      this.#tftpServer = offer.tftpServer;
    }
    if (offer.address !== undefined) {
      this.#report('dhcp', `OFFER from ${source}: address ${offer.address}`);
      const server = optionAddress(message, Option.ServerIdentifier) ?? source;
      this.#offer = { address: offer.address, server, netmask: optionAddress(message, Option.SubnetMask) };
    }
    return this.#next();
  }

  /** What a Pi 4 or 5 makes of two is documented nowhere, so that the one followed here proves nothing for it. */
  #compare(tftpServer: Ipv4Address, source: Ipv4Address): void {
    this.#firstNamed ??= { tftpServer, source };
    const first = this.#firstNamed;
    if (first.tftpServer === tftpServer || this.#toldOfTwo) return;
    this.#toldOfTwo = true;
    const both = `${first.source} names ${first.tftpServer} as boot server, and ${source} names ${tftpServer}`;
    this.#report(
      'dhcp',
      `warning: ${both}: a real board may believe the other one (docs/howto/router-with-option-66.md)`,
    );
  }

  complaint(): string {
    if (this.#tftpServer === undefined)
      return 'nobody offered a boot server (a server is silent to boards that it does not know: `brambleboot boards` there shows them)';
    return this.#offer === undefined ? 'no router offered an address' : 'the router did not acknowledge the address';
  }

  #next(): Step {
    if (this.#tftpServer === undefined || (this.#wish.needsAddress && this.#offer === undefined)) return {};
    const { loader, identity } = this.#wish;
    // ROM and bootcode.bin take the address without asking; so does whoever doesn't need one.
    if (loader === 'rom3' || loader === 'bootcode' || this.#offer === undefined) return this.#done();
    this.#requested = true;
    this.#report('dhcp', `REQUEST ${this.#offer.address}`);
    return { say: encodeDhcp(requestOf(loader, identity, this.#discover.xid, this.#offer)) };
  }

  #acknowledged(message: DhcpMessage): boolean {
    return message.xid === this.#discover.xid && messageType(message) === MessageType.Ack;
  }

  #done(): Step {
    if (this.#tftpServer === undefined) return {};
    return { found: { tftpServer: this.#tftpServer, address: this.#offer?.address, netmask: this.#offer?.netmask } };
  }
}

/** Says it now and again, `tries` times; then gives up after one more interval. */
function repeat(
  clock: Clock,
  { tries, tryEveryMs }: AddressWish,
  say: () => void,
  giveUp: () => void,
): { cancel(): void } {
  let timer = clock.after(0, () => attempt(tries));
  const attempt = (left: number) => {
    if (left === 0) return giveUp();
    say();
    timer = clock.after(tryEveryMs, () => attempt(left - 1));
  };
  return { cancel: () => timer.cancel() };
}

function decoded(bytes: Uint8Array): DhcpMessage | undefined {
  try {
    return decodeDhcp(bytes);
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}
