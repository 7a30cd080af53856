import { bytesText } from '../../base/amounts.js';
import { Malformed } from '../../base/malformed.js';
import type { Allowance, Grantee } from '../allowance.js';
import type { BlockDevice } from '../block-device.js';
import { BlockError } from '../block-error.js';
import type { Medium } from '../flush-queue.js';
import { BlockMap, OVERLAY_BLOCK_BYTES, type SectorStates, sectorCountOf } from './block-map.js';
import {
  dataAt,
  decodeHeader,
  decodeSector,
  decodeTally,
  encodeHeader,
  encodeSector,
  encodeTally,
  fileBytes,
  HEADER_AT,
  MAP_AT,
  type OverlayHeader,
  SECTOR_BYTES,
  TALLY_AT,
} from './overlay-format.js';

/** It is none, not this one, or damaged. */
export class OverlayDamaged extends Error {
  override readonly name = 'OverlayDamaged';
}

/** How much of the map is read at once. */
const MAP_PIECE_SECTORS = 2048;

/** An overlay's file: its header, its map, and the device on which all of it lies. */
export class OverlayFile implements Grantee {
  readonly header: OverlayHeader;
  readonly device: BlockDevice & Medium;
  readonly map: BlockMap;
  /** Where in the file the disk's first byte lies. */
  readonly dataAt: number;
  /** Undefined: it may take what its filesystem has. */
  readonly #allowance: Allowance | undefined;
  /** Blocks that are being written for the first time. */
  #takingCount = 0;
  /** Sectors of the map that are on stable storage, as far as is known. */
  #written = new Set<number>();
  #tally = 0;
  #reserving: Promise<void> = Promise.resolve();

  private constructor(
    device: BlockDevice & Medium,
    { header, sectors, tally }: Opened,
    allowance: Allowance | undefined,
  ) {
    this.#allowance = allowance;
    this.device = device;
    this.header = header;
    this.map = BlockMap.create(blockCountOf(header));
    this.dataAt = dataAt(header);
    if (sectors.length > 0) this.#take({ sectors, tally });
    // Nothing is granted yet, and there is a limit.
    if (allowance !== undefined) this.map.grant(0);
  }

  /** Writes what makes an empty file, already as long as `fileBytes` says, an overlay of which nothing is its own; durable when it resolves. */
  static async make(
    device: BlockDevice & Medium,
    header: OverlayHeader,
    allowance?: Allowance | undefined,
  ): Promise<OverlayFile> {
    await device.write(HEADER_AT, encodeHeader(header), { durable: true });
    return new OverlayFile(device, { header, sectors: [], tally: 0 }, allowance);
  }

  /** Throws OverlayDamaged, and BlockError. */
  static async open(device: BlockDevice & Medium, allowance?: Allowance | undefined): Promise<OverlayFile> {
    return new OverlayFile(device, await whatIs(device), allowance);
  }

  /** Leave to have so many blocks more. Throws BlockError. */
  async allow(count: number): Promise<void> {
    if (this.#allowance !== undefined) await this.#askFor(count, this.#allowance);
  }

  /** While so many blocks, which are claimed, are written for the first time. */
  async whileTaking(count: number, write: () => Promise<void>): Promise<void> {
    this.#takingCount += count;
    await write().finally(() => {
      this.#takingCount -= count;
    });
  }

  get unusedBytes(): number {
    return (Math.max(0, this.map.granted ?? 0) + this.#takingCount) * OVERLAY_BLOCK_BYTES;
  }

  granted(bytes: number): void {
    this.map.grant(Math.floor(bytes / OVERLAY_BLOCK_BYTES));
  }

  giveBack(): number {
    return this.map.takeBack() * OVERLAY_BLOCK_BYTES;
  }

  /** Nothing more is written to it for now. */
  returnUnused(): void {
    this.#allowance?.takeBack(this);
  }

  /** Room for what the map says of these blocks, so that a flush meets no full disk. Throws BlockError. */
  async reserve(first: number, end: number): Promise<void> {
    if (this.map.isReserved(first, end)) return;
    // One after the other: what the first has made room for, and others have written to since, is not to be zeroed by the second.
    const reserving = this.#reserving.then(() => this.#reserve(first, end));
    this.#reserving = reserving.catch(() => {});
    await reserving;
  }

  async #askFor(count: number, allowance: Allowance): Promise<void> {
    const lacking = count - (this.map.granted ?? 0);
    if (lacking <= 0) return;
    if (await allowance.grant(this, lacking * OVERLAY_BLOCK_BYTES)) return;
    throw new BlockError('ENOSPC', {
      detail: `the disks of all boards would take more than \`server.state_limit\` allows (${bytesText(allowance.limitBytes)})`,
    });
  }

  async #reserve(first: number, end: number): Promise<void> {
    for (const group of this.map.unreserved(first, end)) {
      const from = MAP_AT + group.first * SECTOR_BYTES;
      const length = Math.min(this.dataAt, MAP_AT + group.end * SECTOR_BYTES) - from;
      await this.device.zero(from, length, { keepAllocated: true, durable: false });
      this.map.reserved(group);
    }
  }

  /** One at a time. When it resolves, all that was written before and what the map said then is on stable storage. */
  async sync(): Promise<void> {
    await this.#beginRecord();
    const sectors = this.map.takeUndurable();
    try {
      await this.device.flush();
      if (sectors.length > 0) await this.#record(sectors);
    } catch (error) {
      // Nobody else is to try, and to say that all is well, until it is opened anew.
      this.map.notDurable(sectors);
      throw error;
    }
    this.map.nowDurable(sectors);
    this.map.endOwnersRecord();
  }

  /** What was lost is lost: the map is again what the file says. Throws OverlayDamaged, and BlockError. */
  async reopen(): Promise<void> {
    this.map.beginOwnersRecord(); // who is at it has met the failure too
    await this.device.reopen();
    const { sectors, tally } = await whatIs(this.device);
    this.#take({ sectors, tally });
  }

  async #beginRecord(): Promise<void> {
    // Another thread has the sync until it has ended that.
    if (this.map.beginOwnersRecord()) await this.device.flush();
  }

  #take({ sectors, tally }: Pick<Opened, 'sectors' | 'tally'>): void {
    this.map.load(sectors);
    this.#written = new Set(sectors.map(({ sector }) => sector));
    this.#tally = tally;
  }

  async close(): Promise<void> {
    this.returnUnused();
    await this.device.close();
  }

  async #record(sectors: readonly SectorStates[]): Promise<void> {
    // Of those before, which are on stable storage since the flush that was just made.
    const durable = this.#written.size;
    for (const run of runsOf(sectors)) await this.#writeRun(run);
    if (durable !== this.#tally) {
      await this.device.write(TALLY_AT, encodeTally(this.header.id, durable), { durable: false });
      this.#tally = durable;
    }
    await this.device.flush();
    for (const { sector } of sectors) {
      this.#written.add(sector);
      this.map.wasRecorded(sector);
    }
  }

  async #writeRun(run: readonly SectorStates[]): Promise<void> {
    const bytes = new Uint8Array(run.length * SECTOR_BYTES);
    for (const [index, states] of run.entries()) bytes.set(encodeSector(this.header.id, states), index * SECTOR_BYTES);
    await this.device.write(MAP_AT + (run[0]?.sector ?? 0) * SECTOR_BYTES, bytes, { durable: false });
  }
}

interface Opened {
  readonly header: OverlayHeader;
  /** Of the map, as far as they were ever written. */
  readonly sectors: readonly SectorStates[];
  readonly tally: number;
}

async function whatIs(device: BlockDevice): Promise<Opened> {
  try {
    const head = await readAll(device, 0, MAP_AT);
    const header = decodeHeader(head.subarray(HEADER_AT, HEADER_AT + SECTOR_BYTES));
    if (device.sizeBytes < fileBytes(header)) {
      throw new Malformed(`it has ${device.sizeBytes} bytes of ${fileBytes(header)}: its end is missing`);
    }
    const tally = decodeTally(header.id, head.subarray(TALLY_AT, TALLY_AT + SECTOR_BYTES));
    const sectors = await readMap(device, header);
    if (sectors.length < tally) {
      throw new Malformed(`of ${tally} sectors of its map ${tally - sectors.length} are wiped out`);
    }
    return { header, sectors, tally };
  } catch (error) {
    if (error instanceof Malformed) throw new OverlayDamaged(error.message);
    throw error;
  }
}

async function readMap(device: BlockDevice, header: OverlayHeader): Promise<SectorStates[]> {
  const sectors: SectorStates[] = [];
  const sectorCount = sectorCountOf(blockCountOf(header));
  for (let first = 0; first < sectorCount; first += MAP_PIECE_SECTORS) {
    const count = Math.min(MAP_PIECE_SECTORS, sectorCount - first);
    const bytes = await readAll(device, MAP_AT + first * SECTOR_BYTES, count * SECTOR_BYTES);
    for (let index = 0; index < count; index += 1) {
      const sector = bytes.subarray(index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES);
      const states = decodeSector(header.id, first + index, sector);
      if (states !== undefined) sectors.push(states);
    }
  }
  return sectors;
}

async function readAll(device: BlockDevice, offset: number, lengthBytes: number): Promise<Uint8Array> {
  if (offset + lengthBytes > device.sizeBytes) throw new Malformed(`it has only ${device.sizeBytes} bytes`);
  const bytes = new Uint8Array(lengthBytes);
  await device.read(offset, bytes);
  return bytes;
}

function blockCountOf({ sizeBytes }: OverlayHeader): number {
  return Math.ceil(sizeBytes / OVERLAY_BLOCK_BYTES);
}

/** Neighbours together. */
function runsOf(sectors: readonly SectorStates[]): SectorStates[][] {
  const runs: SectorStates[][] = [];
  for (const states of sectors) {
    const last = runs.at(-1);
    if (last?.at(-1)?.sector === states.sector - 1) last.push(states);
    else runs.push([states]);
  }
  return runs;
}
