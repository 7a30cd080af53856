import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  chooseInterfaces,
  listInterfaces,
  type NetworkInterface,
  servableNames,
} from '../../src/os/network-interfaces.js';
import { connectNamespaces, networkNamespace, withoutNamespaces } from '../support/network-namespace.js';

describe('chooseInterfaces', () => {
  test('where none is named, serves those that a Pi can be at', () => {
    const good = ['eth0', 'enp3s0', 'br0', 'br-lan', 'wlan0', 'bond0', 'eth0.20', 'macvlan0'];
    const bad = ['docker0', 'docker_gwbridge', 'br-3f1c0ffee123', 'veth12ab', 'tun0', 'wg0'];
    const interfaces = [...good, ...bad].map((name) => anInterface(name));
    const loopback = anInterface('lo', { address: '127.0.0.1', mac: '00:00:00:00:00:00' });
    const tunnel = anInterface('ppp0', { mac: '00:00:00:00:00:00' });
    const chosen = chooseInterfaces(undefined, [loopback, tunnel, ...interfaces]);
    assert.deepEqual(
      chosen.map(({ name, answer }) => [name, answer]),
      good.map((name) => [name, 'serve']),
    );
    assert.deepEqual(servableNames([loopback, tunnel, ...interfaces]), good);
  });

  test('what is named is served whatever it is', () => {
    const interfaces = [anInterface('eth0'), anInterface('docker0')];
    const chosen = chooseInterfaces(['docker0', 'docker0'], interfaces);
    assert.deepEqual(chosen, [{ answer: 'serve', name: 'docker0', interface: interfaces[1] }]);
  });

  test('of one that is named and not there, or not ready, it says so', () => {
    const chosen = chooseInterfaces(['eth9', 'eth0', 'eth1'], [anInterface('eth0')], (name) => name === 'eth1');
    assert.deepEqual(
      chosen.map(({ name, answer }) => [name, answer]),
      [
        ['eth9', 'missing'],
        ['eth0', 'serve'],
        ['eth1', 'notReady'],
      ],
    );
  });

  test('a name that is a path is missing, whatever lies there', () => {
    const names = ['..', '.', '', 'lo/..', '../net/lo'];
    assert.deepEqual(
      chooseInterfaces(names, []).map(({ answer }) => answer),
      names.map(() => 'missing'),
    );
  });
});

describe('listInterfaces', () => {
  test('knows loopback and its broadcast address', () => {
    const [loopback] = listInterfaces().filter(({ name }) => name === 'lo');
    assert.deepEqual(
      [loopback?.address, loopback?.netmask, loopback?.broadcast],
      ['127.0.0.1', '255.0.0.0', '127.255.255.255'],
    );
  });

  test('lists all addresses, the kernel’s first one first, labels or not', { skip: withoutNamespaces() }, (context) => {
    const [host, lan] = [networkNamespace(context), networkNamespace(context)];
    connectNamespaces(
      { namespace: host, interfaceName: 'host0', address: '192.0.2.9/24' },
      { namespace: lan, interfaceName: 'lan0' },
    );
    host.ip('address', 'add', '192.0.2.1/24', 'dev', 'host0', 'label', 'host0:1');
    host.ip('address', 'add', '198.51.100.1/25', 'dev', 'host0');
    const found = host.inside(() => listInterfaces()).find(({ name }) => name === 'host0');
    assert.deepEqual(found?.addresses.map(({ address, netmask }) => `${address} ${netmask}`).sort(), [
      '192.0.2.1 255.255.255.0',
      '192.0.2.9 255.255.255.0',
      '198.51.100.1 255.255.255.128',
    ]);
    assert.deepEqual([found?.address, found?.broadcast], ['192.0.2.9', '255.255.255.255']);
    assert.deepEqual(
      lan.inside(() => chooseInterfaces(['lan0', 'lan1'])),
      [
        { answer: 'notReady', name: 'lan0' },
        { answer: 'missing', name: 'lan1' },
      ],
    );
  });
});

function anInterface(name: string, changed: Partial<NetworkInterface> = {}): NetworkInterface {
  const place = { address: '192.0.2.1', netmask: '255.255.255.0' };
  const mac = '02:00:00:00:00:01';
  return { name, ...place, addresses: [place], mac, broadcast: '255.255.255.255', ...changed };
}
