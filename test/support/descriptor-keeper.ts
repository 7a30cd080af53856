import { closeSync, openSync } from 'node:fs';
import { SCM_RIGHTS } from '../../src/os/descriptor-passing.js';
import { libcFunction } from '../../src/os/libc.js';
import { AF_UNIX, bind, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from '../../src/os/socket-calls.js';
import { unixAddress } from '../../src/os/unix-socket.js';
import { type Ending, whenOver } from './cleanup.js';

/** What systemd is to a service that leaves descriptors with it: its end of NOTIFY_SOCKET, and its store. Node knows neither. */
export class DescriptorKeeper {
  readonly path: string;
  /** By the names that they were given. */
  readonly stored = new Map<string, number>();
  /** Each datagram, as long as it listens. */
  readonly said: string[] = [];
  /** Does nothing: what is said waits in its queue, until that is full. */
  isBusy = false;
  readonly #max: number;
  readonly #socket = socket.now(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  constructor(context: Ending, path: string, max = 512) {
    this.path = path;
    this.#max = max;
    const address = unixAddress(path);
    bind.now(this.#socket, address, address.length);
    const looking = setInterval(() => this.isBusy || this.look(), LOOK_MS);
    whenOver(context, () => {
      clearInterval(looking);
      closeSync(this.#socket);
      this.drop();
    });
  }

  /** What it says to whom it starts. */
  get environment(): Readonly<Record<string, string>> {
    return { NOTIFY_SOCKET: this.path, FDSTORE: String(this.#max) };
  }

  /** As at `systemctl stop`. */
  drop(): void {
    for (const descriptor of this.stored.values()) closeSync(descriptor);
    this.stored.clear();
  }

  /** Puts something in that nobody has sent. */
  put(name: string, path: string): void {
    this.stored.set(name, openSync(path, 'r'));
  }

  /** Takes all that waits. */
  look(): void {
    const bytes = Buffer.alloc(4096);
    for (;;) {
      const control = Buffer.alloc(64);
      const header = {
        ...{ name: null, nameLength: 0, pieces: { base: bytes, length: bytes.length }, pieceCount: 1 },
        ...{ control, controlLength: control.length, flags: 0 },
      };
      const length = recvmsg.attempt(this.#socket, header, MSG_CMSG_CLOEXEC);
      if (length === undefined) return;
      this.#take(bytes.toString('utf8', 0, length), rightsIn(control));
    }
  }

  #take(text: string, descriptor: number | undefined): void {
    this.said.push(text);
    const lines = new Map(
      text.split('\n').map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]),
    );
    const name = lines.get('FDNAME') ?? 'stored';
    if (lines.has('FDSTOREREMOVE')) {
      const known = this.stored.get(name);
      if (known !== undefined) closeSync(known);
      this.stored.delete(name);
    }
    if (descriptor === undefined) return;
    if (lines.has('FDSTORE') && this.stored.size < this.#max && !this.stored.has(name))
      this.stored.set(name, descriptor);
    else closeSync(descriptor); // so is the pipe that came with BARRIER=1
  }
}

/** struct cmsghdr: length (8) | level (4) | type (4) | descriptor (4). */
function rightsIn(control: Buffer): number | undefined {
  const isThere = control.readBigUInt64LE(0) === 20n && control.readInt32LE(12) === SCM_RIGHTS;
  return isThere ? control.readInt32LE(16) : undefined;
}

const recvmsg = libcFunction('recvmsg', 'int64_t recvmsg(int fd, const msghdr *message, int flags)');
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const LOOK_MS = 2;
