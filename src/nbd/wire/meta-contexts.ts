import { Option } from './constants.js';
import type { MetaContext } from './meta-context-wire.js';

/** The one context that proto.md defines (section "The `base:` metadata namespace"). */
export const ALLOCATION: MetaContext = { id: 1, name: 'base:allocation' };

/**
 * Which contexts a client gets. Namespaces and leaf-names that nobody knows are ignored, and so is what is no name at all:
 * proto.md allows an error for it, but a client that asks for more than there is should still get what there is.
 *
 * `base:` is a wildcard in a LIST and selects nothing in a SET; no queries are all contexts in a LIST and none in a SET.
 */
export function contextsFor(
  option: typeof Option.ListMetaContext | typeof Option.SetMetaContext,
  queries: readonly string[],
): readonly MetaContext[] {
  if (option === Option.SetMetaContext) return queries.includes(ALLOCATION.name) ? [ALLOCATION] : [];
  const asked = queries.length === 0 || queries.includes('base:') || queries.includes(ALLOCATION.name);
  return asked ? [{ ...ALLOCATION, id: 0 }] : [];
}
