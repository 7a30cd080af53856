/** What an error says, for people; whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** By what the kernel, or Node, has said no (`ENOENT`); undefined where it was somebody else. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** `ENOSPC: no space left on device`, without the call and the file that Node puts behind it: the same trouble is the same text. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split(', ')[0] ?? '') : String(error);
}
