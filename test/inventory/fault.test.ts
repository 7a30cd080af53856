import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FAULT_LINE_CHARACTERS_MAX } from '../../src/base/limits.js';
import { type Fault, renderFault, renderFaults } from '../../src/inventory/fault.js';

describe('a fault', () => {
  test('shows the line, and under it what is wrong in it', () => {
    assert.equal(
      renderFault(at('    serial: 0x12', 13, '0x12')),
      [
        'config.yaml:7:13: wrong',
        '    7 |     serial: 0x12',
        '      |             ^^^^',
        '      = do it right',
        '',
      ].join('\n'),
    );
  });

  test('shows one mark where something is missing', () => {
    assert.match(renderFault(at('serial', 7, '')), /\| {7}\^\n/);
  });

  test('shows a window of a long line', () => {
    const line = `${'x'.repeat(500)}HERE${'y'.repeat(500)}`;
    const [, shown = '', marks = ''] = renderFault(at(line, 501, 'HERE')).split('\n');
    assert.equal(shown.slice(8), `…${'x'.repeat(40)}HERE${'y'.repeat(FAULT_LINE_CHARACTERS_MAX - 44)}…`);
    assert.equal(marks.indexOf('^^^^'), shown.indexOf('HERE'));
  });

  test('marks no further than the window', () => {
    const line = 'z'.repeat(500);
    const [, , marks = ''] = renderFault(at(line, 1, line)).split('\n');
    assert.equal(marks.slice(8), '^'.repeat(FAULT_LINE_CHARACTERS_MAX));
  });

  test('draws tabs, and keeps the marks below what they mark', () => {
    const [, shown = '', marks = ''] = renderFault(at('\tname:\tx', 8, 'x')).split('\n');
    assert.equal(shown.slice(8), '→name:→x');
    assert.equal(marks.indexOf('^'), shown.indexOf('x', 8));
  });

  test('lets nothing through that steers a terminal', () => {
    const shown = renderFault({ ...at('a: \u001b[2J\u202eb\u0007', 4, '\u001b[2J'), file: 'con\u001bfig.yaml' });
    assert.equal(shown.split('\n')[1], '    7 | a: \ufffd[2J\ufffdb\ufffd');
    assert.ok(shown.startsWith('con\ufffdfig.yaml:7:4:'));
  });

  test('about the file as a whole has no line', () => {
    const fault: Fault = { file: 'config.yaml', at: undefined, problem: 'gone', remedy: 'look for it' };
    assert.equal(renderFault(fault), 'config.yaml: gone\n      = look for it\n');
  });
});

describe('several faults', () => {
  test('have an empty line between them', () => {
    const one = at('x', 1, 'x');
    assert.equal(renderFaults([one, one]), `${renderFault(one)}\n${renderFault(one)}`);
  });

  test('of very many the first are printed and the rest counted', () => {
    const printed = renderFaults(Array.from({ length: 21 }, () => at('x', 1, 'x')));
    assert.equal(printed.match(/wrong/g)?.length, 20);
    assert.ok(printed.endsWith('\n… and 1 more fault\n'));
  });
});

function at(sourceLine: string, column: number, text: string): Fault {
  return { file: 'config.yaml', at: { line: 7, column, text, sourceLine }, problem: 'wrong', remedy: 'do it right' };
}
