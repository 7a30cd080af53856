import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  decodeMachineIdentifier,
  describePi,
  identifyPi,
  type PxeClientFacts,
  REQUESTED_BY_BOOTCODE,
  REQUESTED_BY_EEPROM,
  REQUESTED_BY_ROM,
} from '../../../src/boards/identity/pi-identity.js';

/** A PC: random xid and MAC, the list that a PC's PXE ROM asks for. */
const PC: PxeClientFacts = {
  mac: '52:54:00:12:34:56',
  xid: 0x12345678,
  machineIdentifier: bytes('00 8899aabb ccdd eeff 0011 223344556677'),
  requestedOptions: [
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128,
  ],
};

describe('option 97', () => {
  test('"RPi4": a 4B in Ubuntu’s netboot how-to', () => {
    assert.deepEqual(decodeMachineIdentifier(bytes('00 52506934 1131a000 322ef8ed 1045155b')), {
      ...{ form: 'pi', digit: 4, revisionCode: 0xa03111, macTail: '32:2e:f8:ed', serial: '5b154510' },
    });
  });

  test('"4iPR": a 4B in piPXE’s README', () => {
    assert.deepEqual(decodeMachineIdentifier(bytes('00 34695052 1431d000 010902f7 3df0cd91')), {
      ...{ form: 'pi', digit: 4, revisionCode: 0xd03114, macTail: '01:09:02:f7', serial: '91cdf03d' },
    });
  });

  test('"5iPR", and "RPi5" should it come', () => {
    for (const fourcc of ['35695052', '52506935']) {
      const identifier = decodeMachineIdentifier(bytes(`00 ${fourcc} 7041d000 cf670102 01000000`));
      assert.deepEqual(identifier, {
        ...{ form: 'pi', digit: 5, revisionCode: 0xd04170, macTail: 'cf:67:01:02', serial: '00000001' },
      });
    }
  });

  test('the serial four times: raspberrypi/firmware#1362, raspberrypi/rpi-eeprom#58', () => {
    const bootcode = decodeMachineIdentifier(bytes(`00 ${'4456efa2'.repeat(4)}`));
    assert.deepEqual(bootcode, { form: 'serialFourTimes', serial: 'a2ef5644' });
    const eeprom = decodeMachineIdentifier(bytes(`00 ${'4372ee6a'.repeat(4)}`));
    assert.deepEqual(eeprom, { form: 'serialFourTimes', serial: '6aee7243' });
  });

  test('sixteen times 44: the boot ROM', () => {
    assert.deepEqual(decodeMachineIdentifier(bytes(`00 ${'44'.repeat(16)}`)), { form: 'romBug' });
  });

  test('everything else is unknown', () => {
    const others = ['', '00', '00'.repeat(17), `00${'ff'.repeat(16)}`, `01${'44'.repeat(16)}`, '44'.repeat(16)];
    for (const other of [...others, '44'.repeat(255), `00${'44'.repeat(17)}`]) {
      assert.deepEqual(decodeMachineIdentifier(bytes(other)), { form: 'unknown' }, other);
    }
  });

  test('any bytes are one of the forms', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (any) => void decodeMachineIdentifier(any)));
    const seventeen = fc.uint8Array({ minLength: 17, maxLength: 17 });
    fc.assert(fc.property(seventeen, (any) => void identifyPi({ ...PC, machineIdentifier: any })));
  });
});

describe('identifyPi', () => {
  test('the boot ROM of a 3B, by its 44s or by its xid and what it asks for', () => {
    const by44 = identifyPi({ ...PC, machineIdentifier: bytes(`00 ${'44'.repeat(16)}`) });
    assert.equal(by44?.generation, 'rom');
    assert.equal(by44?.serial, undefined);
    const byXid = identifyPi({ ...PC, xid: 0x26f30339, requestedOptions: REQUESTED_BY_ROM });
    assert.equal(byXid?.generation, 'rom');
  });

  test('the ROM of a 3B+, which tells its serial', () => {
    const machineIdentifier = bytes(`00 ${'4456efa2'.repeat(4)}`);
    const sighting = identifyPi({ ...PC, xid: 0x26f30339, requestedOptions: REQUESTED_BY_ROM, machineIdentifier });
    assert.deepEqual([sighting?.generation, sighting?.serial], ['rom', 'a2ef5644']);
  });

  test('bootcode.bin', () => {
    const machineIdentifier = bytes(`00 ${'4456efa2'.repeat(4)}`);
    const facts = {
      mac: 'b8:27:eb:ef:56:44',
      xid: 0x26f30339,
      machineIdentifier,
      requestedOptions: REQUESTED_BY_BOOTCODE,
    };
    const sighting = identifyPi(facts);
    assert.deepEqual([sighting?.generation, sighting?.serial], ['bootcode', 'a2ef5644']);
  });

  test('a Pi 4 of before March 2020, by what it asks for or by its MAC', () => {
    const machineIdentifier = bytes(`00 ${'4372ee6a'.repeat(4)}`);
    const byList = identifyPi({ ...PC, machineIdentifier, requestedOptions: REQUESTED_BY_EEPROM });
    assert.deepEqual([byList?.generation, byList?.serial], ['eeprom', '6aee7243']);
    const byMac = identifyPi({ ...PC, machineIdentifier, mac: 'dc:a6:32:01:02:03' });
    assert.deepEqual([byMac?.generation, byMac?.serial], ['eeprom', '6aee7243']);
  });

  test('a Pi 4 and what its revision code says', () => {
    const sighting = identifyPi({
      ...{ mac: 'e4:5f:01:09:02:f7', xid: 2713259800, requestedOptions: REQUESTED_BY_EEPROM },
      machineIdentifier: bytes('00 34695052 1431d000 010902f7 3df0cd91'),
    });
    assert.ok(sighting);
    assert.deepEqual(
      [sighting.generation, sighting.serial, sighting.macTail, sighting.httpBoot],
      ['eeprom4', '91cdf03d', '01:09:02:f7', false],
    );
    assert.equal(describePi(sighting), 'Pi 4 Model B, 8 GB');
  });

  test('two betas of March 2020 left the MAC out', () => {
    const sighting = identifyPi({ ...PC, machineIdentifier: bytes('00 52506934 1131a000 00000000 1045155b') });
    assert.deepEqual([sighting?.generation, sighting?.macTail], ['eeprom4', undefined]);
  });

  test('a fourcc of the owner’s choosing (DHCP_OPTION97), where MAC and revision fit', () => {
    const machineIdentifier = bytes('00 deadbeef 7041d000 67010203 78563412');
    const sighting = identifyPi({ ...PC, mac: '2c:cf:67:01:02:03', machineIdentifier });
    assert.deepEqual([sighting?.generation, sighting?.serial], ['eeprom5', '12345678']);
    assert.equal(identifyPi({ ...PC, mac: '2c:cf:67:01:02:04', machineIdentifier }), undefined);
  });

  test('an option 97 that says nothing does not hide a Pi that asks as Pis do', () => {
    const sighting = identifyPi({ ...PC, requestedOptions: REQUESTED_BY_EEPROM });
    assert.ok(sighting);
    assert.deepEqual(
      [sighting.generation, sighting.serial, describePi(sighting)],
      ['eeprom', undefined, 'Pi 4 or later'],
    );
  });

  test('HTTP boot is told by the missing 43, and only an EEPROM can do it', () => {
    const machineIdentifier = bytes('00 35695052 7041d000 67010203 78563412');
    const requestedOptions = REQUESTED_BY_EEPROM.filter((code) => code !== 43);
    assert.equal(identifyPi({ ...PC, machineIdentifier, requestedOptions })?.httpBoot, true);
    assert.equal(identifyPi({ ...PC, machineIdentifier, requestedOptions: [] })?.httpBoot, false);
    const rom = identifyPi({ ...PC, machineIdentifier: bytes(`00 ${'44'.repeat(16)}`), requestedOptions });
    assert.equal(rom?.httpBoot, false);
  });

  test('a PC is no Pi, nor is one with a mainboard of no UUID, nor one with a Pi’s OUI alone (iPXE or U-Boot on a Pi)', () => {
    assert.equal(identifyPi(PC), undefined);
    for (const filler of ['00', 'ff']) {
      assert.equal(identifyPi({ ...PC, machineIdentifier: bytes(`00${filler.repeat(16)}`) }), undefined);
    }
    assert.equal(identifyPi({ ...PC, mac: 'dc:a6:32:01:02:03' }), undefined);
    assert.equal(identifyPi({ ...PC, machineIdentifier: bytes(`00 ${'4372ee6a'.repeat(4)}`) }), undefined);
  });
});

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}
