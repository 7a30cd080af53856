/** What to answer to a DHCP message: nothing, or the offer that makes a Pi boot from here. Never an address. */
import { type Ipv4Address, ipv4ToBytes, type MacAddress, macFromBytes } from '../base/addresses.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import { identifyPi, MACHINE_IDENTIFIER_BYTES, type PiSighting } from '../boards/identity/pi-identity.js';
import { type DhcpOption, latin1, MessageType, messageType, Option, optionAddress, optionData } from './options.js';
import { encodePxeVendorOptions, PXE_NO_DISCOVERY } from './pxe-vendor-options.js';
import { recogniseBoard } from './recognise.js';
import { BROADCAST_FLAG, type DhcpMessage, HTYPE_ETHERNET, NO_ADDRESS, Op } from './wire.js';

/** `known`: boards of the inventory. `any`: every Pi, so that what it asks for can be seen; it is served nothing for that. */
export type AnswerPolicy = 'known' | 'any';

export interface AnswerRules {
  readonly policy: AnswerPolicy;
  readonly lookup: BoardLookup;
  /** What boards are told to ask: option 54. */
  readonly serverAddress: Ipv4Address;
}

export type DhcpVerdict =
  | {
      readonly answer: 'offer';
      readonly sighting: PiSighting;
      /** Undefined for a Pi that is not in the inventory (`any`). */
      readonly board: Board | undefined;
      readonly message: DhcpMessage;
      readonly sendAfterMs: number;
      /** When to send a datagram that means nothing, counted from the offer. */
      readonly wakeUpsMs: readonly number[];
    }
  /** The REQUEST to the LAN's own server: which address is whose. Nothing is answered. */
  | { readonly answer: 'note'; readonly board: Board; readonly mac: MacAddress; readonly address: Ipv4Address }
  /** A Pi that asks, but is not to be answered. */
  | {
      readonly answer: 'decline';
      readonly because: 'notListed' | 'httpBoot';
      readonly sighting: PiSighting;
      readonly board: Board | undefined;
    }
  | { readonly answer: 'silence'; readonly because: SilenceReason };

export type SilenceReason =
  /** op is not BOOTREQUEST: a server's answer, our own perhaps. */
  | 'notARequest'
  /** No Ethernet address of one client: nobody that could be a Pi. */
  | 'notEthernet'
  /** It came through a relay: our broadcast would not reach the board, and whoever `giaddr` names did not ask us. */
  | 'relayed'
  /** Neither DISCOVER nor REQUEST. */
  | 'notDiscover'
  | 'notPxe'
  /** A PC, say. */
  | 'notAPi'
  /** A REQUEST of somebody who is not in the inventory, or one without an address in option 50. */
  | 'notOurs';

/** Option 60 of who boots over PXE begins with it, and a PXE server's is it. */
export const PXE_CLIENT = 'PXEClient';

/** What a Pi looks for in option 43 (raspberrypi.com, "Network booting"; the EEPROM's PXE_OPTION43 can change it). */
export const PI_BOOT_TEXT = 'Raspberry Pi Boot';

/** The 3B's ROM wants the text filled up with three spaces (raspberrypi/firmware#941); the first EEPROMs wanted it without. */
const ROM_BOOT_TEXT = 'Raspberry Pi Boot   ';

/** Replies within 2 s can lock the 3B's ROM up in a loop (raspberrypi/firmware#934). It waits 5 s before it asks again. */
const ROM_REPLY_DELAY_MS = 2000;

/** The 3B's ROM sees a reply only when a further frame arrives; openSUSE/netboot-rpi3b found these two to be enough. */
const ROM_WAKE_UPS_MS: readonly number[] = [600, 1200];

const MAC_BYTES = 6;

export function answerDhcp(message: DhcpMessage, rules: AnswerRules): DhcpVerdict {
  if (message.op !== Op.BootRequest) return silence('notARequest');
  if (!isOfOneEthernetClient(message)) return silence('notEthernet');
  if (message.giaddr !== NO_ADDRESS) return silence('relayed');
  switch (messageType(message)) {
    case MessageType.Discover:
      return answerDiscover(message, rules);
    case MessageType.Request:
      return noteRequest(message, rules.lookup);
    default:
      return silence('notDiscover');
  }
}

function answerDiscover(message: DhcpMessage, rules: AnswerRules): DhcpVerdict {
  if (!isPxe(message)) return silence('notPxe');
  const sighting = identify(message);
  if (sighting === undefined) return silence('notAPi');
  const board = recogniseBoard(sighting, rules.lookup);
  if (sighting.httpBoot) return { answer: 'decline', because: 'httpBoot', sighting, board };
  if (board === undefined && rules.policy === 'known')
    return { answer: 'decline', because: 'notListed', sighting, board };
  const isRom = sighting.generation === 'rom';
  return {
    answer: 'offer',
    sighting,
    board,
    message: offer(message, rules.serverAddress, isRom ? ROM_BOOT_TEXT : PI_BOOT_TEXT),
    sendAfterMs: isRom ? ROM_REPLY_DELAY_MS : 0,
    wakeUpsMs: isRom ? ROM_WAKE_UPS_MS : [],
  };
}

/**
 * Byte for byte what dnsmasq sends in proxy mode for `pxe-service=0,"Raspberry Pi Boot"`, the reply that every Pi is known
 * to boot from. siaddr stays 0: together with option 54 it would be a second opinion about who serves the files.
 */
function offer(discover: DhcpMessage, serverAddress: Ipv4Address, bootText: string): DhcpMessage {
  const { htype, hops, xid, secs, flags, chaddr } = discover;
  return {
    ...{ op: Op.BootReply, htype, hops, xid, secs, chaddr },
    // Without an address of its own the board can be reached by broadcast only, whatever it asked for.
    flags: flags | BROADCAST_FLAG,
    ...{ ciaddr: NO_ADDRESS, yiaddr: NO_ADDRESS, siaddr: NO_ADDRESS, giaddr: NO_ADDRESS },
    ...{ sname: '', file: '' },
    options: [
      { code: Option.MessageType, data: Uint8Array.of(MessageType.Offer) },
      { code: Option.ServerIdentifier, data: ipv4ToBytes(serverAddress) },
      { code: Option.VendorClassIdentifier, data: Buffer.from(PXE_CLIENT, 'latin1') },
      ...echoOfMachineIdentifier(discover),
      { code: Option.VendorSpecificInformation, data: bootMenu(bootText) },
    ],
  };
}

/** RFC 4578 section 2.3: the server shall return it, if it is one. */
function echoOfMachineIdentifier(discover: DhcpMessage): readonly DhcpOption[] {
  const data = optionData(discover, Option.ClientMachineIdentifier);
  return data?.length === MACHINE_IDENTIFIER_BYTES ? [{ code: Option.ClientMachineIdentifier, data }] : [];
}

function bootMenu(text: string): Uint8Array {
  return encodePxeVendorOptions({
    discoveryControl: PXE_NO_DISCOVERY,
    menuPrompt: { timeoutSeconds: 0, text: 'PXE' },
    bootMenu: [{ type: 0, text }],
  });
}

/** Of boards only: other people's addresses are none of our business. A running board's own system asks in the same way. */
function noteRequest(message: DhcpMessage, lookup: BoardLookup): DhcpVerdict {
  const mac = macFromBytes(message.chaddr);
  const address = optionAddress(message, Option.RequestedAddress);
  if (address === undefined || !isUnicast(address)) return silence('notOurs');
  const sighting = isPxe(message) ? identify(message) : undefined;
  const board = sighting ? recogniseBoard(sighting, lookup) : lookup.byMac(mac);
  return board ? { answer: 'note', board, mac, address } : silence('notOurs');
}

function identify(message: DhcpMessage): PiSighting | undefined {
  return identifyPi({
    mac: macFromBytes(message.chaddr),
    xid: message.xid,
    machineIdentifier: optionData(message, Option.ClientMachineIdentifier) ?? new Uint8Array(),
    requestedOptions: [...(optionData(message, Option.ParameterRequestList) ?? [])],
  });
}

function isPxe(message: DhcpMessage): boolean {
  const vendorClass = optionData(message, Option.VendorClassIdentifier);
  return vendorClass !== undefined && latin1(vendorClass).startsWith(PXE_CLIENT);
}

/** The lowest bit of a MAC's first byte marks a group; all zeroes is nobody. */
function isOfOneEthernetClient({ htype, chaddr }: DhcpMessage): boolean {
  const first = chaddr[0];
  if (htype !== HTYPE_ETHERNET || chaddr.length !== MAC_BYTES || first === undefined) return false;
  return (first & 1) === 0 && chaddr.some((byte) => byte !== 0);
}

function isUnicast(address: Ipv4Address): boolean {
  const first = Number.parseInt(address, 10);
  return first >= 1 && first <= 223;
}

function silence(because: SilenceReason): DhcpVerdict {
  return { answer: 'silence', because };
}
