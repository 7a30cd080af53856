import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseNbdRoot } from '../../src/pretend/disk-stage.js';

describe('where cmdline.txt says that the root disk is', () => {
  test('with and without a port', () => {
    const rest = { device: '/dev/nbd0p2', exportName: 'node1', host: '10.0.0.1' };
    assert.deepEqual(parseNbdRoot('ip=dhcp nbdroot=10.0.0.1/node1 root=/dev/nbd0p2'), { ...rest, port: 10809 });
    assert.deepEqual(parseNbdRoot('nbdroot=10.0.0.1:2000/node1 root=/dev/nbd0p2\n'), { ...rest, port: 2000 });
  });

  test('or what is missing', () => {
    for (const [cmdline, complaint] of [
      ['root=/dev/mmcblk0p2', /no nbdroot=/],
      ['nbdroot=10.0.0.1/node1 root=LABEL=writable', /root=LABEL=writable, not a partition/],
      ['nbdroot=10.0.0.1 root=/dev/nbd0p2', /is not HOST\/NAME/],
    ] as const) {
      const answer = parseNbdRoot(cmdline);
      assert.ok(typeof answer === 'string' && complaint.test(answer), String(answer));
    }
  });
});
