import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { explainBindFailure, Listener, type ListenerPlace } from '../../src/app/listener.js';
import { Network } from '../../src/app/network.js';
import { silentLog } from '../../src/base/log.js';
import type { InterfaceVerdict } from '../../src/os/network-interfaces.js';
import { FakeClock } from '../support/fake-clock.js';

function serving(name: string, address: string, netmask = '255.255.255.0'): InterfaceVerdict {
  const found = { name, address, netmask, addresses: [{ address, netmask }] };
  return { answer: 'serve', name, interface: { ...found, mac: 'dc:a6:32:00:00:01', broadcast: '255.255.255.255' } };
}

/** A network whose interfaces the test changes, and what listens on them. */
function fixture(first: readonly InterfaceVerdict[], { withDhcp = false } = {}) {
  const clock = new FakeClock();
  const told: string[] = [];
  const refused = new Set<string>();
  const readiness: number[] = [];
  let interfaces = first;
  const failed = new Set<string>();
  const listener = (name: string, place?: ListenerPlace) => {
    const start = async () => {
      if (refused.has(name)) throw Object.assign(new Error(`bind EADDRINUSE ${name}`), { code: 'EADDRINUSE' });
      told.push(`start ${name}`);
      failed.delete(name);
      const failure = () => (failed.has(name) ? 'the socket failed' : undefined);
      return { failure, stop: async () => void told.push(`stop ${name}`) };
    };
    return new Listener(name, start, silentLog, place);
  };
  const always = [listener('nbd')];
  const network = new Network({
    interfaces: () => interfaces,
    always,
    listenersOn: ({ name, address, netmask }) => [
      listener(`tftp ${name} ${address}`),
      // The netmask stands for what makes an interface another one.
      ...(withDhcp ? [listener(`dhcp ${name}`, { slot: `dhcp ${name}`, identity: `${address} ${netmask}` })] : []),
    ],
    clock,
    looked: (now) => void readiness.push(now.length),
  });
  /** One look later, everything that it leads to done. */
  const look = async () => {
    clock.advance(2000);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    return told.splice(0);
  };
  const change = (now: readonly InterfaceVerdict[]) => {
    interfaces = now;
  };
  const missing = () => network.listeners().filter((one) => one.missing !== undefined);
  return { network, look, change, refused, failed, told, missing, readiness };
}

describe('listeners and the network', () => {
  test('what can be bound is bound at the start, the rest is missing and says why', async () => {
    const { network, told, missing } = fixture([serving('eth0', '10.0.0.1'), { answer: 'missing', name: 'eth7' }]);
    await network.start();
    assert.deepEqual(told, ['start nbd', 'start tftp eth0 10.0.0.1']);
    assert.deepEqual(missing(), [{ name: 'interface eth7', missing: 'there is no such interface' }]);
    await network.stop();
  });

  test('an interface that comes later is served then, one that goes is let go, others notice nothing', async () => {
    const { network, look, change, told } = fixture([serving('eth0', '10.0.0.1')]);
    await network.start();
    told.splice(0);
    change([serving('eth0', '10.0.0.1'), serving('eth1', '10.0.1.1')]);
    assert.deepEqual(await look(), ['start tftp eth1 10.0.1.1']);
    assert.deepEqual(await look(), []);
    change([serving('eth1', '10.0.1.1')]);
    for (let looks = 0; looks < 5; looks += 1) assert.deepEqual(await look(), [], 'a cable may be put back');
    assert.deepEqual(await look(), ['stop tftp eth0 10.0.0.1']);
    await network.stop();
  });

  test('a changed address is served in place of the old one', async () => {
    const { network, look, change, told } = fixture([serving('eth0', '10.0.0.1')]);
    await network.start();
    told.splice(0);
    change([serving('eth0', '10.0.0.2')]);
    assert.deepEqual(await look(), ['start tftp eth0 10.0.0.2']);
    for (let looks = 0; looks < 4; looks += 1) await look();
    assert.deepEqual(await look(), ['stop tftp eth0 10.0.0.1']);
    await network.stop();
  });

  test('what answers questions is replaced at once when its interface is another one, files are served on', async () => {
    const { network, look, change, told } = fixture([serving('eth0', '10.0.0.1')], { withDhcp: true });
    await network.start();
    told.splice(0);
    change([serving('eth0', '10.0.0.1', '255.255.0.0')]);
    assert.deepEqual(await look(), ['stop dhcp eth0', 'start dhcp eth0']);
    assert.deepEqual(await look(), []);
    change([serving('eth0', '10.0.0.2')]);
    assert.deepEqual((await look()).sort(), ['start dhcp eth0', 'start tftp eth0 10.0.0.2', 'stop dhcp eth0']);
    await network.stop();
  });

  test('one whose socket failed is missing until it is bound anew, and takes no other with it', async () => {
    const { network, look, refused, failed, told, missing } = fixture([serving('eth0', '10.0.0.1')]);
    await network.start();
    told.splice(0);
    failed.add('tftp eth0 10.0.0.1');
    assert.deepEqual(missing(), [{ name: 'tftp eth0 10.0.0.1', missing: 'the socket failed' }]);
    refused.add('tftp eth0 10.0.0.1');
    assert.deepEqual(await look(), ['stop tftp eth0 10.0.0.1']);
    assert.match(missing()[0]?.missing ?? '', /EADDRINUSE/);
    refused.clear();
    assert.deepEqual(await look(), ['start tftp eth0 10.0.0.1']);
    assert.deepEqual(missing(), []);
    await network.stop();
  });

  test('one that takes long to stop keeps no other waiting, and the stop of all waits for it', async () => {
    const clock = new FakeClock();
    const told: string[] = [];
    let finish = () => {};
    let name = 'eth0';
    const start = (listener: string) => async () => {
      told.push(`start ${listener}`);
      const slowly = () => new Promise<void>((resolve) => (finish = resolve));
      return { stop: listener === 'eth0' ? slowly : async () => {} };
    };
    const network = new Network({
      ...{ clock, always: [], looked: () => {}, interfaces: () => [serving(name, '10.0.0.1')] },
      listenersOn: (found) => [new Listener(found.name, start(found.name), silentLog, { slot: 'one', identity: name })],
    });
    await network.start();
    name = 'eth1';
    clock.advance(2000);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    assert.deepEqual(told, ['start eth0', 'start eth1']);
    let stopped = false;
    const stopping = network.stop().then(() => (stopped = true));
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    assert.equal(stopped, false);
    finish();
    await stopping;
  });

  test('a port that is taken is tried again, and takes no other listener with it', async () => {
    const { network, look, refused, told, missing, readiness } = fixture([serving('eth0', '10.0.0.1')]);
    refused.add('nbd');
    await network.start();
    assert.deepEqual(told.splice(0), ['start tftp eth0 10.0.0.1']);
    assert.match(missing()[0]?.missing ?? '', /another program has this port/);
    refused.clear();
    assert.deepEqual(await look(), ['start nbd']);
    assert.deepEqual(missing(), []);
    assert.deepEqual(readiness, [1, 0]);
    await network.stop();
  });

  test('no interface at all is something missing', async () => {
    const { network, missing } = fixture([]);
    await network.start();
    assert.deepEqual(missing(), [{ name: 'interfaces', missing: 'none is up and has an IPv4 address' }]);
    await network.stop();
  });

  test('after the stop nothing starts any more', async () => {
    const { network, look, change, told } = fixture([serving('eth0', '10.0.0.1')]);
    await network.start();
    await network.stop();
    assert.deepEqual(told.splice(0).filter((line) => line.startsWith('stop')).length, 2);
    change([serving('eth1', '10.0.1.1')]);
    assert.deepEqual(await look(), []);
  });
});

test('what keeps a listener from binding is explained', () => {
  const failure = (code: string) => explainBindFailure(Object.assign(new Error(`bind ${code}`), { code }));
  assert.match(failure('EACCES'), /root or CAP_NET_BIND_SERVICE/);
  assert.match(failure('EADDRNOTAVAIL'), /on no interface/);
  assert.match(failure('EADDRINUSE'), /or set another port here$/);
  const inUse = Object.assign(new Error('bind EADDRINUSE'), { code: 'EADDRINUSE' });
  assert.match(explainBindFailure(inUse, 'tftp'), /stop it there \(boards themselves know no TFTP port but 69\)$/);
  assert.equal(explainBindFailure('odd'), 'odd');
});

test('a look that is asked for is made at once, and takes its turn', async () => {
  const { network, look, change, told } = fixture([serving('eth0', '10.0.0.1')], { withDhcp: true });
  await network.start();
  told.splice(0);
  change([serving('eth0', '10.0.0.1', '255.255.0.0')]);
  await Promise.all([network.look(), network.look()]);
  assert.deepEqual(told.splice(0), ['stop dhcp eth0', 'start dhcp eth0']);
  assert.deepEqual(await look(), []);
  await network.stop();
  await network.look();
  assert.ok(
    told.every((what) => what.startsWith('stop')),
    told.join(),
  );
});
