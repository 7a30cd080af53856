import { startApp } from '../app/app.js';
import { openConfiguration } from '../app/configuration.js';
import { handedWarnings, takeHandedSockets } from '../app/handed-sockets.js';
import { systemClock } from '../base/clock.js';
import { STOP_AT_ONCE_AFTER_MS, STOP_MS_MAX } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { printable } from '../base/printable.js';
import { renderFaults } from '../inventory/fault.js';
import { endProcess } from '../os/process-end.js';
import { serviceManager } from '../os/service-manager.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';
import { serverLog } from './server-log.js';
import { programVersion } from './version.js';

export interface ServeOptions {
  readonly config?: string;
  readonly logLevel: string;
}

/** Runs the appliance until it is told to stop. */
export async function serve(options: ServeOptions): Promise<ExitStatus> {
  const { log, flushed } = serverLog(options.logLevel, systemClock);
  const hangUps = new HangUps();
  const handed = takeHandedSockets(process.env, process.pid);
  if (handed.answer === 'refused') {
    process.stderr.write(renderRefusal(handed.because));
    return ExitStatus.WrongUsage;
  }
  const { sockets, stored } = handed;
  const manager = serviceManager(process.env, process.pid);
  const path = configPath(options.config);
  const opened = await openConfiguration(path, systemClock, stateFoldersOf(process.env));
  if (opened.answer === 'faults') {
    process.stderr.write(renderFaults(opened.faults));
    if (opened.waiting.length > 0) process.stderr.write(renderWaiting(opened.waiting));
    return ExitStatus.InventoryFaults;
  }
  if (opened.answer === 'failed') {
    process.stderr.write(`brambleboot: ${opened.because}\n`);
    return ExitStatus.Failed;
  }
  const { inventory, boards, state, tls } = opened;
  const version = programVersion();
  log.info({ version, config: path, boards: boards.all.length, state: state.path }, 'server.starting');
  for (const warning of boards.warnings) log.warn(warning, 'image.warning');
  for (const warning of handedWarnings(sockets, inventory)) log.warn({ warning }, 'socket.warning');
  for (const warning of tls.warnings) log.warn({ warning }, 'nbd.tls.warning');
  const asked = stopAsked(log);
  const starting = startApp({ ...opened, path, clock: systemClock, log, version, sockets, stored, manager });
  const app = await starting.catch(async (error: unknown) => {
    log.error({ err: error }, 'server.bug');
    await flushed();
    return endProcess(ExitStatus.Failed); // something may still be done to a disk, and nobody is to wait for it
  });
  hangUps.listen(() => void app.reload({ by: 'SIGHUP', force: false }));
  const status = await asked;
  // A disk that hangs must not keep us from ending: what it did not answer was not acknowledged either.
  systemClock.after(STOP_MS_MAX, () => {
    log.error({ afterMs: STOP_MS_MAX }, 'server.stop.timeout');
    void flushed().then(endAtOnce);
  });
  const end = await app.stop();
  log.info({}, 'server.stopped');
  const isFlushed = await flushed();
  if (end === 'busy') endProcess(status);
  if (!isFlushed) endAtOnce();
  return status;
}

/** SIGHUP asks for a reload, whenever it comes: one that comes while the server starts is heard when it has. Unheard, it would end the process. */
class HangUps {
  #isUnheard = false;
  #listener: (() => void) | undefined;

  constructor() {
    process.on('SIGHUP', () => {
      this.#isUnheard = this.#listener === undefined;
      this.#listener?.();
    });
  }

  listen(listener: () => void): void {
    this.#listener = listener;
    if (this.#isUnheard) listener();
  }
}

/** systemd tells which it has made for us (StateDirectory=). */
function stateFoldersOf({ STATE_DIRECTORY: folders = '' }: NodeJS.ProcessEnv): readonly string[] {
  return folders.split(':').filter((folder) => folder !== '');
}

/** Their time is that of the server that was stopped, whose inventory can't be read. */
function renderWaiting(boards: readonly string[]): string {
  const names = boards.slice(0, WAITING_NAMED_MAX).map(printable).join(', ');
  const more = boards.length > WAITING_NAMED_MAX ? ` and ${boards.length - WAITING_NAMED_MAX} more` : '';
  return `brambleboot: running boards wait for this server: ${names}${more}. They lose their root disks if it does not start within server.handover_limit of the stop (10 minutes, unless the inventory says otherwise)\n`;
}

const WAITING_NAMED_MAX = 20;

function renderRefusal(because: readonly string[]): string {
  return because.map((sentence) => `brambleboot: the sockets that systemd handed over: ${sentence}\n`).join('');
}

/**
 * A signal stops in order, and so does a bug of ours, so that nothing that was answered is lost. Signals that follow change nothing:
 * programs repeat them, and a terminal's Ctrl-C may come twice at once (npm passes on what the shell sent already). Only a person who
 * presses Ctrl-C again after a second is out of patience.
 */
function stopAsked(log: Log): Promise<ExitStatus> {
  return new Promise((resolve) => {
    let askedAtMs: number | undefined;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        const nowMs = systemClock.nowMs();
        if (askedAtMs === undefined) {
          askedAtMs = nowMs;
          log.info({ signal }, 'server.stopping');
          resolve(ExitStatus.Done);
        } else if (signal === 'SIGINT' && nowMs - askedAtMs >= STOP_AT_ONCE_AFTER_MS) endAtOnce();
        else log.warn({ signal }, 'server.signal.ignored');
      });
    }
    // Unheard, it would end the process on the spot, and every board's disk with it.
    process.on('SIGUSR2', (signal) => log.warn({ signal }, 'server.signal.ignored'));
    const bug = (error: unknown) => {
      log.error({ err: error }, 'server.bug');
      resolve(ExitStatus.Failed);
    };
    process.on('uncaughtException', bug);
    process.on('unhandledRejection', bug);
  });
}

/** Not by process.exit: that waits for threads and for the log, and one may hang on a disk, on a pipe that nobody reads, on a full file. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL');
}
