import assert from 'node:assert/strict';
import { renderFaults } from '../../src/inventory/fault.js';
import { parseInventory } from '../../src/inventory/parse.js';

/** Any text is an inventory, or faults that say what is wrong and what to do. */
export function holds(text: string): void {
  const verdict = parseInventory(text, 'config.yaml');
  if (verdict.answer === 'inventory') return;
  assert.ok(verdict.faults.length > 0);
  assert.ok(verdict.faults.every(({ problem, remedy }) => problem.length > 0 && remedy.length > 0));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that none is printed is the point
  assert.doesNotMatch(renderFaults(verdict.faults), /undefined|\[object|[\0-\x09\x0b-\x1f\x7f]/);
}
