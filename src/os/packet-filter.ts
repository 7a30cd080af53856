import { libcFunction, libcStruct } from './libc.js';
import { SOL_SOCKET } from './socket-calls.js';

/** Which IPv4 packets a packet socket is given: whole UDP datagrams to a port. */
export interface PacketFilter {
  readonly destinationPort: number;
  /**
   * Only those to 255.255.255.255, and none in a frame for somebody else (a promiscuous interface, or a VLAN that this
   * machine has no interface for).
   */
  readonly broadcastOnly: boolean;
}

/** One instruction of classic BPF (linux/filter.h): code, how many to skip if true and if false, constant. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, constant: number];

/** Codes, as bpf(4) spells them. */
const LD_WORD = 0x20;
const LD_HALF = 0x28;
const LD_BYTE = 0x30;
const LD_HALF_AT_X = 0x48;
const LDX_HEADER_LENGTH = 0xb1;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_EQUAL = 0x35;
const JUMP_SET = 0x45;
const RETURN = 0x06;

/** SKF_AD_OFF + SKF_AD_PKTTYPE: whom the frame was for. */
const PACKET_TYPE = 0xffff_f000 + 4;
/** linux/if_packet.h: 0 to 2 are us, everybody, a group; from 3 on somebody else, and what we sent ourselves. */
const PACKET_OTHERHOST = 3;
const PROTOCOL_UDP = 17;
/** More fragments follow, or it is not the first. */
const FRAGMENT = 0x3fff;
const WHOLE_PACKET = 0xffff;

/**
 * Lets the kernel throw away all other packets before they are copied: a server at work moves a gigabit a second past such a
 * socket. The packet begins at its IP header, since the socket is of kind SOCK_DGRAM. Before the socket is bound, so that none
 * slips in.
 */
export function attachFilter(descriptor: number, filter: PacketFilter): void {
  const program = assemble(filter);
  attach.now(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, { length: program.length / 8, filter: program }, FPROG_BYTES);
}

/** The program, 8 bytes an instruction: its last two are "take it" and "drop it". */
export function assemble(filter: PacketFilter): Buffer {
  const checks = checksOf(filter);
  const drop = checks.length + 1;
  const bytes = Buffer.alloc((checks.length + 2) * 8);
  const all = [...checks.map((check, index) => check(drop - index - 1)), ...END];
  for (const [index, [code, ifTrue, ifFalse, constant]] of all.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(ifTrue, index * 8 + 2);
    bytes.writeUInt8(ifFalse, index * 8 + 3);
    bytes.writeUInt32LE(constant, index * 8 + 4);
  }
  return bytes;
}

const END: readonly Instruction[] = [
  [RETURN, 0, 0, WHOLE_PACKET],
  [RETURN, 0, 0, 0],
];

/** Each is told how far the end that drops is from it. */
function checksOf(filter: PacketFilter): readonly ((toDrop: number) => Instruction)[] {
  const load = (code: number, offset: number) => () => [code, 0, 0, offset] as const;
  const mustBe = (value: number) => (toDrop: number) => [JUMP_EQUAL, 0, toDrop, value] as const;
  const broadcast = [
    load(LD_BYTE, PACKET_TYPE),
    (toDrop: number) => [JUMP_GREATER_EQUAL, toDrop, 0, PACKET_OTHERHOST] as const,
    load(LD_WORD, 16),
    mustBe(0xffff_ffff),
  ];
  return [
    ...(filter.broadcastOnly ? broadcast : []),
    load(LD_BYTE, 9),
    mustBe(PROTOCOL_UDP),
    load(LD_HALF, 6),
    (toDrop) => [JUMP_SET, toDrop, 0, FRAGMENT],
    load(LDX_HEADER_LENGTH, 0),
    load(LD_HALF_AT_X, 2),
    mustBe(filter.destinationPort),
  ];
}

const SO_ATTACH_FILTER = 26;
/** struct sock_fprog: how many instructions, and where. */
const FPROG_BYTES = 16;
libcStruct('sock_fprog', { length: 'uint16_t', filter: 'const void *' });
const attach = libcFunction(
  'setsockopt',
  'int setsockopt(int fd, int level, int name, const sock_fprog *value, unsigned int length)',
);
