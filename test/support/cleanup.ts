/** What ends some time: a test, or a bench. */
export interface Ending {
  after(action: () => Promise<void>): void;
}

const actions = new WeakMap<Ending, (() => void | Promise<void>)[]>();

/** Does it when that is over, last come first: Node's own hooks run in the order of their making, and would take away a folder that is still in use. */
export function whenOver(context: Ending, action: () => void | Promise<void>): void {
  const known = actions.get(context);
  if (known !== undefined) {
    known.push(action);
    return;
  }
  const all = [action];
  actions.set(context, all);
  context.after(async () => {
    for (const last of all.reverse()) await last();
  });
}
