/** What `check` says of the network: who is served by what address, and how DHCP would be heard. */
import { addressOn } from '../app/addresses.js';
import { servedSubnets } from '../app/audience.js';
import { whyNotServed } from '../app/network.js';
import type { Ipv4Address } from '../base/addresses.js';
import { shortened } from '../base/printable.js';
import { contains, LOOPBACK, type Subnet, subnetText } from '../base/subnets.js';
import type { Inventory } from '../inventory/inventory.js';
import { type InterfaceVerdict, type NetworkInterface, servableNames } from '../os/network-interfaces.js';
import { whyNoPacketSocket } from '../os/packet-socket.js';
import { type PortHolder, portHolders } from '../os/port-holders.js';
import { holderText, portsReport } from './check-ports.js';

export interface NetworkReport {
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

export function networkReport(verdicts: readonly InterfaceVerdict[], inventory: Inventory): NetworkReport {
  const served = verdicts.flatMap((verdict) => (verdict.answer === 'serve' ? [verdict.interface] : []));
  const notServed = verdicts.flatMap((verdict) =>
    verdict.answer === 'serve' ? [] : [`${verdict.name}: ${whyNotServed(verdict)}${othersText(verdict)}`],
  );
  const interfaces = served.map((found) => {
    const told = addressOn(inventory.server.address, found);
    return `${found.name}: ${found.address}${told === found.address ? '' : `; boards are told to ask ${told}`}`;
  });
  const none = verdicts.length === 0 ? ['no interface is up and has an IPv4 address'] : [];
  const dhcp = dhcpReport(served, inventory);
  const ports = portsReport(served, inventory);
  return {
    lines: [
      ...none,
      ...interfaces,
      ...notServed,
      ...dhcp.lines,
      ...ports.lines,
      `answers ${audience(verdicts, inventory.server.allow)}`,
    ],
    warnings: [
      ...notServed,
      ...unansweredAddresses(served, inventory),
      ...unansweredClients(verdicts, inventory),
      ...dhcp.warnings,
      ...ports.warnings,
    ],
  };
}

/** A misspelt name is mended by those that there are. */
function othersText({ answer }: InterfaceVerdict): string {
  const names = answer === 'missing' ? servableNames() : [];
  return names.length === 0 ? '' : `; there ${names.length === 1 ? 'is' : 'are'} ${shortened(names.join(', '), 200)}`;
}

/** Whom TFTP, NBD and HTTP answer. */
function audience(verdicts: readonly InterfaceVerdict[], allow: readonly Subnet[]): string {
  const served = [...new Set(servedSubnets(verdicts).map(subnetText))];
  const besides = allow.length === 0 ? '' : `; by server.allow also ${allow.map(subnetText).join(', ')}`;
  return `${['this machine', ...served].join(', ')}${besides}`;
}

/** Files and disks are served at each address of a served interface, and at no other. */
function unansweredAddresses(served: readonly NetworkInterface[], { server }: Inventory): readonly string[] {
  const ours = new Set(served.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
  return served.flatMap((found) => {
    const told = addressOn(server.address, found);
    if (ours.has(told)) return [];
    return [`${found.name}: boards are told to ask ${told}, but no served interface has that address (server.address)`];
  });
}

/** `allow` of a board only narrows: who is not answered at all does not get as far as to be asked for it. */
function unansweredClients(verdicts: readonly InterfaceVerdict[], { server, boards }: Inventory): readonly string[] {
  const served = servedSubnets(verdicts);
  if (served.length === 0) return []; // as long as the network is away nobody is, which is said already
  const answered = [...LOOPBACK, ...server.allow, ...served];
  return [...boards.values()].flatMap(({ name, allow = [] }) => {
    const shut = allow.filter((entry) => !answered.some((subnet) => overlap(entry, subnet)));
    if (shut.length === 0) return [];
    const who = shut.length === allow.length ? 'nobody in its allow' : 'not everybody in its allow';
    return [`${name}: ${who} is answered: add ${shortened(shut.map(subnetText).join(', '), 200)} to server.allow`];
  });
}

function overlap(one: Subnet, other: Subnet): boolean {
  return contains(one, other.address) || contains(other, one.address);
}

function dhcpReport(served: readonly NetworkInterface[], { dhcp, server }: Inventory): NetworkReport {
  if (!dhcp.enabled) return { lines: ['DHCP: not answered (dhcp.enabled)'], warnings: [] };
  if (served.every(({ address }) => address.startsWith('127.')))
    return { lines: [`DHCP: UDP port ${dhcp.port} on loopback`], warnings: [] };
  const lack = whyNoPacketSocket();
  const holders = portHolders('udp', dhcp.port);
  const port = `UDP port ${dhcp.port}`;
  if (lack === undefined) {
    const left = `${port} is left to others (${holdersText(holders)})`;
    return { lines: [`DHCP: heard and sent below IP, by AF_PACKET; ${left}`], warnings: [] };
  }
  const places = served.map((found) => ({ ...found, told: addressOn(server.address, found) }));
  return {
    lines: [`DHCP: by ${port} (${holdersText(holders)}), since who runs this has ${lack}`],
    warnings: [
      ...(holders.length === 0 ? [] : [`${port}: ${holdersText(holders)}; without CAP_NET_RAW it has to be shared`]),
      ...places.filter(({ told, address }) => told !== address).map(wrongSource),
    ],
  };
}

function wrongSource(place: { readonly name: string; readonly address: Ipv4Address; readonly told: Ipv4Address }) {
  const { name, address, told } = place;
  return `${name}: boards are told to ask ${told}, but without CAP_NET_RAW offers come from ${address}, and a Pi 1 to 3 asks there`;
}

function holdersText(holders: readonly PortHolder[]): string {
  if (holders.length === 0) return 'nobody has it now';
  return holders.map(holderText).join(', ');
}
