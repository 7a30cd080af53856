import { execFile } from 'node:child_process';

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a foreign program to its end, while this process goes on serving it. Status −1: killed after 60 s. */
export function runForeign(program: string, ...values: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { timeout: 60_000, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 } as const;
    const child = execFile(program, values, options, (_error, stdout, stderr) => {
      resolve({ status: child.exitCode ?? -1, stdout, stderr });
    });
  });
}
