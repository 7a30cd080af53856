/**
 * What stands inside option 43 of a PXE message (Intel, Preboot Execution Environment 2.1, table 2-1): options of its own
 * numbering, one after the other, END last. As a Pi is offered it:
 *
 *   06 01 03                       discovery control: neither broadcast nor multicast discovery
 *   0a 04 00 'P' 'X' 'E'           menu prompt: time to wait in seconds, then text
 *   09 14                          boot menu
 *      00 00 11 'Raspberry Pi Boot'   entries: type (u16), length of the text, text
 *   ff                             END
 *
 * Forgotten by many: a boot menu may have several entries, and its length counts their headers too.
 */
import { ByteReader } from '../base/byte-reader.js';
import { ByteWriter } from '../base/byte-writer.js';
import { Malformed } from '../base/malformed.js';
import { latin1 } from './options.js';

/** Tags of PXE vendor options (PXE 2.1, table 2-1). */
const PxeTag = { Pad: 0, DiscoveryControl: 6, BootMenu: 9, MenuPrompt: 10, End: 255 } as const;

/** Bits of DiscoveryControl: the client shall not look for boot servers by broadcast, nor by multicast. */
export const PXE_NO_DISCOVERY = 0b11;

export interface PxeBootMenuEntry {
  /** 0: boot from the server that sent this. */
  readonly type: number;
  readonly text: string;
}

export interface PxeVendorOptions {
  readonly discoveryControl: number;
  readonly menuPrompt: { readonly timeoutSeconds: number; readonly text: string };
  readonly bootMenu: readonly PxeBootMenuEntry[];
}

export function encodePxeVendorOptions(options: PxeVendorOptions): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(PxeTag.DiscoveryControl).u8(1).u8(options.discoveryControl);
  const { timeoutSeconds, text } = options.menuPrompt;
  writer
    .u8(PxeTag.MenuPrompt)
    .u8(1 + text.length)
    .u8(timeoutSeconds)
    .latin1(text);
  const menu = encodeBootMenu(options.bootMenu);
  writer.u8(PxeTag.BootMenu).u8(menu.length).bytes(menu);
  return writer.u8(PxeTag.End).done();
}

/** The boot menu of a received option 43, empty if it has none. Throws Malformed if a length runs past its end. */
export function decodePxeBootMenu(vendorOptions: Uint8Array): readonly PxeBootMenuEntry[] {
  const reader = new ByteReader(vendorOptions);
  while (reader.remaining > 0) {
    const tag = reader.u8();
    if (tag === PxeTag.End) return [];
    if (tag === PxeTag.Pad) continue;
    const data = reader.bytes(reader.u8());
    if (tag === PxeTag.BootMenu) return decodeBootMenu(data);
  }
  return [];
}

function encodeBootMenu(entries: readonly PxeBootMenuEntry[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { type, text } of entries) writer.u16(type).u8(text.length).latin1(text);
  return writer.done();
}

function decodeBootMenu(data: Uint8Array): readonly PxeBootMenuEntry[] {
  const reader = new ByteReader(data);
  const entries: PxeBootMenuEntry[] = [];
  while (reader.remaining > 0) {
    if (reader.remaining < 3) throw new Malformed('a boot menu entry is cut off');
    entries.push({ type: reader.u16(), text: latin1(reader.bytes(reader.u8())) });
  }
  return entries;
}
