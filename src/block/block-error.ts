import { messageOf } from '../base/errors.js';

/** Why a device failed, as the kernel's errno names it; each protocol translates these in one place. */
export const BLOCK_ERROR_CODES = [
  'EIO',
  'ENOSPC',
  'EROFS',
  'EPERM',
  'EACCES',
  'EFBIG',
  'EINVAL',
  'ENOENT',
  'ENOTSUP',
  'EBUSY',
] as const;
export type BlockErrorCode = (typeof BLOCK_ERROR_CODES)[number];

export interface BlockFacts {
  readonly file?: string;
  readonly offset?: number;
  readonly lengthBytes?: number;
  /** What more is known: who holds the lock, what the kernel said. */
  readonly detail?: string;
}

/** The medium failed or refused: code and facts, from which the sentence is made where it is shown. */
export class BlockError extends Error {
  override readonly name = 'BlockError';
  readonly code: BlockErrorCode;
  readonly facts: BlockFacts;

  constructor(code: BlockErrorCode, facts: BlockFacts = {}) {
    super(describe(code, facts));
    this.code = code;
    this.facts = facts;
  }
}

function describe(code: BlockErrorCode, facts: BlockFacts): string {
  const range = facts.offset === undefined ? '' : ` (${facts.lengthBytes ?? 0} bytes at ${facts.offset})`;
  const detail = facts.detail === undefined ? '' : `: ${facts.detail}`;
  return `${facts.file ?? 'device'}: ${code}${range}${detail}`;
}

const CODES: Readonly<Record<string, BlockErrorCode>> = {
  ENOSPC: 'ENOSPC',
  EDQUOT: 'ENOSPC',
  EROFS: 'EROFS',
  EPERM: 'EPERM',
  EACCES: 'EACCES',
  ENOENT: 'ENOENT',
  ENOTDIR: 'ENOENT',
  EBUSY: 'EBUSY',
  EFBIG: 'EFBIG',
  EOPNOTSUPP: 'ENOTSUP',
  ENOTSUP: 'ENOTSUP',
  ENOSYS: 'ENOTSUP',
  EINVAL: 'EINVAL',
};

/** What a system call threw, as the device's own error; what has no code of its own here is EIO with the kernel's word kept. */
export function blockErrorFrom(error: unknown, facts: BlockFacts): BlockError {
  if (error instanceof BlockError) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
  const known = CODES[code];
  if (known !== undefined) return new BlockError(known, facts);
  const said = messageOf(error);
  // `EIO: i/o error, fdatasync` would say the code once more, and behind a detail nothing that is not there already.
  if (code === 'EIO') return new BlockError('EIO', { ...facts, detail: facts.detail ?? said.replace(/^EIO: /, '') });
  return new BlockError('EIO', { ...facts, detail: facts.detail === undefined ? said : `${facts.detail} (${said})` });
}
