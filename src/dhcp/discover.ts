/** What each generation of Pi sends, for pretend boards: the same fields, the same order, the same length. */
import { type Ipv4Address, ipv4ToBytes, type MacAddress, macToBytes } from '../base/addresses.js';
import { ByteWriter } from '../base/byte-writer.js';
import type { Serial } from '../base/serial.js';
import { unreachable } from '../base/unreachable.js';
import {
  BOOT_ROM_XID,
  MACHINE_IDENTIFIER_BYTES,
  REQUESTED_BY_BOOTCODE,
  REQUESTED_BY_EEPROM,
  REQUESTED_BY_ROM,
} from '../boards/identity/pi-identity.js';
import { type DhcpOption, MessageType, Option } from './options.js';
import { type DhcpMessage, HTYPE_ETHERNET, NO_ADDRESS, Op } from './wire.js';

/**
 * `rom3`: the boot ROM of a 3B. `bootcode`: bootcode.bin of a Pi 1 to 3. `pi4Of2020`: the EEPROM before March 2020, whose
 * option 97 is the serial four times. `pi4`: "4iPR". `pi5`: "5iPR".
 */
export type BootloaderKind = 'rom3' | 'bootcode' | EepromKind;

/** Those that ask the router for their address properly; the others just take the one they were offered. */
export type EepromKind = 'pi4Of2020' | 'pi4' | 'pi5';

/** Whether it is an EEPROM's bootloader, not a Pi 3's boot ROM or bootcode.bin. */
export function isEeprom(kind: BootloaderKind): kind is EepromKind {
  return kind !== 'rom3' && kind !== 'bootcode';
}

export interface PretendIdentity {
  readonly mac: MacAddress;
  readonly serial: Serial;
  /** As /proc/cpuinfo has it: 0x00d03114. */
  readonly revisionCode: number;
}

/** `xid` is of no effect for `rom3` and `bootcode`: theirs is constant. */
export function discoverOf(kind: BootloaderKind, identity: PretendIdentity, xid: number): DhcpMessage {
  return {
    ...blankRequest(identity.mac, xidOf(kind, xid)),
    options: [
      { code: Option.MessageType, data: Uint8Array.of(MessageType.Discover) },
      { code: Option.ParameterRequestList, data: Uint8Array.from(requestedBy(kind)) },
      // Architecture 0, "Intel x86PC", on every Pi (raspberrypi/firmware#1928); UNDI 2.1.
      { code: Option.ClientSystemArchitecture, data: Uint8Array.of(0, 0) },
      { code: Option.ClientNetworkInterface, data: Uint8Array.of(1, 2, 1) },
      { code: Option.ClientMachineIdentifier, data: machineIdentifierOf(kind, identity) },
      VENDOR_CLASS,
    ],
  };
}

export interface Lease {
  /** Offered in yiaddr. */
  readonly address: Ipv4Address;
  /** Option 54 of that offer. */
  readonly server: Ipv4Address;
}

/** The REQUEST to the router, of the DISCOVER's xid. In January 2020 it had no option 60 (raspberrypi/rpi-eeprom#82). */
export function requestOf(kind: EepromKind, identity: PretendIdentity, xid: number, lease: Lease): DhcpMessage {
  const options: DhcpOption[] = [
    { code: Option.MessageType, data: Uint8Array.of(MessageType.Request) },
    { code: Option.RequestedAddress, data: ipv4ToBytes(lease.address) },
    { code: Option.ServerIdentifier, data: ipv4ToBytes(lease.server) },
  ];
  return { ...blankRequest(identity.mac, xid), options: kind === 'pi4Of2020' ? options : [...options, VENDOR_CLASS] };
}

const VENDOR_CLASS: DhcpOption = {
  code: Option.VendorClassIdentifier,
  data: Buffer.from('PXEClient:Arch:00000:UNDI:002001', 'latin1'),
};

function blankRequest(mac: MacAddress, xid: number): Omit<DhcpMessage, 'options'> {
  return {
    ...{ op: Op.BootRequest, htype: HTYPE_ETHERNET, hops: 0, xid, secs: 0, flags: 0 },
    ...{ ciaddr: NO_ADDRESS, yiaddr: NO_ADDRESS, siaddr: NO_ADDRESS, giaddr: NO_ADDRESS },
    ...{ chaddr: macToBytes(mac), sname: '', file: '' },
  };
}

function xidOf(kind: BootloaderKind, xid: number): number {
  return isEeprom(kind) ? xid : BOOT_ROM_XID;
}

function requestedBy(kind: BootloaderKind): readonly number[] {
  if (kind === 'rom3') return REQUESTED_BY_ROM;
  return kind === 'bootcode' ? REQUESTED_BY_BOOTCODE : REQUESTED_BY_EEPROM;
}

/** Drawn at `MachineIdentifier` in boards/identity/pi-identity.ts. */
function machineIdentifierOf(kind: BootloaderKind, identity: PretendIdentity): Uint8Array {
  const writer = new ByteWriter(MACHINE_IDENTIFIER_BYTES).u8(0);
  switch (kind) {
    case 'rom3':
      return writer.bytes(new Uint8Array(16).fill(0x44)).done();
    case 'bootcode':
    case 'pi4Of2020':
      for (let times = 0; times < 4; times += 1) writer.u32Le(serialNumber(identity.serial));
      return writer.done();
    case 'pi4':
      return writeLabel(writer.latin1('4iPR'), identity);
    case 'pi5':
      return writeLabel(writer.latin1('5iPR'), identity);
    default:
      return unreachable(kind);
  }
}

function writeLabel(writer: ByteWriter, { revisionCode, mac, serial }: PretendIdentity): Uint8Array {
  return writer.u32Le(revisionCode).bytes(macToBytes(mac).subarray(2)).u32Le(serialNumber(serial)).done();
}

function serialNumber(serial: Serial): number {
  return Number.parseInt(serial, 16);
}
