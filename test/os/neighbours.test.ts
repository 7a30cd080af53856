import assert from 'node:assert/strict';
import { test } from 'node:test';
import { macInArpTable, neighbourMac } from '../../src/os/neighbours.js';

// As Linux 6.1 prints /proc/net/arp.
const TABLE = `IP address       HW type     Flags       HW address            Mask     Device
192.168.1.50     0x1         0x2         DC:a6:32:01:02:03     *        eth0
192.168.1.51     0x1         0x0         00:00:00:00:00:00     *        eth0
`;

test('the neighbour table gives the MAC of a complete entry', () => {
  assert.equal(macInArpTable(TABLE, '192.168.1.50'), 'dc:a6:32:01:02:03');
  assert.equal(macInArpTable(TABLE, '192.168.1.51'), undefined);
  assert.equal(macInArpTable(TABLE, '192.168.1.5'), undefined);
  assert.equal(neighbourMac('127.0.0.1'), undefined);
});
