// The firmware of the machine, as a program of its own: it lives in the network of the board. Started with an interface, its MAC, a serial and a
// folder, it finds address and server by DHCP, reads what a Pi 4 reads, and leaves kernel, initramfs and cmdline.txt in the folder. It prints what
// it does, and as its last line the outcome as JSON.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseMac } from '../../../src/base/addresses.js';
import { systemClock } from '../../../src/base/clock.js';
import { parseSerial } from '../../../src/base/serial.js';
import { setInterfaceAddress } from '../../../src/os/interface-address.js';
import { packetLine } from '../../../src/pretend/line.js';
import { type LoaderResult, playLoader } from '../../../src/pretend/play.js';
import { PROFILES } from '../../../src/pretend/profile.js';

const [interfaceName = '', mac = '', serial = '', folder = ''] = process.argv.slice(2);
const line = packetLine({ interfaceName, serverPort: 67, clientPort: 68 });
const result = await playLoader({
  profile: PROFILES.pi4,
  identity: { serial: parseSerial(serial), mac: parseMac(mac), revisionCode: PROFILES.pi4.revisionCode },
  prefix: { kind: 'serial' },
  start: { kind: 'dhcp', line, needsAddress: true },
  tftpPort: 69,
  takeAddress(found) {
    if (found?.address === undefined) throw new Error('no address');
    setInterfaceAddress(interfaceName, found.address, found.netmask ?? '255.255.255.0');
    return found.address;
  },
  clock: systemClock,
  report: (stage, text) => console.log(`firmware: ${stage}: ${text}`),
});
await line.close();
const { outcome } = result;
console.log(JSON.stringify(result.outcome === 'loaded' ? { outcome, ...leave(result) } : result));

function leave({ files, selection, cmdline }: Extract<LoaderResult, { outcome: 'loaded' }>) {
  const kernel = files.get(selection.kernel ?? '') ?? Buffer.alloc(0);
  writeFileSync(join(folder, 'kernel'), kernel);
  // The firmware joins them, as Linux takes several archives for one.
  const archives = selection.initramfs.map((name) => files.get(name) ?? Buffer.alloc(0));
  writeFileSync(join(folder, 'initramfs'), Buffer.concat(archives));
  return { cmdline, kernelBytes: kernel.length };
}
