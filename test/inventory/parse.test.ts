import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { subnetText } from '../../src/base/subnets.js';
import { renderFault } from '../../src/inventory/fault.js';
import { controlSocketPath, type Inventory } from '../../src/inventory/inventory.js';
import { parseInventory } from '../../src/inventory/parse.js';
import type { InventorySource } from '../../src/inventory/source.js';

const TWO_BOARDS = `
images:
  noble:
    file: images/noble.img
  trixie:
    file: /dev/vg0/trixie
    boot_partition: 1
    root_partition: 5
boards:
  node1:
    serial: BF9FED6F
    image: noble
  node2:
    serial: 10000000a2ef5644
    mac: DC-A6-32-01-02-03
    image: trixie
    disk: direct
    cmdline: { append: "console=ttyS0,115200", remove: [quiet, splash] }
`;

describe('a sound inventory', () => {
  test('has its boards and images by name, paths absolute from its own folder', () => {
    const { images, boards } = sound(TWO_BOARDS, '/etc/brambleboot/config.yaml');
    assert.deepEqual(
      [...images.values()],
      [
        { name: 'noble', file: '/etc/brambleboot/images/noble.img', bootPartition: 'auto', rootPartition: 'auto' },
        { name: 'trixie', file: '/dev/vg0/trixie', bootPartition: 1, rootPartition: 5 },
      ],
    );
    assert.deepEqual(boards.get('node1'), {
      name: 'node1',
      serial: 'bf9fed6f',
      mac: undefined,
      image: 'noble',
      disk: 'direct',
      sizeBytes: undefined,
      allow: undefined,
      tls: 'off',
      cmdline: 'auto',
    });
    assert.deepEqual(boards.get('node2'), {
      name: 'node2',
      serial: 'a2ef5644',
      mac: 'dc:a6:32:01:02:03',
      image: 'trixie',
      disk: 'direct',
      sizeBytes: undefined,
      allow: undefined,
      tls: 'off',
      cmdline: { append: 'console=ttyS0,115200', remove: ['quiet', 'splash'] },
    });
  });

  test('has for each board a disk of its own kind and size', () => {
    const yaml = `images: { noble: { file: a } }
boards:
  node1: { serial: 1, image: noble, disk: overlay }
  node2: { serial: 2, image: noble, disk: overlay, size: 32GiB }
  node3: { serial: 3, image: noble, disk: volatile, size: 16GB }
server: { state_limit: 200GiB }`;
    const { boards, server } = sound(yaml);
    assert.deepEqual(
      [...boards.values()].map(({ disk, sizeBytes }) => [disk, sizeBytes]),
      [
        ['overlay', undefined],
        ['overlay', 32 * 2 ** 30],
        ['volatile', 16e9],
      ],
    );
    assert.equal(server.stateLimitBytes, 200 * 2 ** 30);
  });

  test('has every default where nothing is said', () => {
    const { server, dhcp, tftp, nbd, http } = sound('boards:\n', '/srv/config.yaml');
    assert.deepEqual(server, {
      interfaces: undefined,
      address: { kind: 'primary' },
      state: '/srv/state',
      allow: [],
      onFull: 'wait',
      stateLimitBytes: undefined,
      handoverLimitMs: 600_000,
      watch: false,
    });
    assert.deepEqual(dhcp, { enabled: true, port: 67, replyPort: 68, answer: 'known' });
    assert.deepEqual(tftp, { enabled: true, port: 69, blockSizeMax: 1468, windowSizeMax: 64, singlePort: false });
    const files = { certificate: undefined, key: undefined, clientCa: undefined, psk: undefined };
    assert.deepEqual(nbd, { enabled: true, port: 10809, socket: undefined, tls: { mode: 'off', ...files } });
    assert.deepEqual(http, { enabled: true, address: '0.0.0.0', port: 9069 });
  });

  test('may leave sections empty, as they are when all in them is commented out', () => {
    const inventory = sound('server:\n  # interface: eth0\nimages:\nboards:\ndhcp:\n');
    assert.deepEqual(inventory, sound('dhcp: {}'));
  });

  test('allows one address, or a list of addresses and networks, in any spelling', () => {
    const allowed = (yaml: string) => sound(`server: { allow: ${yaml} }`).server.allow.map(subnetText);
    assert.deepEqual(allowed('10.0.0.7'), ['10.0.0.7']);
    assert.deepEqual(allowed('[10.0.0.7/32, 192.168.0.0/16, 0.0.0.0/0]'), ['10.0.0.7', '192.168.0.0/16', '0.0.0.0/0']);
    assert.deepEqual(allowed('["::FFFF:a00:7", "::ffff:10.0.0.0/104"]'), ['10.0.0.7', '10.0.0.0/8']);
    assert.deepEqual(allowed('["2001:DB8:0:0::/32", "::/0"]'), ['2001:db8::/32', '::/0']);
  });

  test('has TLS for each board as the board says, else as the server does; paths from its own folder', () => {
    const tls = '{ mode: required, certificate: c.pem, key: /etc/k.pem, client_ca: ../ca.pem, psk: keys.psk }';
    const boards = 'boards: { node1: { serial: 1, image: a }, node2: { serial: 2, image: b, tls: off } }';
    const images = 'images: { a: { file: a }, b: { file: b } }';
    const { nbd, boards: read } = sound(`${images}\n${boards}\nnbd: { tls: ${tls} }`, '/srv/boot/config.yaml');
    const files = {
      certificate: '/srv/boot/c.pem',
      key: '/etc/k.pem',
      clientCa: '/srv/ca.pem',
      psk: '/srv/boot/keys.psk',
    };
    assert.deepEqual(nbd.tls, { mode: 'required', ...files });
    assert.deepEqual(
      [...read.values()].map((board) => board.tls),
      ['required', 'off'],
    );
  });

  test('has for each board whom it allows, in the same spellings', () => {
    const board = (allow: string) =>
      sound(`images: { noble: { file: a } }\nboards: { node1: { serial: 1, image: noble, allow: ${allow} } }`).boards;
    const allowed = (allow: string) => board(allow).get('node1')?.allow?.map(subnetText);
    assert.deepEqual(allowed('10.0.0.7'), ['10.0.0.7']);
    assert.deepEqual(allowed('[10.0.0.0/8, "::ffff:192.168.1.7"]'), ['10.0.0.0/8', '192.168.1.7']);
  });

  test('allows 256 networks and no more', () => {
    const list = (count: number) => Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
    assert.equal(sound(`server: { allow: [${list(256)}] }`).server.allow.length, 256);
    const verdict = parseInventory(`server: { allow: [${list(257)}] }`, 'config.yaml');
    assert.ok(verdict.answer === 'faults');
    assert.deepEqual(
      verdict.faults.map(({ problem }) => problem),
      ['this list has 257 entries, and 256 are the most'],
    );
  });

  test('takes one interface or several', () => {
    assert.deepEqual(sound('server: { interface: eth0 }').server.interfaces, ['eth0']);
    assert.deepEqual(sound('server: { interface: [eth0, enp3s0.20] }').server.interfaces, ['eth0', 'enp3s0.20']);
  });

  test('takes one address or one for each interface', () => {
    assert.deepEqual(sound('server: { address: 10.0.0.1 }').server.address, { kind: 'one', address: '10.0.0.1' });
    assert.deepEqual(sound('server: { address: { eth0: 10.0.0.1 } }').server.address, {
      kind: 'byInterface',
      addresses: new Map([['eth0', '10.0.0.1']]),
    });
  });

  test('may listen for HTTP on IPv6', () => assert.equal(sound('http: { address: "::" }').http.address, '::'));

  test('may be JSON', () => assert.equal(sound('{"nbd": {"port": 10810}}').nbd.port, 10810));

  test('may have a byte order mark and line ends of Windows', () => {
    assert.deepEqual(sound(`\ufeff${TWO_BOARDS.replaceAll('\n', '\r\n')}`), sound(TWO_BOARDS));
  });

  test('may name a board after anything that JavaScript objects know', () => {
    const { boards } = sound('images: { a: { file: a } }\nboards: { constructor: { serial: 1, image: a } }');
    assert.deepEqual([...boards.keys()], ['constructor']);
  });

  test('keeps its boards in the order of the file, even where the names are numbers', () => {
    const yaml =
      'images: { x: { file: x }, y: { file: y } }\nboards: { 10: { serial: 1, image: x }, 2: { serial: 2, image: y } }';
    assert.deepEqual([...sound(yaml).boards.keys()], ['10', '2']);
  });

  test('may repeat a value by an alias', () => {
    assert.equal(sound('tftp: { port: &port 6767 }\nnbd: { port: *port }').nbd.port, 6767);
    const changes = 'cmdline: &quietly { remove: [quiet] }';
    const yaml = `images: { a: { file: a }, b: { file: b } }
boards:
  node1: { serial: 1, image: a, ${changes} }
  node2: { serial: 2, image: b, cmdline: *quietly }`;
    assert.deepEqual(sound(yaml).boards.get('node2')?.cmdline, { append: '', remove: ['quiet'] });
  });

  test('lets services share a port where one of them is off, or the protocol differs', () => {
    sound('dhcp: { enabled: false, port: 69 }');
    sound('nbd: { port: 69 }');
  });

  test('takes arguments as they stand, without the white space around them', () => {
    const yaml = `${TWO_BOARDS.replace('image: noble', 'image: noble\n    cmdline:\n      append: |\n        console=ttyS0,115200 rootwait\n')}`;
    assert.deepEqual(sound(yaml).boards.get('node1')?.cmdline, { append: 'console=ttyS0,115200 rootwait', remove: [] });
  });
});

describe('serials are the text of the file, whatever YAML would make of it', () => {
  const spelled: Readonly<Record<string, string>> = {
    bf9fed6f: 'bf9fed6f',
    BF9FED6F: 'bf9fed6f',
    '10000000': '10000000',
    '1e7': '000001e7',
    '0123': '00000123',
    '1': '00000001',
    '0': '00000000',
    '10000000bf9fed6f': 'bf9fed6f',
    '00e00000': '00e00000',
    '"1e7"': '000001e7',
    "'0123'": '00000123',
    '>-\n      1e7': '000001e7',
    'bad # a comment': '00000bad',
  };
  for (const [text, serial] of Object.entries(spelled)) {
    test(JSON.stringify(text), () => {
      const { boards } = sound(`images: { x: { file: x } }\nboards:\n  node1:\n    image: x\n    serial: ${text}\n`);
      assert.equal(boards.get('node1')?.serial, serial);
    });
  }

  test('a MAC that looks like a number to base 60 stays one', () => {
    const yaml = 'images: { x: { file: x } }\nboards: { node1: { image: x, serial: 1, mac: 12:34:56:01:02:03 } }';
    assert.equal(sound(yaml).boards.get('node1')?.mac, '12:34:56:01:02:03');
  });
});

describe('quotes', () => {
  test('make no difference', () => {
    assert.deepEqual(
      sound('tftp: { port: "6969", single_port: \'true\' }').tftp,
      sound('tftp: { port: 6969, single_port: true }').tftp,
    );
  });
});

describe('a later stage', () => {
  test('reports with the place of a value', () => {
    const { source } = checked(TWO_BOARDS);
    const complaint = { problem: 'partition 5 is not there', remedy: 'look with `fdisk -l`' };
    assert.equal(
      renderFault(source.faultAt(['images', 'trixie', 'root_partition'], complaint)),
      [
        'config.yaml:8:21: partition 5 is not there',
        '    8 |     root_partition: 5',
        '      |                     ^',
        '      = look with `fdisk -l`',
        '',
      ].join('\n'),
    );
  });

  test('reports a default at the nearest thing above it', () => {
    const { source } = checked(TWO_BOARDS);
    const complaint = { problem: 'no partition holds a FAT', remedy: 'is it an image of a Pi?' };
    const fault = source.faultAt(['images', 'noble', 'boot_partition'], complaint);
    assert.deepEqual(fault.at, { line: 3, column: 3, text: 'noble', sourceLine: '  noble:' });
  });

  test('finds the control socket in the state folder', () => {
    assert.equal(controlSocketPath(sound('dhcp: {}', '/srv/config.yaml').server.state), '/srv/state/control.sock');
  });
});

function checked(yaml: string, file = 'config.yaml'): { inventory: Inventory; source: InventorySource } {
  const verdict = parseInventory(yaml, file);
  if (verdict.answer === 'faults')
    throw new assert.AssertionError({ message: verdict.faults.map(renderFault).join('\n') });
  return verdict;
}

function sound(yaml: string, file?: string): Inventory {
  return checked(yaml, file).inventory;
}

test('the state folder of a faulty file is found as far as it can be, so that its server can be', () => {
  const stateIn = (yaml: string) => {
    const verdict = parseInventory(yaml, '/srv/config.yaml');
    return verdict.answer === 'faults' ? verdict.state : 'no faults';
  };
  assert.equal(stateIn('server: { state: ./elsewhere }\nbords: {}'), '/srv/elsewhere');
  assert.equal(stateIn('bords: {}'), '/srv/state');
  assert.equal(stateIn('server: { state: [] }'), undefined);
  // No YAML: the parser has lost it, and the line can mean nothing else.
  const open = 'images: { a: { file: "a.img } }\nserver:\n';
  assert.equal(stateIn(`${open}  state: /var/lib/bramble  # here\n`), '/var/lib/bramble');
  assert.equal(stateIn(`${open}  state: a\n  state: b\n`), '/srv/state');
  assert.equal(stateIn(`${open}  state: 'quoted'\n`), '/srv/state');
});
