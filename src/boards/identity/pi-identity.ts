/** Who a PXE client is, told from the few bytes of its DISCOVER that differ between a Pi and a PC, and between Pis. */
import type { MacAddress } from '../../base/addresses.js';
import { ByteReader } from '../../base/byte-reader.js';
import { type Serial, serialFromNumber } from '../../base/serial.js';
import { unreachable } from '../../base/unreachable.js';
import { decodeRevisionCode, type PiRevision } from './pi-models.js';

/** What a PXE client says in its DISCOVER. */
export interface PxeClientFacts {
  readonly mac: MacAddress;
  readonly xid: number;
  /** Option 97 whole, its type byte first; empty if there is none. */
  readonly machineIdentifier: Uint8Array;
  /** Option 55 in its order; empty if there is none. */
  readonly requestedOptions: readonly number[];
}

/**
 * Which program speaks: the boot ROM in the SoC of a 2B v1.2, 3B or 3B+; bootcode.bin of a Pi 1 to 3; the EEPROM
 * bootloader of the Pi 4 family, of the Pi 5 family, or of one that does not say which.
 */
export type PiGeneration = 'rom' | 'bootcode' | 'eeprom4' | 'eeprom5' | 'eeprom';

/** A Pi as its DISCOVER shows it. */
export interface PiSighting {
  readonly generation: PiGeneration;
  readonly mac: MacAddress;
  /** Undefined where it is not said (boot ROM of a 2B v1.2 or 3B). */
  readonly serial: Serial | undefined;
  /** Undefined before the EEPROM bootloaders of March 2020. */
  readonly revision: PiRevision | undefined;
  /** The last four bytes of the MAC as option 97 has them; undefined where it has none (or zeroes: two betas of March 2020). */
  readonly macTail: string | undefined;
  /** BOOT_ORDER digit 7: it will fetch boot.img over HTTP, and an offer of TFTP would lead it astray. */
  readonly httpBoot: boolean;
}

/** Undefined if it is no Pi, or gives no sign of being one: a PC that boots over PXE, say. */
export function identifyPi(facts: PxeClientFacts): PiSighting | undefined {
  const identifier = decodeMachineIdentifier(facts.machineIdentifier);
  const generation = generationOf(facts, identifier);
  if (generation === undefined) return undefined;
  const says = saidBy(identifier, facts.mac);
  return { generation, mac: facts.mac, ...says, httpBoot: asksForHttpBoot(generation, facts.requestedOptions) };
}

/** "Pi 4 Model B, 8 GB", or as much as is known: never undefined, for those who read it. */
export function describePi(sighting: PiSighting): string {
  const { generation, revision } = sighting;
  if (revision) return revision.memory ? `${revision.model}, ${revision.memory}` : revision.model;
  return GENERATION_TEXTS[generation];
}

const GENERATION_TEXTS: Readonly<Record<PiGeneration, string>> = {
  rom: 'Pi 2 or 3 (boot ROM)',
  bootcode: 'Pi 1, 2 or 3 (bootcode.bin)',
  eeprom4: 'Pi 4 family',
  eeprom5: 'Pi 5 family',
  eeprom: 'Pi 4 or later',
};

/** Only a hint, and surely incomplete: it lends weight to another sign, and is never enough by itself. */
const PI_OUIS: ReadonlySet<string> = new Set([
  ...['b8:27:eb', 'dc:a6:32', 'e4:5f:01', '28:cd:c1', 'd8:3a:dd', '2c:cf:67', '88:a2:9e'],
]);

/** The OUI of the Pi 1 to 3, whose other three MAC bytes are the low three of the serial. */
export const OUI_OF_PI_1_TO_3 = 'b8:27:eb';

/** Constant in the boot ROM and bootcode.bin (raspberrypi/firmware#941, #1265; openSUSE/netboot-rpi3b filters on it). */
export const BOOT_ROM_XID = 0x26f30339;

/** Option 55 as each program sends it (openSUSE/netboot-rpi3b; raspberrypi/firmware#941, #871; raspberrypi/rpi-eeprom#58, #69). */
export const REQUESTED_BY_ROM = [43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 66] as const;
export const REQUESTED_BY_BOOTCODE = [...REQUESTED_BY_ROM, 1, 3] as const;
export const REQUESTED_BY_EEPROM = [1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135] as const;

const VENDOR_SPECIFIC_INFORMATION = 43;

/**
 * Option 97 (RFC 4578 section 2.3) as Pis fill it. After the type byte 00:
 *
 *   44 × 16                                       boot ROM of the 2B v1.2 and 3B: a bug, no serial in it
 *   serial (u32 le) × 4                           3B+ ROM, bootcode.bin, EEPROM before March 2020 or with DHCP_OPTION97=0
 *   fourcc | revision (u32 le) | MAC's last 4 | serial (u32 le)     EEPROM; MAC in its own order
 *
 * The fourcc is "RPi4", later "4iPR" (the same number the other way round), on a Pi 5 "5iPR", and any other that the
 * EEPROM's DHCP_OPTION97 names: `labelled` has to be told from a PC's random bytes by its MAC and revision.
 */
export type MachineIdentifier =
  | { readonly form: 'romBug' }
  | { readonly form: 'serialFourTimes'; readonly serial: Serial }
  | ({ readonly form: 'pi'; readonly digit: 4 | 5 } & Label)
  | ({ readonly form: 'labelled' } & Label)
  | { readonly form: 'unknown' };

interface Label {
  readonly revisionCode: number;
  /** "32:2e:f8:ed". */
  readonly macTail: string;
  readonly serial: Serial;
}

/** The type byte and sixteen more. */
export const MACHINE_IDENTIFIER_BYTES = 17;

const FOURCC_DIGITS: Readonly<Record<string, 4 | 5>> = { RPi4: 4, '4iPR': 4, RPi5: 5, '5iPR': 5 };

export function decodeMachineIdentifier(bytes: Uint8Array): MachineIdentifier {
  if (bytes.length !== MACHINE_IDENTIFIER_BYTES || bytes[0] !== 0) return { form: 'unknown' };
  const content = bytes.subarray(1);
  if (content.every((byte) => byte === 0x44)) return { form: 'romBug' };
  if (content.every((byte, index) => byte === content[index % 4])) {
    const value = new ByteReader(content).u32Le();
    // A mainboard whose maker gave it no UUID has all zeroes or all ones here.
    if (value === 0 || value === 0xffff_ffff) return { form: 'unknown' };
    return { form: 'serialFourTimes', serial: serialFromNumber(value) };
  }
  const reader = new ByteReader(content);
  const digit = FOURCC_DIGITS[String.fromCharCode(...reader.bytes(4))];
  const label = {
    revisionCode: reader.u32Le(),
    macTail: hexPairs(reader.bytes(4)),
    serial: serialFromNumber(reader.u32Le()),
  };
  return digit === undefined ? { form: 'labelled', ...label } : { form: 'pi', digit, ...label };
}

/** The strongest sign first; each row needs either what only a Pi sends, or two weaker signs together. */
function generationOf(facts: PxeClientFacts, identifier: MachineIdentifier): PiGeneration | undefined {
  const { mac, xid, requestedOptions } = facts;
  if (identifier.form === 'pi') return identifier.digit === 4 ? 'eeprom4' : 'eeprom5';
  if (identifier.form === 'romBug') return 'rom';
  // bootcode.bin asks for 1 and 3 as well, except for the oldest (raspberrypi/firmware#670), which is as the ROM is.
  if (xid === BOOT_ROM_XID) return equal(requestedOptions, REQUESTED_BY_ROM) ? 'rom' : 'bootcode';
  if (equal(requestedOptions, REQUESTED_BY_ROM) || equal(requestedOptions, REQUESTED_BY_BOOTCODE)) return 'bootcode';
  const ofLabel = identifier.form === 'labelled' ? generationOfLabel(identifier, mac) : undefined;
  if (ofLabel !== undefined) return ofLabel;
  if (equal(requestedOptions, REQUESTED_BY_EEPROM)) return 'eeprom';
  const oui = mac.slice(0, 8);
  if (identifier.form === 'serialFourTimes' && PI_OUIS.has(oui))
    return oui === OUI_OF_PI_1_TO_3 ? 'bootcode' : 'eeprom';
  return undefined;
}

/** With a fourcc of the owner's choosing it is a Pi's if its own MAC stands in it and the revision is of a board with an EEPROM. */
function generationOfLabel(label: Label, mac: MacAddress): PiGeneration | undefined {
  if (!mac.endsWith(label.macTail)) return undefined;
  const processor = decodeRevisionCode(label.revisionCode)?.processor;
  if (processor === 'BCM2711') return 'eeprom4';
  if (processor === 'BCM2712') return 'eeprom5';
  return undefined;
}

type Said = Pick<PiSighting, 'serial' | 'revision' | 'macTail'>;

const NOTHING_SAID: Said = { serial: undefined, revision: undefined, macTail: undefined };

function saidBy(identifier: MachineIdentifier, mac: MacAddress): Said {
  switch (identifier.form) {
    case 'serialFourTimes':
      return { ...NOTHING_SAID, serial: identifier.serial };
    case 'pi':
      return saidByLabel(identifier);
    case 'labelled':
      return generationOfLabel(identifier, mac) === undefined ? NOTHING_SAID : saidByLabel(identifier);
    case 'romBug':
    case 'unknown':
      return NOTHING_SAID;
    default:
      return unreachable(identifier);
  }
}

function saidByLabel({ serial, revisionCode, macTail }: Label): Said {
  const said = macTail === '00:00:00:00' ? undefined : macTail;
  return { serial, revision: decodeRevisionCode(revisionCode), macTail: said };
}

/** Only EEPROM bootloaders can, and they leave 43 out then (seen by the WalT project on a Pi 5). */
function asksForHttpBoot(generation: PiGeneration, requestedOptions: readonly number[]): boolean {
  const canHttp = generation === 'eeprom4' || generation === 'eeprom5' || generation === 'eeprom';
  return canHttp && requestedOptions.length > 0 && !requestedOptions.includes(VENDOR_SPECIFIC_INFORMATION);
}

function equal(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((value, index) => value === right[index]);
}

function hexPairs(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * The MAC that a Pi 1 to 3 with wired Ethernet has: b8:27:eb and the low three bytes of its serial (raspberrypi/firmware#1362).
 * On later boards the two are unrelated, and a serial does not tell which kind it is of: so this is a guess.
 */
export function macOfPi1To3(serial: Serial): MacAddress {
  const tail = serial.slice(-6);
  return [OUI_OF_PI_1_TO_3, tail.slice(0, 2), tail.slice(2, 4), tail.slice(4)].join(':');
}
