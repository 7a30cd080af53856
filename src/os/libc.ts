import koffi from 'koffi';

/**
 * The one door to libc: the few calls that Node lacks. Symbols only, never system-call numbers, so that x86-64 and arm64
 * are the same here. Each file of this folder declares the calls it needs with `libcFunction`.
 */
const libc = koffi.load('libc.so.6');

/** A libc function that answers −1 and errno on failure; `prototype` is its C declaration. */
export interface LibcFunction {
  /** Calls it on this thread: only for calls that never wait for a disk or a peer. */
  now(...values: readonly unknown[]): number;
  /** As `now`, where the reason of a failure is of no interest: undefined then. */
  attempt(...values: readonly unknown[]): number | undefined;
  /** The call itself, for who calls it a hundred thousand times a second; a failure is −1. */
  readonly bare: (...values: readonly number[]) => number;
  /** Calls it on a worker thread. */
  later(...values: readonly unknown[]): Promise<number>;
}

/** The kernel said no: `code` is errno's name, as Node's own errors have it. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = errnoName(errno);
    super(`${call}: ${code}`);
    this.code = code;
  }
}

/** A struct of C that prototypes may name from then on: member names to C types. For those that hold a pointer; others are bytes. */
export function libcStruct(name: string, members: Readonly<Record<string, string>>): void {
  koffi.struct(name, members);
}

export function libcFunction(name: string, prototype: string): LibcFunction {
  const call = libc.func(prototype);
  return {
    bare: call,
    now(...values) {
      const result: unknown = call(...values);
      return answer(name, result);
    },
    attempt(...values) {
      const result = Number(call(...values));
      return result < 0 ? undefined : result;
    },
    later(...values) {
      return new Promise((resolve, reject) => {
        call.async(...values, (failure: unknown, result: unknown) => {
          if (failure) return reject(failure);
          try {
            resolve(answer(name, result));
          } catch (error) {
            reject(error);
          }
        });
      });
    },
  };
}

/** Whether it is by this errno (`ECONNREFUSED`) that the call just `attempt`ed has failed: to be asked before anything else is called. */
export function hasFailedBy(code: string): boolean {
  return koffi.errno() === koffi.os.errno[code];
}

function answer(name: string, result: unknown): number {
  const number = Number(result);
  if (number < 0) throw new SystemCallError(name, koffi.errno());
  return number;
}

/** As Node's own errors have it: `ECONNRESET`. */
export function errnoName(errno: number): string {
  const known = Object.entries(koffi.os.errno).find(([, value]) => value === errno);
  return known?.[0] ?? `errno ${errno}`;
}
