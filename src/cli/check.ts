import { handedLines, handedWarnings, takeHandedSockets } from '../app/handed-sockets.js';
import { whyNotKept } from '../app/handover/keeping.js';
import { systemClock } from '../base/clock.js';
import { printable } from '../base/printable.js';
import { subnetText } from '../base/subnets.js';
import { byPosition, type Fault, renderFaults } from '../inventory/fault.js';
import { checkImageFiles } from '../inventory/files.js';
import type { Inventory } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { sizeText } from '../inventory/size-scalar.js';
import { NO_TLS, readTlsFiles } from '../inventory/tls-files.js';
import { chooseInterfaces } from '../os/network-interfaces.js';
import { reportImage } from '../workshop/image-report.js';
import { networkReport } from './check-network.js';
import { socketReport } from './check-socket.js';
import { storageReport } from './check-storage.js';
import { tlsReport } from './check-tls.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';

export interface CheckOptions {
  readonly config?: string;
}

/** Says every fault of inventory and images, and what each image can boot. Starts nothing, locks nothing, writes nothing. */
export async function check(options: CheckOptions): Promise<ExitStatus> {
  const handed = takeHandedSockets(process.env, process.pid);
  const path = configPath(options.config);
  const read = await readInventory(path);
  if (read.answer === 'faults') return complain(read.faults);
  const { inventory, source } = read;
  const missing = await checkImageFiles(inventory, source);
  const today = systemClock.today();
  const tls = await readTlsFiles(inventory, source, today);
  const socket = socketReport(inventory, source);
  const faults = [...missing, ...(tls.answer === 'faults' ? tls.faults : []), ...socket.faults];
  const encryption = tlsReport(inventory, tls.answer === 'read' ? tls.reading : NO_TLS, today);
  const network = networkReport(chooseInterfaces(inventory.server.interfaces), inventory);
  const warnings = [...network.warnings, ...socket.warnings];
  const lack = inventory.nbd.enabled ? await whyNotKept() : undefined;
  if (lack !== undefined) {
    warnings.push(`a restart of the server would end the disks of boards that run: ${lack.because}; ${lack.remedy}`);
  }
  if (handed.answer === 'refused') warnings.push(...handed.because.map((why) => `sockets from systemd: ${why}`));
  else warnings.push(...handedWarnings(handed.sockets, inventory));
  const listening = handed.answer === 'sockets' ? handedLines(handed.sockets) : [];
  for (const image of inventory.images.values()) {
    if (missing.some((fault) => isAbout(fault, source.faultAt(['images', image.name, 'file'], fault)))) continue;
    const report = await reportImage(image.file, image, systemClock);
    if (report.answer === 'unbootable') {
      const problem = `${image.name} can't be booted from: ${report.because}`;
      faults.push(source.faultAt(['images', image.name, 'file'], { problem, remedy: report.remedy }));
      continue;
    }
    process.stdout.write(block(`image ${image.name} (${image.file})`, report.lines));
    // Among forty lines of an image it would be missed.
    warnings.push(
      ...report.lines
        .filter((line) => line.startsWith('warning: '))
        .map((line) => `image ${image.name}: ${line.slice('warning: '.length)}`),
    );
    if (report.bootsNothing)
      warnings.push(`image ${image.name}: no board can boot from it and get its disk, for the reasons above`);
  }
  const storage = await storageReport(inventory);
  warnings.push(...storage.warnings, ...encryption.warnings);
  process.stdout.write(
    [
      block('storage', storage.lines),
      block('boards', boardLines(inventory)),
      block('network', [...network.lines, ...socket.lines, ...listening]),
      ...(encryption.lines.length > 0 ? [block('TLS', encryption.lines)] : []),
    ].join(''),
  );
  if (warnings.length > 0) process.stdout.write(block('warnings', warnings));
  if (faults.length > 0) return complain([...faults].sort(byPosition));
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
    ({ name, serial, mac, image, disk, sizeBytes, allow }) =>
      `${name}: serial ${serial}${mac === undefined ? '' : `, MAC ${mac}`}, ${image} (${disk}${sizeBytes === undefined ? '' : `, ${sizeText(sizeBytes)}`})${allow === undefined ? '' : ` for ${allow.map(subnetText).join(', ')}`}`,
  );
  return lines.length === 0 ? ['none yet: start the server and it shows those that ask'] : lines;
}
