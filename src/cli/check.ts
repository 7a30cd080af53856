import { addressOn } from '../app/addresses.js';
import { servedSubnets } from '../app/audience.js';
import { whyNotServed } from '../app/network.js';
import { systemClock } from '../base/clock.js';
import { printable } from '../base/printable.js';
import { type Subnet, subnetText } from '../base/subnets.js';
import { type Fault, renderFaults } from '../inventory/fault.js';
import { checkImageFiles } from '../inventory/files.js';
import type { Inventory } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { chooseInterfaces, type InterfaceVerdict } from '../os/network-interfaces.js';
import { reportImage } from '../workshop/image-report.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';

export interface CheckOptions {
  readonly config?: string;
}

/** Says every fault of inventory and images, and what each image can boot. Starts nothing, locks nothing, writes nothing. */
export async function check(options: CheckOptions): Promise<ExitStatus> {
  const path = configPath(options.config);
  const read = await readInventory(path);
  if (read.answer === 'faults') return complain(read.faults);
  const { inventory, source } = read;
  const missing = await checkImageFiles(inventory, source);
  const faults = [...missing];
  const interfaces = chooseInterfaces(inventory.server.interfaces);
  const warnings = networkWarnings(interfaces);
  for (const image of inventory.images.values()) {
    if (missing.some((fault) => isAbout(fault, source.faultAt(['images', image.name, 'file'], fault)))) continue;
    const report = await reportImage(image.file, image, systemClock);
    if (report.answer === 'unbootable') {
      const problem = `${image.name} can't be booted from: ${report.because}`;
      faults.push(source.faultAt(['images', image.name, 'file'], { problem, remedy: report.remedy }));
      continue;
    }
    process.stdout.write(block(`image ${image.name} (${image.file})`, report.lines));
    if (report.bootsNothing)
      warnings.push(`image ${image.name}: no board can boot from it and get its disk, for the reasons above`);
  }
  process.stdout.write(
    [block('boards', boardLines(inventory)), block('network', networkLines(interfaces, inventory))].join(''),
  );
  if (warnings.length > 0) process.stdout.write(block('warnings', warnings));
  if (faults.length > 0) return complain(faults);
  process.stdout.write(
    `${path}: no faults${warnings.length === 0 ? '' : `, but ${warnings.length === 1 ? 'a warning' : 'warnings'} above`}\n`,
  );
  return ExitStatus.Done;
}

function complain(faults: readonly Fault[]): ExitStatus {
  process.stderr.write(renderFaults(faults));
  return ExitStatus.InventoryFaults;
}

function isAbout(fault: Fault, place: Fault): boolean {
  return fault.at?.line === place.at?.line && fault.at?.column === place.at?.column;
}

function block(title: string, lines: readonly string[]): string {
  return `${title}\n${lines.map((line) => `  ${printable(line)}\n`).join('')}\n`;
}

function boardLines({ boards }: Inventory): readonly string[] {
  const lines = [...boards.values()].map(
    ({ name, serial, mac, image, disk }) =>
      `${name}: serial ${serial}${mac === undefined ? '' : `, MAC ${mac}`}, ${image} (${disk})`,
  );
  return lines.length === 0 ? ['none yet: start the server and it shows those that ask'] : lines;
}

function networkLines(verdicts: readonly InterfaceVerdict[], { server }: Inventory): readonly string[] {
  const lines = verdicts.map((verdict) => {
    if (verdict.answer !== 'serve') return `${verdict.name}: ${whyNotServed(verdict)}`;
    const { name, address } = verdict.interface;
    const told = addressOn(server.address, verdict.interface);
    return `${name}: ${address}${told === address ? '' : `; boards are told to ask ${told}`}`;
  });
  const found = lines.length === 0 ? ['no interface is up and has an IPv4 address'] : lines;
  return [...found, `answers ${audience(verdicts, server.allow)}`];
}

/** Whom TFTP, NBD and HTTP answer. */
function audience(verdicts: readonly InterfaceVerdict[], allow: readonly Subnet[]): string {
  const served = [...new Set(servedSubnets(verdicts).map(subnetText))];
  const besides = allow.length === 0 ? '' : `; by server.allow also ${allow.map(subnetText).join(', ')}`;
  return `${['this machine', ...served].join(', ')}${besides}`;
}

function networkWarnings(verdicts: readonly InterfaceVerdict[]): string[] {
  return verdicts.flatMap((verdict) =>
    verdict.answer === 'serve' ? [] : [`${verdict.name}: ${whyNotServed(verdict)}`],
  );
}
