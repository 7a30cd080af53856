/** An OFFER as a Pi's loader reads it, for pretend boards: whom it takes for its TFTP server. */
import { type Ipv4Address, parseIpv4 } from '../base/addresses.js';
import { unlessMalformed } from '../base/malformed.js';
import { PI_BOOT_TEXT, PXE_CLIENT } from './answer.js';
import { type BootloaderKind, isEeprom } from './discover.js';
import { latin1, MessageType, messageType, Option, optionAddress, optionData, optionText } from './options.js';
import { decodePxeBootMenu } from './pxe-vendor-options.js';
import { type DhcpMessage, NO_ADDRESS, Op } from './wire.js';

/** What one OFFER gives; a loader goes on listening until it has both, and keeps what the last one gave. */
export interface ReadOffer {
  /** yiaddr, undefined in a proxy's offer. */
  readonly address: Ipv4Address | undefined;
  readonly tftpServer: Ipv4Address | undefined;
}

/** Undefined if it is no OFFER to this transaction and MAC. `source` is the IP address that it came from. */
export function readOffer(
  kind: BootloaderKind,
  discover: DhcpMessage,
  offer: DhcpMessage,
  source: Ipv4Address,
): ReadOffer | undefined {
  const isForUs = offer.op === Op.BootReply && offer.xid === discover.xid && same(offer.chaddr, discover.chaddr);
  if (!isForUs || messageType(offer) !== MessageType.Offer) return undefined;
  const tftpServer = isEeprom(kind) ? serverForEeprom(offer) : serverForRom(offer, source);
  return { address: given(offer.yiaddr), tftpServer };
}

/** openSUSE/netboot-rpi3b: option 66, or else, where the text stands anywhere in option 43, whoever sent it; siaddr means nothing (raspberrypi/firmware#801). */
function serverForRom(offer: DhcpMessage, source: Ipv4Address): Ipv4Address | undefined {
  const named = tftpServerName(offer);
  if (named !== undefined) return named;
  const vendorOptions = optionData(offer, Option.VendorSpecificInformation);
  return vendorOptions && latin1(vendorOptions).includes(PI_BOOT_TEXT) ? source : undefined;
}

/** P. Tesařík, "Raspberry Pi 4 Network Boot": option 66 needs nothing else; siaddr, then 54, only of a server whose boot menu names the Pi. */
function serverForEeprom(offer: DhcpMessage): Ipv4Address | undefined {
  const named = tftpServerName(offer);
  if (named !== undefined) return named;
  const isPxeServer = optionText(offer, Option.VendorClassIdentifier) === PXE_CLIENT;
  if (!isPxeServer || !offersPiBoot(offer)) return undefined;
  return given(offer.siaddr) ?? optionAddress(offer, Option.ServerIdentifier);
}

/** Trailing characters count for nothing (EEPROM since 2019-10-16), and a log shows it found amid others (raspberrypi/rpi-eeprom#376). */
function offersPiBoot(offer: DhcpMessage): boolean {
  const vendorOptions = optionData(offer, Option.VendorSpecificInformation);
  if (vendorOptions === undefined) return false;
  return (
    unlessMalformed(() => decodePxeBootMenu(vendorOptions))?.some(({ text }) => text.includes(PI_BOOT_TEXT)) ?? false
  );
}

/** Option 66 has to be a dotted quad: no loader has DNS. */
function tftpServerName(offer: DhcpMessage): Ipv4Address | undefined {
  const text = optionText(offer, Option.TftpServerName);
  return text === undefined ? undefined : unlessMalformed(() => parseIpv4(text));
}

function given(address: Ipv4Address): Ipv4Address | undefined {
  return address === NO_ADDRESS ? undefined : address;
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
