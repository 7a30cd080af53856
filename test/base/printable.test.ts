import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { printable, printableAscii, printableJson, printableLines } from '../../src/base/printable.js';
import { STEERS_A_TERMINAL } from '../support/hostile-words.js';

describe('text of a stranger', () => {
  test('has no character left that steers a terminal or turns the direction of writing', () => {
    const steering = '\u001b\u0000\r\n\u009b\u202e\u2028\u{e0041}\ud800';
    assert.equal(printable(`${steering}é\t`), `${'\ufffd'.repeat(9)}é→`);
    assert.equal(printableLines('a\u001b\nb\r'), 'a�\nb�');
    assert.equal(printableAscii('é\u001b~'), '??~');
  });

  test('in JSON stays what it was', () => {
    const text = 'evil\u001b[31m\u007f\u009b31m\u202e\u2028\ue000\u{e0041}\ud800é€\n';
    const json = printableJson(JSON.stringify({ text }));
    assert.doesNotMatch(json, STEERS_A_TERMINAL);
    assert.deepEqual(JSON.parse(json), { text });
    assert.ok(json.includes('\\u009b31m\\u202e\\u2028\\ue000\\udb40\\udc41'));
    assert.ok(json.includes('é€'), 'what only looks foreign is left as it is');
  });

  test('whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = printableJson(JSON.stringify([text, { [text]: 1 }], null, 2));
        assert.deepEqual(JSON.parse(json), [text, { [text]: 1 }]);
        assert.doesNotMatch(json.replaceAll('\n', ''), STEERS_A_TERMINAL);
        assert.doesNotMatch(printable(text), STEERS_A_TERMINAL);
      }),
      { numRuns: 500 },
    );
  });
});
