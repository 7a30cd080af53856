import { connect, type Socket } from 'node:net';
import { until } from '../../support/commands.js';

/** How a command in the machine ended, and what it said on stdout and stderr. */
export interface CommandOutcome {
  readonly status: number;
  readonly output: string;
}

/**
 * A shell in the machine, at the other end of a virtio port; each command has one of its own, in /dev/shm. It is busybox, in
 * memory with all its applets, which come before programs of the same name: `dmesg`, `cat` or `sync` work when the disk
 * does not.
 *
 * All that comes back is what commands say, and a mark behind each:
 *
 *     RS id SP status RS
 */
export class MachineShell {
  readonly #socket: Socket;
  #said = '';
  #commandCount = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.#said += text;
    });
    socket.on('error', () => {}); // the machine was switched off: whoever waits is told by his patience
  }

  static async connect(path: string): Promise<MachineShell> {
    let socket: Socket | undefined;
    const tryOnce = () =>
      new Promise<boolean>((resolve) => {
        const attempt = connect(path);
        attempt.once('error', () => resolve(false));
        attempt.once('connect', () => {
          socket = attempt;
          resolve(true);
        });
      });
    await until(tryOnce, `the socket ${path}`);
    if (socket === undefined) throw new Error('unreachable');
    return new MachineShell(socket);
  }

  /** Whether the shell has said that it is there. */
  get isThere(): boolean {
    return this.#said.includes(GREETING);
  }

  /** One after the other, in the order of the calls. Rejects where the command does not end within `patienceMs`. */
  run(command: string, patienceMs: number): Promise<CommandOutcome> {
    const outcome = this.#last.then(() => this.#runNow(command, patienceMs));
    this.#last = outcome.catch(() => {});
    return outcome;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #runNow(command: string, patienceMs: number): Promise<CommandOutcome> {
    this.#commandCount += 1;
    const id = this.#commandCount;
    this.#said = '';
    const quoted = `'${command.replaceAll("'", "'\\''")}'`;
    const mine = `/dev/shm/busybox sh -c ${quoted} </dev/null 2>&1; printf '\\036${id} %d\\036' $?\n`;
    this.#socket.write(mine, 'latin1');
    const mark = new RegExp(`${SEPARATOR}${id} (\\d+)${SEPARATOR}`);
    const ended = Object.assign(() => mark.test(this.#said) || this.isThere, { said: () => this.#said });
    await until(ended, `the end of \`${command}\` in the machine`, patienceMs);
    const found = mark.exec(this.#said);
    if (found === null) throw new Error(`the shell in the machine ended over \`${command}\``);
    return { status: Number(found[1]), output: this.#said.slice(0, found.index) };
  }
}

const SEPARATOR = '\u001e';
const GREETING = `${SEPARATOR}shell${SEPARATOR}`;
