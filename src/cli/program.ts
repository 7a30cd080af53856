import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseIpv4, parseMac } from '../base/addresses.js';
import { messageOf } from '../base/errors.js';
import { Malformed } from '../base/malformed.js';
import { printable } from '../base/printable.js';
import { parseSerial } from '../base/serial.js';
import { PROFILES } from '../pretend/profile.js';
import { boards } from './boards.js';
import { check } from './check.js';
import { CONFIG_PATHS } from './config-path.js';
import { demo } from './demo.js';
import { drop, promote, reset, rollback, snapshot } from './disk-commands.js';
import { ExitStatus } from './exit-status.js';
import { pretend } from './pretend.js';
import { reload } from './reload.js';
import { reopen } from './reopen.js';
import { serve } from './serve.js';
import { snapshots } from './snapshots.js';
import { programVersion } from './version.js';

/** Runs one command; answers its exit status. */
export async function runCommandLine(words: readonly string[]): Promise<ExitStatus> {
  let status: ExitStatus = ExitStatus.Done;
  const program = commandLine((outcome) => {
    status = outcome;
  });
  try {
    refuseUnknownCommand(program, words[0]);
    await program.parseAsync(words, { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitStatus.Done : ExitStatus.WrongUsage;
    process.stderr.write(`brambleboot: ${printable(messageOf(error))}\n`);
    return ExitStatus.Failed;
  }
}

/** All commands with their options and help; `done` is told how the one that ran ended. */
export function commandLine(done: (status: ExitStatus) => void): Command {
  const program = new Command('brambleboot')
    .description('Netboots Raspberry Pis: proxyDHCP, TFTP and NBD over the same disk images, from one YAML inventory.')
    .version(programVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError('(--help says more)')
    .exitOverride();
  const config = () => new Option('-c, --config <file>', `the inventory (default: ${CONFIG_PATHS.join(', then ')})`);
  const run =
    <T extends readonly unknown[]>(action: (...values: T) => Promise<ExitStatus>) =>
    async (...values: T) =>
      done(await action(...values));

  program
    .command('serve', { isDefault: true })
    .description('run the server until it is told to stop (the default command)')
    .addOption(config())
    .addOption(
      new Option('--log-level <level>', 'how much it says').choices(['debug', 'info', 'warn', 'error']).default('info'),
    )
    .action(run(serve));
  program
    .command('check')
    .description('say every fault of the inventory and its images, and what each image can boot; starts nothing')
    .addOption(config())
    .action(run(check));
  program
    .command('boards')
    .description('show the boards of the running server; of one board its boots, step by step')
    .argument('[board]', 'name of a board')
    .addOption(config())
    .option('--json', 'print all that is known, as JSON')
    .action(run(boards));
  program
    .command('reload')
    .description('have the running server read its inventory again, and say what that changed; boards keep their disks')
    .addOption(config())
    .option('--force', 'close the connections of boards that are in the way of a change')
    .action(run(reload));
  program
    .command('reopen')
    .description(
      'take the disk of a board up again that has failed, once it is mended; it does not bring back what was lost',
    )
    .argument('<board>', 'name of the board')
    .addOption(config())
    .action(run(reopen));
  addDiskCommands(program, run, config);
  program
    .command('demo')
    .description(
      'make a small image, serve it on unprivileged loopback ports, boot a pretend board from it, print the timeline',
    )
    .option('--keep <folder>', 'leave the image and its config.yaml there')
    .action(run(demo));
  program
    .command('pretend')
    .description('play a board against a running server and report each step; writes nothing to its disk')
    .requiredOption('--serial <serial>', 'the serial of the board to play', checked(parseSerial))
    .option(
      '--server <address>',
      'the server; without it the server is found by DHCP, as a board does',
      checked(parseIpv4),
    )
    .addOption(new Option('--profile <profile>', 'which board to play').choices(Object.keys(PROFILES)).default('pi4'))
    .option('--interface <name>', 'where to ask by DHCP; needs root, or lo')
    .option('--mac <mac>', 'MAC to say in DHCP and in a MAC prefix (default: of the interface)', checked(parseMac))
    .option('--prefix <prefix>', 'path of the files: serial, mac, none, or a text ending in a slash', 'serial')
    .option(
      '--take-address',
      'ask the router for an address too, and give it to the interface; for a network namespace',
    )
    .option('--tftp-port <port>', 'TFTP port of the server', checked(parsePort), 69)
    .option('--dhcp-port <port>', 'port of DHCP servers', checked(parsePort), 67)
    .option('--dhcp-reply-port <port>', 'port that DHCP servers answer to', checked(parsePort), 68)
    .option(
      '--http-port <port>',
      'HTTP port of the server, asked whether the board is attached',
      checked(parsePort),
      9069,
    )
    .option('--json', 'print the outcome as JSON')
    .action(run(pretend));
  return exitsByThrowing(program);
}

type Run = <T extends readonly unknown[]>(
  action: (...values: T) => Promise<ExitStatus>,
) => (...values: T) => Promise<void>;

function addDiskCommands(program: Command, run: Run, config: () => Option): void {
  const ofBoard = (name: string, description: string) =>
    program.command(name).description(description).argument('<board>', 'name of the board');
  const force = () => new Option('--force', 'close the connections of the board first, if it has any');
  ofBoard('snapshot', "keep a board's disk as it is at this moment, under a name, while the board goes on")
    .argument('<name>', 'name of the snapshot')
    .addOption(config())
    .action(run(snapshot));
  ofBoard('snapshots', "show the snapshots of a board's disk, their age and their space")
    .addOption(config())
    .option('--json', 'print all that is known, as JSON')
    .action(run(snapshots));
  ofBoard('rollback', "have a board's disk be again as it was when a snapshot was taken")
    .argument('<name>', 'name of the snapshot')
    .addOption(config())
    .addOption(force())
    .action(run(rollback));
  ofBoard('reset', "have a board's disk be again as its image is; snapshots are kept")
    .addOption(config())
    .addOption(force())
    .action(run(reset));
  ofBoard('promote', "make an image file of a board's disk as it is at this moment, while the board goes on")
    .argument('<file>', 'the file to make')
    .addOption(config())
    .action(run(promote));
  ofBoard('drop', 'forget a snapshot')
    .argument('<name>', 'name of the snapshot')
    .addOption(config())
    .addOption(force())
    .action(run(drop));
}

/** What `parse` takes for Malformed is wrong usage. */
function checked<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof Malformed) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Malformed(`"${text}" is not a port from 1 to 65535`);
  return port;
}

/** Said here, since commander would take the word for an argument of the default command. */
function refuseUnknownCommand(program: Command, word: string | undefined): void {
  const names = [...program.commands.map((command) => command.name()), 'help'];
  if (word === undefined || word.startsWith('-') || names.includes(word)) return;
  program.error(`error: there is no command "${printable(word)}"; there are ${names.join(', ')}`);
}

/** So that wrong usage is our exit status, not commander's, for each command too. */
function exitsByThrowing(program: Command): Command {
  for (const command of program.commands) command.exitOverride().showHelpAfterError('(--help says more)');
  return program;
}
