/** What `check` says of the ports of files, disks and metrics: who has them now. Of DHCP's, which is shared, check-network tells. */
import { isLoopbackOnly } from '../app/addresses.js';
import { runningServer } from '../app/state-folder.js';
import type { Inventory } from '../inventory/inventory.js';
import type { NetworkInterface } from '../os/network-interfaces.js';
import { type PortHolder, portHolders } from '../os/port-holders.js';

export interface PortsReport {
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

interface WantedPort {
  readonly service: string;
  readonly protocol: 'udp' | 'tcp';
  readonly port: number;
  readonly addresses: readonly string[];
  /** What to do where another program has it. */
  readonly remedy: string;
}

export function portsReport(served: readonly NetworkInterface[], inventory: Inventory): PortsReport {
  const ours = runningServer(inventory.server.state);
  const reports = wantedPorts(served, inventory).map((wanted) => reportOf(wanted, ours));
  return {
    lines: reports.flatMap(({ lines }) => lines),
    warnings: reports.flatMap(({ warnings }) => warnings),
  };
}

function wantedPorts(
  served: readonly NetworkInterface[],
  { server, tftp, nbd, http }: Inventory,
): readonly WantedPort[] {
  const addresses = served.flatMap((found) => found.addresses.map(({ address }) => address));
  const nbdAddress = isLoopbackOnly(server.interfaces) ? '127.0.0.1' : '0.0.0.0';
  const files = { service: 'TFTP', protocol: 'udp', port: tftp.port, addresses } as const;
  const disks = { service: 'NBD', protocol: 'tcp', port: nbd.port, addresses: [nbdAddress] } as const;
  const page = { service: 'HTTP', protocol: 'tcp', port: http.port, addresses: [http.address] } as const;
  return [
    ...(tftp.enabled ? [{ ...files, remedy: 'stop it there (boards themselves know no TFTP port but 69)' }] : []),
    ...(nbd.enabled ? [{ ...disks, remedy: 'stop it there, or set nbd.port' }] : []),
    ...(http.enabled ? [{ ...page, remedy: 'stop it there, or set http.port' }] : []),
  ];
}

function reportOf(wanted: WantedPort, ours: string | undefined): PortsReport {
  const { service, protocol, port, addresses, remedy } = wanted;
  const place = `${service}: ${protocol.toUpperCase()} port ${port}`;
  const holders = portHolders(protocol, port).filter(({ address }) => addresses.some((own) => overlap(own, address)));
  if (holders.length === 0) return { lines: [`${place} (nobody has it now)`], warnings: [] };
  const others = holders.filter(({ program }) => program === undefined || program !== ours);
  if (others.length === 0) return { lines: [`${place} (the running server has it)`], warnings: [] };
  const who = others.map(holderText).join(', ');
  return { lines: [`${place} (${who})`], warnings: [`${place}: ${who}: ${remedy}`] };
}

/** In words: `dnsmasq (pid 812) has it at 0.0.0.0`. */
export function holderText({ address, program }: PortHolder): string {
  return `${program ?? 'somebody'} has it at ${address}`;
}

/** A socket at all addresses is in the way of one at any, and the other way round; one of IPv6 has those of IPv4 too, as a rule. */
function overlap(one: string, other: string): boolean {
  const all = ['0.0.0.0', '::'];
  return one === other || all.includes(one) || all.includes(other);
}
