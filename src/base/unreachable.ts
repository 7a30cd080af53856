/** Ends a switch over a union: the compiler complains here when a kind was forgotten. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
