import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CONFIG_FILE_BYTES_MAX, CONFIG_LINE_CHARACTERS_MAX, CONFIG_LINES_MAX } from '../../../src/base/limits.js';
import { configWarningText, parseConfigTxt } from '../../../src/boards/boot-config/config-txt.js';

describe('a line of config.txt', () => {
  test('sets a value', () => {
    assert.deepEqual(parse('kernel=vmlinuz\n').lines, [setting(1, 'kernel', 'vmlinuz')]);
    assert.deepEqual(parse('dtparam=i2c_arm=on').lines, [setting(1, 'dtparam', 'i2c_arm=on')]);
  });

  test('may say so with a space, as piCore does', () => {
    assert.deepEqual(parse('kernel kernel-5.10.77-piCore.img').lines, [
      setting(1, 'kernel', 'kernel-5.10.77-piCore.img'),
    ]);
    assert.deepEqual(parse('cmdline = other.txt').lines, [setting(1, 'cmdline', 'other.txt')]);
  });

  test('may take a value back with nothing behind the sign', () => {
    assert.deepEqual(parse('os_prefix=').lines, [setting(1, 'os_prefix', '')]);
  });

  test('names an initramfs without a sign, and may list several', () => {
    assert.deepEqual(parse('initramfs a.gz,b.gz followkernel').lines, [
      setting(1, 'initramfs', 'a.gz,b.gz followkernel'),
    ]);
  });

  test('opens a section, in any case and indented', () => {
    const found = parse('[all]\n  [PI4]\n[EDID=VSC-TD2220]\n[gpio4=1]\n[0x12345678]').lines;
    assert.deepEqual(
      found.map((line) => line.kind === 'filter' && line.text),
      ['all', 'pi4', 'edid=vsc-td2220', 'gpio4=1', '0x12345678'],
    );
  });

  test('includes a file', () => {
    assert.deepEqual(parse('include usercfg.txt').lines, [{ kind: 'include', line: 1, file: 'usercfg.txt' }]);
  });

  test('means nothing as a comment, blank, a word alone or an open bracket', () => {
    assert.deepEqual(parse('# kernel=a\n\n   \n #b=c\nword\n[pi4\n=x\ninclude\n').lines, []);
  });

  test('ends at LF, CR LF or CR, and counts from 1', () => {
    assert.deepEqual(parse('a=1\r\nb=2\rc=3\n').lines, [
      setting(1, 'a', '1'),
      setting(2, 'b', '2'),
      setting(3, 'c', '3'),
    ]);
  });

  test('is cut at 98 characters with a warning', () => {
    const value = 'x'.repeat(CONFIG_LINE_CHARACTERS_MAX);
    const { lines, warnings } = parse(`kernel=${value}\n# ${value}\n`);
    assert.deepEqual(lines, [setting(1, 'kernel', 'x'.repeat(CONFIG_LINE_CHARACTERS_MAX - 'kernel='.length))]);
    assert.deepEqual(warnings, [{ kind: 'longLine', line: 1 }]);
  });

  test('is ignored with a warning if it could move a cursor', () => {
    const { lines, warnings } = parse('kernel=\x1b[2Jvmlinuz\nok=1\n');
    assert.deepEqual(lines, [setting(2, 'ok', '1')]);
    assert.deepEqual(warnings, [{ kind: 'controlCharacter', line: 1 }]);
  });
});

describe('a config.txt', () => {
  test('over 4,096 bytes is read whole, with a warning (raspberrypi/firmware#1012)', () => {
    const { lines, warnings } = parse(`${'#\n'.repeat(2048)}kernel=late.img\n`);
    assert.deepEqual(lines, [setting(2049, 'kernel', 'late.img')]);
    assert.deepEqual(warnings, [{ kind: 'beyondTftpLimit', sizeBytes: 4096 + 16 }]);
  });

  test('has bounds', () => {
    const large = parse(`${'#'.repeat(CONFIG_FILE_BYTES_MAX)}\nkernel=x`);
    assert.deepEqual(large.lines, []);
    assert.equal(large.warnings[0]?.kind, 'tooLarge');
    const long = parse('a=1\n'.repeat(CONFIG_LINES_MAX + 10));
    assert.equal(long.lines.length, CONFIG_LINES_MAX);
    assert.ok(long.warnings.some(({ kind }) => kind === 'tooManyLines'));
  });

  test('may be any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const { lines, warnings } = parseConfigTxt(bytes);
        assert.ok(lines.length <= bytes.length);
        for (const warning of warnings) assert.match(configWarningText('config.txt', warning), /^config\.txt/);
      }),
    );
  });

  test('cut anywhere says what it said before, up to the line that was cut', () => {
    const whole = '[all]\nkernel=vmlinuz\n[pi4]\ninitramfs initrd.img followkernel\ninclude user.txt\n';
    const all = parse(whole).lines;
    for (let length = 0; length <= whole.length; length += 1) {
      const complete = parse(whole.slice(0, length)).lines.filter(
        ({ line }) => line <= whole.slice(0, length).split('\n').length - 1,
      );
      assert.deepEqual(complete, all.slice(0, complete.length));
    }
  });
});

function parse(text: string) {
  return parseConfigTxt(Buffer.from(text, 'latin1'));
}

function setting(line: number, key: string, value: string) {
  return { kind: 'setting', line, key, value };
}
