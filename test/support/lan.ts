import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { outputOf, until } from './commands.js';
import { connectNamespaces, type NetworkNamespace, networkNamespace, withoutNamespaces } from './network-namespace.js';
import { anyOf, without } from './programs.js';
import { scratchFolder } from './scratch.js';

/**
 * A LAN of network namespaces: a switch with the server at it, and a real router (dnsmasq) that gives the addresses from
 * 10.77.0.50 on. Gone when the test is over.
 */
export interface Lan {
  /** Has the switch as its interface `br0`, with `SERVER_ADDRESS`. */
  readonly server: NetworkNamespace;
  readonly router: NetworkNamespace;
  /** One more host at the switch: its interface is `eth0`, has this MAC and no address. */
  plugIn(mac: string): NetworkNamespace;
  /** A tap interface at the switch, in the server's namespace, for a virtual machine that is started there; its name. */
  tap(): string;
}

export const SERVER_ADDRESS = '10.77.0.1';

/** For `test(name, { skip: withoutLan() }, …)`. */
export function withoutLan(): string | false {
  return anyOf(withoutNamespaces(), without('dnsmasq', 'dnsmasq-base'));
}

/** `routerOptions` are further ones for dnsmasq. */
export async function makeLan(context: TestContext, routerOptions: readonly string[] = []): Promise<Lan> {
  const folder = scratchFolder(context);
  const [server, router] = [networkNamespace(context), networkNamespace(context)];
  // With a MAC of its own: else it would take another one whenever something is plugged in.
  server.ip('link', 'add', 'br0', 'address', '02:00:0a:4d:00:01', 'type', 'bridge', 'forward_delay', '0');
  server.ip('address', 'add', `${SERVER_ADDRESS}/24`, 'broadcast', '+', 'dev', 'br0');
  server.ip('link', 'set', 'br0', 'up');
  let portCount = 0;
  const plug = (namespace: NetworkNamespace, address?: string) => {
    portCount += 1;
    const port = `port${portCount}`;
    connectNamespaces(
      { namespace: server, interfaceName: port },
      { namespace, interfaceName: 'eth0', ...(address === undefined ? {} : { address }) },
    );
    server.ip('link', 'set', port, 'master', 'br0');
  };
  plug(router, '10.77.0.2/24');
  await startRouter(router, folder, routerOptions);
  return {
    server,
    router,
    plugIn(mac) {
      const host = networkNamespace(context);
      plug(host);
      host.ip('link', 'set', 'eth0', 'address', mac);
      return host;
    },
    tap() {
      portCount += 1;
      const port = `port${portCount}`;
      server.ip('tuntap', 'add', 'dev', port, 'mode', 'tap');
      server.ip('link', 'set', port, 'master', 'br0', 'up');
      return port;
    },
  };
}

async function startRouter(router: NetworkNamespace, folder: string, more: readonly string[]): Promise<void> {
  const dnsmasq = router.spawn(
    'dnsmasq',
    ...['--keep-in-foreground', '--port=0', '--conf-file=/dev/null', '--interface=eth0', '--bind-interfaces'],
    ...['--log-facility=-', '--dhcp-range=10.77.0.50,10.77.0.99,1h', '--dhcp-option=3,10.77.0.2', '--no-ping'],
    ...[`--dhcp-leasefile=${join(folder, 'leases')}`, `--pid-file=${join(folder, 'dnsmasq.pid')}`, '--user=root'],
    ...more,
  );
  await until(outputOf(dnsmasq, 'DHCP, IP range'), 'dnsmasq');
}
