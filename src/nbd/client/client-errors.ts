import { Errno, type ErrnoName, OptionReply } from '../wire/constants.js';

/** An option was answered with an error: `reply` as in OptionReply, and the server's sentence. */
export class NbdRefused extends Error {
  override readonly name = 'NbdRefused';
  readonly reply: number;
  readonly sentence: string;

  constructor(reply: number, sentence: string) {
    const known = Object.entries(OptionReply).find(([, code]) => code === reply)?.[0] ?? reply.toString(16);
    super(sentence === '' ? known : `${known}: ${sentence}`);
    this.reply = reply;
    this.sentence = sentence;
  }
}

/** A request was answered with an error. */
export class NbdFailed extends Error {
  override readonly name = 'NbdFailed';
  /** Undefined for a number that proto.md does not know. */
  readonly errno: ErrnoName | undefined;
  /** The server's words; empty where replies are simple ones. */
  readonly sentence: string;
  /** Where in the export, if the server said so. */
  readonly at: number | undefined;

  constructor(error: number, sentence = '', at?: number) {
    const errno = errnoName(error);
    super(`${errno ?? `error ${error}`}${sentence === '' ? '' : `: ${sentence}`}`);
    this.errno = errno;
    this.sentence = sentence;
    this.at = at;
  }
}

/** The connection is gone, and with it every request that was not answered. */
export class NbdDisconnected extends Error {
  override readonly name = 'NbdDisconnected';
}

function errnoName(error: number): ErrnoName | undefined {
  const names: readonly ErrnoName[] = [
    'EPERM',
    'EIO',
    'ENOMEM',
    'EINVAL',
    'ENOSPC',
    'EOVERFLOW',
    'ENOTSUP',
    'ESHUTDOWN',
  ];
  return names.find((name) => Errno[name] === error);
}
