import { type ChildProcess, execFile, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { whenOver } from './cleanup.js';

const execute = promisify(execFile);

/** Runs a program to its end while this process goes on (it may be the server that the program talks to). */
export async function run(
  program: string,
  words: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<Buffer> {
  const { stdout } = await execute(program, words, {
    encoding: 'buffer',
    maxBuffer: 256 * 1024 * 1024,
    timeout: 120_000,
    ...options,
  });
  return stdout;
}

/** Starts a program that stays, and ends it by its id when the test is over. */
export function background(context: TestContext, program: string, words: readonly string[]): ChildProcess {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  whenOver(context, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  });
  return child;
}

/** What `until` looks for. With `said`, what the program has said so far is part of the error where it never comes. */
export interface Condition {
  (): boolean | Promise<boolean>;
  readonly said?: () => string;
}

/** Looks again and again until it is so; rejects after `patienceMs`. Long: it is there to name what never comes, and a busy machine is slow. */
export async function until(isSo: Condition, what: string, patienceMs = 60_000): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`waited ${patienceMs / 1000} s for ${what}${wordsOf(isSo)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** For `until`: whether the program has said this yet. */
export function outputOf(child: ChildProcess, text: string): (() => boolean) & { readonly said: () => string } {
  let said = '';
  const listen = (chunk: Buffer) => {
    said += chunk.toString('utf8');
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  return Object.assign(() => said.includes(text), { said: () => said });
}

/** The end of it: what went wrong comes last. */
function wordsOf({ said }: Condition): string {
  if (said === undefined) return '';
  const words = said();
  return words === '' ? '; it said nothing' : `; it said:\n${words.slice(-SAID_CHARACTERS_SHOWN)}`;
}

const SAID_CHARACTERS_SHOWN = 4000;
