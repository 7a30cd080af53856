import type { TestContext } from 'node:test';

const actions = new WeakMap<TestContext, (() => void | Promise<void>)[]>();

/** Does it when the test is over, last come first: Node's own hooks run in the order of their making, and would take away a folder that is still in use. */
export function whenOver(context: TestContext, action: () => void | Promise<void>): void {
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
