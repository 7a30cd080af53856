import { CONFIG_FILE_BYTES_MAX, CONFIG_LINE_CHARACTERS_MAX, CONFIG_LINES_MAX } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';

/**
 * One line of config.txt that means something. The grammar is looser than its documentation (`property=value`): images in
 * the wild also say `kernel vmlinuz`, `cmdline other.txt` and `[PI4]`, and those boot, so they are read here.
 */
export type ConfigLine =
  /** `[pi4]`: what follows is for boards that match. Lower case, without the brackets. */
  | { readonly kind: 'filter'; readonly line: number; readonly text: string }
  /** `include usercfg.txt`: the file's lines stand here instead. */
  | { readonly kind: 'include'; readonly line: number; readonly file: string }
  /** `kernel=vmlinuz`; `initramfs initrd.img followkernel` has the key `initramfs` and the rest as its value. */
  | { readonly kind: 'setting'; readonly line: number; readonly key: string; readonly value: string };

/** What a person should know of a config.txt that was read all the same. `line` counts from 1. */
export type ConfigWarning =
  | { readonly kind: 'beyondTftpLimit'; readonly sizeBytes: number }
  | { readonly kind: 'tooLarge'; readonly sizeBytes: number }
  | { readonly kind: 'tooManyLines' }
  | { readonly kind: 'longLine'; readonly line: number }
  | { readonly kind: 'controlCharacter'; readonly line: number };

export interface ConfigTxt {
  readonly lines: readonly ConfigLine[];
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Over TFTP no more than this of config.txt took effect on several stages (raspberrypi/firmware#1012, #1575). Newer ones
 * read all of it, and which one a board has is not to be known: hence a warning, never a cut.
 */
const CONFIG_TFTP_BYTES = 4096;

/**
 * Any bytes at all are a config.txt. Comments, blank lines and what has no value are left out. Lines end at CR or LF, are
 * cut at CONFIG_LINE_CHARACTERS_MAX as the firmware's are, and may be indented. One byte is one character (Latin-1).
 */
export function parseConfigTxt(bytes: Uint8Array): ConfigTxt {
  const warnings: ConfigWarning[] = [];
  if (bytes.length > CONFIG_FILE_BYTES_MAX) warnings.push({ kind: 'tooLarge', sizeBytes: bytes.length });
  else if (bytes.length > CONFIG_TFTP_BYTES) warnings.push({ kind: 'beyondTftpLimit', sizeBytes: bytes.length });

  // Of a kind the first is enough to say: an image could otherwise fill the log with these.
  const warn = (warning: ConfigWarning) => {
    if (!warnings.some(({ kind }) => kind === warning.kind)) warnings.push(warning);
  };

  const text = Buffer.from(bytes.subarray(0, CONFIG_FILE_BYTES_MAX)).toString('latin1');
  const lines: ConfigLine[] = [];
  for (const [index, whole] of text.split(/\r\n|\r|\n/).entries()) {
    const line = index + 1;
    const parsed = parseLine(whole.slice(0, CONFIG_LINE_CHARACTERS_MAX), line);
    if (parsed === undefined) continue;
    if (lines.length >= CONFIG_LINES_MAX) {
      warn({ kind: 'tooManyLines' });
      break;
    }
    if (whole.length > CONFIG_LINE_CHARACTERS_MAX) warn({ kind: 'longLine', line });
    if (HAS_CONTROL_CHARACTER.test(whole)) warn({ kind: 'controlCharacter', line });
    else lines.push(parsed);
  }
  return { lines, warnings };
}

/** As a sentence; `file` is the one that the warning is about. */
export function configWarningText(file: string, warning: ConfigWarning): string {
  switch (warning.kind) {
    case 'beyondTftpLimit':
      return `${file} has ${warning.sizeBytes} bytes: older firmware reads only the first ${CONFIG_TFTP_BYTES} over TFTP; remove comments to make it shorter`;
    case 'tooLarge':
      return `${file} has ${warning.sizeBytes} bytes: only the first ${CONFIG_FILE_BYTES_MAX} were looked at`;
    case 'tooManyLines':
      return `${file} has more than ${CONFIG_LINES_MAX} settings: the rest was not looked at`;
    case 'longLine':
      return `${file}:${warning.line} is longer than ${CONFIG_LINE_CHARACTERS_MAX} characters: the firmware ignores the rest of the line`;
    case 'controlCharacter':
      return `${file}:${warning.line} holds a control character: the line was ignored`;
    default:
      return unreachable(warning);
  }
}

/** None can be in the name of a file on a FAT, and none should reach a terminal. A tab may stand between words. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
const HAS_CONTROL_CHARACTER = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;

function parseLine(whole: string, line: number): ConfigLine | undefined {
  const text = whole.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  if (text.startsWith('[')) return parseFilter(text, line);

  const [, key = '', rest = ''] = /^([^\s=]*)(.*)$/s.exec(text) ?? [];
  const value = rest.replace(/^\s*=?\s*/, '');
  if (key === 'include') return value === '' ? undefined : { kind: 'include', line, file: value };
  // `os_prefix=` is a setting: it takes a prefix back. A word alone is none.
  return key === '' || rest === '' ? undefined : { kind: 'setting', line, key, value };
}

function parseFilter(text: string, line: number): ConfigLine | undefined {
  const end = text.indexOf(']');
  return end < 0 ? undefined : { kind: 'filter', line, text: text.slice(1, end).trim().toLowerCase() };
}
