import { z } from 'zod';
import { type Ipv4Address, type MacAddress, parseIpv4, parseMac } from '../base/addresses.js';
import { INVENTORY_ARGUMENTS_BYTES_MAX } from '../base/limits.js';
import { unlessMalformed } from '../base/malformed.js';
import { parseSerial, type Serial } from '../base/serial.js';
import { quote, shown } from './quotation.js';
import { nearest, repairedName } from './suggestion.js';

/**
 * Ends the reading of a scalar. Without words of its own it becomes "port takes a whole number from 1 to 65535, not …" and
 * an example, both from the table of keys.
 */
export type Refuse = (problem?: string, remedy?: string) => never;

/** Makes a value of the text that stands in the file, with or without quotes around it. */
export type Reader<Value> = (text: string, refuse: Refuse) => Value;

export function wholeNumber(least: number, most: number): Reader<number> {
  return (text, refuse) => {
    if (!/^[0-9]{1,15}$/.test(text)) return refuse();
    if (text.length > 1 && text.startsWith('0'))
      return refuse(`${quote(text)} has a zero in front`, `write ${Number(text)}`);
    const value = Number(text);
    return value >= least && value <= most ? value : refuse();
  };
}

export function oneOf<const Word extends string>(...words: readonly Word[]): Reader<Word> {
  return (text, refuse) => {
    const meant = nearest(text, words);
    return words.find((word) => word === text) ?? refuse(undefined, meant && `did you mean \`${meant}\`?`);
  };
}

/** YAML 1.2 has no other words for them; 1.1 had, and people write them. */
export const readSwitch: Reader<boolean> = (text, refuse) => {
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^(yes|on|y|true)$/i.test(text)) return refuse(undefined, 'write true');
  if (/^(no|off|n|false)$/i.test(text)) return refuse(undefined, 'write false');
  return refuse();
};

/** Kernel rule (dev_valid_name): 1 to 15 bytes, no slash, colon or space, not `.` or `..`. */
export const readInterface: Reader<string> = (text, refuse) => {
  if (/^[\w.@-]+(,\s*[\w.@-]+)+$/.test(text)) {
    return refuse(
      `${quote(text)} is not one interface name`,
      `write a list: \`[${shown(text.split(/,\s*/).join(', '))}]\``,
    );
  }
  if (!/^[^\s/:\p{C}]+$/u.test(text) || Buffer.byteLength(text) > 15 || text === '.' || text === '..') {
    return refuse(`${quote(text)} can't be the name of an interface`, 'write one that `ip link` shows, such as eth0');
  }
  return text;
};

/** An address that a board can send to. */
export const readServerAddress: Reader<Ipv4Address> = (text, refuse) => {
  const withMask = /^(.+)\/\d+$/.exec(text);
  if (withMask?.[1] !== undefined && isIpv4(withMask[1])) {
    return refuse(`${quote(text)} is a network; this takes the address alone`, `write ${withMask[1]}`);
  }
  if (!isIpv4(text)) return refuse();
  const first = Number(text.split('.')[0]);
  if (first === 0 || first >= 224) {
    return refuse(`no board can ask ${text}`, 'write the address of this machine in the network of the boards');
  }
  return text;
};

/** An address to listen on, of either kind. */
export const readListenAddress: Reader<string> = (text, refuse) => {
  if (isIpv4(text) || z.ipv6().safeParse(text).success) return text;
  if (text === '*') return refuse(undefined, 'write 0.0.0.0 for every address of this machine');
  if (text === 'localhost') return refuse(undefined, 'write 127.0.0.1');
  if (/:\d+$/.test(text) && isIpv4(text.replace(/:\d+$/, ''))) {
    return refuse(`${quote(text)} has the port in it`, `write ${text.replace(/:\d+$/, '')}, and the port as \`port:\``);
  }
  return refuse();
};

export const readPath: Reader<string> = (text, refuse) => {
  if (text.trim() === '') return refuse('this path is empty');
  if (text.includes('\0')) return refuse(`${quote(text)} has a NUL in it, which no path can`);
  if (/^~[^/]*(\/|$)/.test(text)) {
    return refuse(`${quote(text)} begins with ~, which only a shell understands`, 'write the whole path: /home/…');
  }
  return text;
};

/** A name becomes an export name, a label of a metric, a file name and a kernel argument. */
export const readName: Reader<string> = (text, refuse) => {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return text;
  const rules = 'names are made of a-z, 0-9 and, between them, -; 63 characters at most';
  const repaired = repairedName(text) ?? 'node1';
  return refuse(`${quote(text)} can't be a name: ${rules}`, `write for example \`${repaired}\``);
};

export const readSerial: Reader<Serial> = (text, refuse) => {
  const serial = unlessMalformed(() => parseSerial(text));
  if (serial !== undefined) return serial;
  if (text.trim() === '') return refuse('this serial is empty');
  const prefixed = unlessMalformed(() => parseSerial(text.replace(/^0x/i, '')));
  if (prefixed !== undefined) {
    return refuse(`${quote(text)} is not a serial: its digits come without 0x`, `write \`serial: ${prefixed}\``);
  }
  const digits = text.replace(/[\s:_-]/g, '');
  if (/^[0-9a-f]{12}$/i.test(digits) && /[:-]/.test(text)) {
    return refuse(
      `${quote(text)} looks like a MAC address`,
      `write \`mac: ${spellMac(digits)}\`, and the serial as \`serial:\``,
    );
  }
  if (/^[0-9a-f]{17,}$/i.test(digits)) {
    return refuse(
      `a serial has at most 16 hex digits, and here are ${digits.length}`,
      'copy it again from `/proc/cpuinfo`',
    );
  }
  const bare = unlessMalformed(() => parseSerial(digits));
  if (bare !== undefined) {
    return refuse(
      `${quote(text)} is not a serial: its digits come without anything between them`,
      `write \`serial: ${bare}\``,
    );
  }
  const stranger = /[^0-9a-f]/iu.exec(digits)?.[0] ?? '';
  return refuse(
    `${quote(text)} is not a serial: ${quote(stranger)} is no hex digit`,
    'write 1 to 16 of 0-9 and a-f, as `/proc/cpuinfo` of the board shows them: `serial: bf9fed6f`',
  );
};

export const readMac: Reader<MacAddress> = (text, refuse) => {
  const mac = unlessMalformed(() => parseMac(text));
  if (mac === undefined) {
    const digits = text.replace(/[\s:._-]/g, '');
    return /^[0-9a-f]{12}$/i.test(digits) ? refuse(undefined, `write \`mac: ${spellMac(digits)}\``) : refuse();
  }
  const group = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  if (group || mac === '00:00:00:00:00:00') return refuse(`${mac} is no board's own address`);
  return mac;
};

export const readCmdlineWord: Reader<'auto' | 'as-is'> = (text, refuse) => {
  if (/[=\s]/.test(text)) return refuse(undefined, `to add arguments write \`cmdline: { append: "${shown(text)}" }\``);
  return oneOf('auto', 'as-is')(text, refuse);
};

/** Arguments for the end of a kernel command line. */
export const readArguments: Reader<string> = (text, refuse) => {
  const line = text.trim();
  if (line.includes('\n')) return refuse('a kernel command line is one line, and here are several');
  if (/\p{C}/u.test(line))
    return refuse(`${quote(line)} has a character that can't be printed (shown as \ufffd)`, 'remove it');
  if (Buffer.byteLength(line) > INVENTORY_ARGUMENTS_BYTES_MAX) {
    return refuse(`a command line has at most ${INVENTORY_ARGUMENTS_BYTES_MAX} bytes`, 'append less');
  }
  return line;
};

export const readArgument: Reader<string> = (text, refuse) => {
  if (text !== '' && !/[\s\p{C}]/u.test(text)) return text;
  const words = text.split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return refuse('this item is empty', 'remove it');
  return refuse(
    `${quote(text)} is not one argument`,
    `write each as an item: \`remove: [${shown(words.join(', '))}]\``,
  );
};

function isIpv4(text: string): boolean {
  return unlessMalformed(() => parseIpv4(text)) !== undefined;
}

function spellMac(digits: string): string {
  return (digits.toLowerCase().match(/../g) ?? []).join(':');
}
