// A transfer is a point in time: its ACK 0, or its RRQ if it negotiated no options. Shown on the wire, with writes in between.
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { slice } from '../../src/block/slice.js';
import { openFat } from '../../src/disk/fat/volume.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { decodePacket, encodeAck, encodeRequest, type TftpPacket } from '../../src/tftp/wire.js';
import { type DemoImage, makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const SERIAL = 'bf9fed6f';
const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;
const BOOT_OFFSET = 1024 * 1024;
const NAME = 'kernel8.img';
const BLOCK_BYTES = 1468;

interface Stage {
  readonly disk: NbdDisk;
  readonly tftpPort: number;
  readonly original: Uint8Array;
  /** Fills the whole file with this byte, where it lies on the disk, through NBD. */
  overwrite(value: number): Promise<void>;
  /** Changes the size in the file's directory entry. */
  resize(sizeBytes: number): Promise<void>;
}

async function stage(context: TestContext): Promise<Stage> {
  const folder = scratchFolder(context);
  const image = await makeDemoImage(join(folder, 'demo.img'));
  const { runs, entryAt } = await placeOf(image);
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  const disk = await (await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock)).go('node1');
  whenOver(context, () => disk.disconnect());
  return {
    disk,
    tftpPort: ports.tftp,
    original: image.files.get(NAME) ?? new Uint8Array(),
    async overwrite(value) {
      for (const { offset, lengthBytes } of runs) {
        for (let done = 0; done < lengthBytes; done += 1024 * 1024) {
          const piece = new Uint8Array(Math.min(1024 * 1024, lengthBytes - done)).fill(value);
          await disk.write(BOOT_OFFSET + offset + done, piece);
        }
      }
    },
    async resize(sizeBytes) {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(sizeBytes);
      await disk.write(BOOT_OFFSET + entryAt + 28, size);
    },
  };
}

async function placeOf(image: DemoImage) {
  const device = await openFileDevice(image.file, { access: 'readOnly', lock: 'none' });
  const volume = await openFat(slice(device, BOOT_OFFSET, 64 * 1024 * 1024));
  const entry = await volume.find(NAME);
  assert.ok(entry);
  const place = { runs: await volume.runs(entry), entryAt: entry.entryAt };
  await device.close();
  return place;
}

/** A peer that asks and acknowledges when it is told to. */
class Peer {
  readonly #socket: Socket = createSocket('udp4');
  readonly #waiting: ((packet: TftpPacket) => void)[] = [];
  readonly #packets: TftpPacket[] = [];
  #port = 0;

  static async open(context: TestContext): Promise<Peer> {
    const peer = new Peer();
    await new Promise<void>((resolve) => peer.#socket.bind(0, '127.0.0.1', resolve));
    peer.#socket.on('message', (bytes, from) => {
      peer.#port = from.port;
      const packet = decodePacket(bytes);
      const next = peer.#waiting.shift();
      if (next === undefined) peer.#packets.push(packet);
      else next(packet);
    });
    whenOver(context, () => void peer.#socket.close());
    return peer;
  }

  request(port: number, options: ReadonlyMap<string, string>): void {
    this.#socket.send(
      encodeRequest({ kind: 'rrq', path: `${SERIAL}/${NAME}`, mode: 'octet', options }),
      port,
      '127.0.0.1',
    );
  }

  acknowledge(block: number): void {
    this.#socket.send(encodeAck(block & 0xffff), this.#port, '127.0.0.1');
  }

  next(): Promise<TftpPacket> {
    const packet = this.#packets.shift();
    return packet === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(packet);
  }

  /** The block with this number; one that is sent again, because the machine was slow, is passed over. */
  async data(block: number): Promise<Uint8Array> {
    for (;;) {
      const packet = await this.next();
      assert.ok(packet.kind === 'data', JSON.stringify(packet));
      if (packet.block === (block & 0xffff)) return packet.payload;
    }
  }

  /** Reads on from `first`, with something done once after the block `at`. */
  async readOn(first: number, blockBytes: number, at: number, action: () => Promise<void>): Promise<Buffer> {
    const blocks: Uint8Array[] = [];
    for (let block = first; ; block += 1) {
      const payload = await this.data(block);
      blocks.push(payload);
      if (block === at) await action();
      this.acknowledge(block);
      if (payload.length < blockBytes) return Buffer.concat(blocks);
    }
  }
}

const OPTIONS = new Map([
  ['tsize', '0'],
  ['blksize', String(BLOCK_BYTES)],
]);
const nothing = async () => {};

test('a write between RRQ and ACK 0 is in the transfer', async (context) => {
  const { tftpPort, original, overwrite } = await stage(context);
  const peer = await Peer.open(context);
  peer.request(tftpPort, OPTIONS);
  assert.equal((await peer.next()).kind, 'oack');
  await overwrite(0x11);
  peer.acknowledge(0);
  const read = await peer.readOn(1, BLOCK_BYTES, 0, nothing);
  assert.ok(Buffer.compare(read, Buffer.alloc(original.length, 0x11)) === 0);
});

test('a write after ACK 0 is not in it, at its first block or in its middle, and is in the next', async (context) => {
  const { tftpPort, original, overwrite } = await stage(context);
  for (const at of [1, 2, 1000]) {
    const [value, before] = [at & 0xff, at === 1 ? original : new Uint8Array(original.length).fill(at === 2 ? 1 : 2)];
    const peer = await Peer.open(context);
    peer.request(tftpPort, OPTIONS);
    assert.equal((await peer.next()).kind, 'oack');
    peer.acknowledge(0);
    const read = await peer.readOn(1, BLOCK_BYTES, at, () => overwrite(value));
    assert.ok(Buffer.compare(read, before) === 0, `overwritten after block ${at}`);
  }
});

test('without options the RRQ is the point in time, though no more than the first block was read by then', async (context) => {
  const { tftpPort, original, overwrite } = await stage(context);
  const peer = await Peer.open(context);
  peer.request(tftpPort, new Map());
  const read = await peer.readOn(1, 512, 1, () => overwrite(0x33));
  assert.ok(Buffer.compare(read, original) === 0);
});

test('another size between RRQ and ACK 0 ends the transfer with ERROR 0', async (context) => {
  const { tftpPort, original, resize } = await stage(context);
  const peer = await Peer.open(context);
  peer.request(tftpPort, OPTIONS);
  const oack = await peer.next();
  assert.ok(oack.kind === 'oack' && oack.options.get('tsize') === String(original.length));
  await resize(original.length - 1);
  peer.acknowledge(0);
  const answer = await peer.next();
  assert.ok(answer.kind === 'error' && answer.code === 0, JSON.stringify(answer));
});
