// Who gets in over TLS, and as whom.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { silentMeter } from '../../../src/nbd/meter.js';
import { Option, OptionReply } from '../../../src/nbd/wire/constants.js';
import { encodeExportRequest, encodeOption } from '../../../src/nbd/wire/handshake-wire.js';
import { Authority, type CertificateFacts, pemOf } from '../../support/certificates.js';
import { until } from '../../support/commands.js';
import { without } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';
import { KEY, serveTls, type TlsWorld, type TlsWorldOptions, trusting } from '../../support/tls-world.js';

const skip = without('openssl', 'openssl');
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

/** The names of the boards that this client is shown; or, where it does not get in, what the log says of it. */
async function seen({ begun, lines, ca }: TlsWorld, options: ConnectionOptions): Promise<readonly string[] | string> {
  const saidBefore = failures(lines).length;
  const raw = await begun();
  try {
    const secured = await raw.overTls({ ...trusting(ca), ...options });
    assert.ok(['TLSv1.2', 'TLSv1.3'].includes(secured.getProtocol() ?? ''));
    const names = await raw.listed();
    if (names !== undefined) return names;
  } catch (error) {
    // Node's client looks at the server's certificate when the handshake is over, and tells the server nothing.
    if (error instanceof Error && 'code' in error && UNTRUSTED.includes(String(error.code))) return String(error.code);
  }
  await until(() => failures(lines).length > saidBefore, 'a line in the log', 5_000);
  raw.destroy();
  return failures(lines).at(-1) ?? '';
}

function failures(lines: TlsWorld['lines']): readonly string[] {
  return lines.flatMap(({ event, because }) => (event === 'nbd.tls.failed' ? [String(because)] : []));
}

function pskClient(identity: string, psk: Uint8Array = KEY): ConnectionOptions {
  return { pskCallback: () => ({ identity, psk: Buffer.from(psk) }), ciphers: PSK_CIPHERS, checkServerIdentity };
}

const PSK_CIPHERS = 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305';
const checkServerIdentity = () => undefined;

const UNTRUSTED = ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'SELF_SIGNED_CERT_IN_CHAIN'];
const BOTH = ['node1', 'node2'];

for (const version of VERSIONS) {
  const only: ConnectionOptions = { minVersion: version, maxVersion: version };

  describe(`by ${version}, to a server with`, { skip }, () => {
    test('a certificate and nothing else comes who trusts it, and is asked for nothing', async (context) => {
      const world = await serveTls(context);
      assert.deepEqual(await seen(world, only), BOTH);
      const other = new Authority(scratchFolder(context), 'other');
      assert.ok(UNTRUSTED.includes(String(await seen(world, { ...only, ...trusting(other) }))));
    });

    test('a CA for clients comes who shows a certificate of it, and as whom that names', async (context) => {
      const world = await serveTls(context, { with: ['certificate', 'clientCa'] });
      const shown = (facts: CertificateFacts, ca = world.ca) => seen(world, { ...only, ...pemOf(ca.issue(facts)) });
      assert.deepEqual(await shown({ subject: '/CN=node1' }), ['node1']);
      assert.deepEqual(await shown({ subject: '/CN=nobody' }), []);
      assert.equal(await seen(world, only), 'it showed no certificate');
      const stranger = new Authority(scratchFolder(context), 'other');
      assert.equal(await shown({ subject: '/CN=node1' }, stranger), 'its certificate was not issued by `client_ca`');
      assert.equal(await shown({ subject: '/CN=node1', days: -1 }), 'its certificate has expired');
      assert.equal(await shown({ subject: '/CN=node1', purpose: 'serverAuth' }), 'its certificate is not for clients');
    });

    test('a CA for clients says each reason of a client loudly once, so that who mends one is told the next', async (context) => {
      const world = await serveTls(context, { with: ['certificate', 'clientCa'] });
      const expired = pemOf(world.ca.issue({ subject: '/CN=node1', days: -1 }));
      for (const options of [{}, {}, expired, {}, expired]) await seen(world, { ...only, ...options });
      assert.equal(failures(world.lines).length, 5);
      assert.deepEqual(failures(world.warnings), ['it showed no certificate', 'its certificate has expired']);
    });

    test('keys comes who has one, as the board of that name', async (context) => {
      const world = await serveTls(context, { with: ['psk'] });
      assert.deepEqual(await seen(world, { ...only, ...pskClient('node1') }), ['node1']);
      assert.match(String(await seen(world, { ...only, ...pskClient('node2') })), /identity is not in `psk`/);
      const wrong = Buffer.from(KEY).reverse();
      assert.equal(await seen(world, { ...only, ...pskClient('node1', wrong) }), 'its key is not the one in `psk`');
      assert.match(String(await seen(world, only)), /^it came without a key/);
    });

    test('both comes either way, and nobody who shows neither, whatever he calls himself', async (context) => {
      const world = await serveTls(context, { with: ['certificate', 'clientCa', 'psk'] });
      assert.deepEqual(await seen(world, { ...only, ...pskClient('node1') }), ['node1']);
      assert.deepEqual(await seen(world, { ...only, ...pemOf(world.ca.issue({ subject: '/CN=node2' })) }), ['node2']);
      assert.equal(await seen(world, only), 'it showed no certificate');
      for (const ciphers of [
        PSK_CIPHERS,
        'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384',
        `${PSK_CIPHERS}:ALL`,
      ]) {
        const liar = { ...only, ...pskClient('node1', Buffer.alloc(16)), ciphers };
        assert.equal(typeof (await seen(world, liar)), 'string', ciphers);
      }
    });

    test('a certificate for itself and keys for clients lets nobody in who has no key', async (context) => {
      const world = await serveTls(context, { with: ['certificate', 'psk'] });
      assert.deepEqual(await seen(world, { ...only, ...pskClient('node1') }), ['node1']);
      assert.equal(await seen(world, only), 'it did not show who it is');
      const passedOver = { ...only, ...pskClient('node1', Buffer.alloc(16)) };
      for (const ciphers of ['ALL', 'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES128-GCM-SHA256']) {
        assert.equal(typeof (await seen(world, { ...passedOver, ciphers })), 'string', ciphers);
      }
    });

    test('a CA for clients no session is resumed: each connection shows a certificate', async (context) => {
      const world = await serveTls(context, { with: ['certificate', 'clientCa'] });
      const shown = pemOf(world.ca.issue({ subject: '/CN=node1' }));
      const raw = await world.begun();
      const sessions: Buffer[] = [];
      const secured = await raw.overTls({ ...trusting(world.ca), ...only, ...shown });
      secured.on('session', (session) => void sessions.push(session));
      await raw.listed();
      const session = sessions.at(-1) ?? secured.getSession();
      assert.ok(session !== undefined);
      assert.equal(typeof (await seen(world, { ...only, session })), 'string');
    });
  });
}

describe('a client certificate', { skip }, () => {
  test('names a board by its CN, a dNSName or a URI, each whole, and by nothing that looks like one', async (context) => {
    const world = await serveTls(context, { with: ['certificate', 'clientCa'] });
    type Names = NonNullable<CertificateFacts['alternativeNames']>;
    const names = (subject: string, ...alternativeNames: Names) =>
      seen(world, pemOf(world.ca.issue(alternativeNames.length === 0 ? { subject } : { subject, alternativeNames })));
    assert.deepEqual(await names('/O=farm/CN=node2'), ['node2']);
    assert.deepEqual(await names('/CN=x', ['DNS', 'node1'], ['DNS', 'node2']), BOTH);
    assert.deepEqual(await names('/CN=node2', ['DNS', 'node1']), BOTH);
    assert.deepEqual(await names('/CN=x', ['email', 'a@b'], ['URI', 'node2']), ['node2']);
    const others: readonly (readonly [string, ...Names])[] = [
      ['/CN=*', ['DNS', '*']],
      ['/CN=node', ['DNS', 'node1.local'], ['DNS', '*.node1'], ['DNS', 'xnode1']],
      ['/CN=x, CN=node1', ['email', 'node1@farm']],
      ['/O=node1/OU=node2/CN=x', ['URI', 'spiffe://farm/node1'], ['URI', '*']],
      ['/CN=x', ['URI', 'x, URI:node1']],
      ['/CN=x', ['URI', 'x", URI:node1']],
      ['/CN=x', ['URI', '", URI:node1, URI:"']],
      ['/CN=x', ['DNS', 'x, URI:node1'], ['email', 'x, URI:node1']],
      ['/CN=x\nCN=node1', ['URI', 'x\\", URI:node1']],
    ];
    for (const [subject, ...alternativeNames] of others) {
      assert.deepEqual(await names(subject, ...alternativeNames), [], `${subject} ${alternativeNames}`);
    }
  });

  test('is told of in the log: whose it is, and of whom it was refused', async (context) => {
    const world = await serveTls(context, { with: ['certificate', 'clientCa'] });
    const raw = await world.begun();
    await raw.overTls({ ...trusting(world.ca), ...pemOf(world.ca.issue({ subject: '/O=farm\u001b[2J/CN=node2' })) });
    await raw.send(encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] })));
    assert.equal((await raw.optionReply())?.reply, OptionReply.ErrPolicy);
    const refused = world.lines.find(({ event }) => event === 'nbd.disk.refused');
    assert.match(String(refused?.['because']), /^not for the certificate of [\x20-\x7e]*CN=node2$/);
    const [event] = world.events;
    assert.ok(event?.kind === 'refused' && event.reason === 'identity' && event.board === 'node1');
    const other = await world.begun();
    await other.overTls({ ...trusting(world.ca), ...pemOf(world.ca.issue({ subject: '/CN=node2' })) });
    await other.gone('node2');
    const attached = world.lines.find(({ event: said }) => said === 'nbd.disk.attached');
    assert.equal(attached?.['tls'], 'the certificate of CN=node2');
  });
});

describe('a handshake that fails', { skip }, () => {
  test('is a warning once for each peer, is counted each time, and harms nobody else', async (context) => {
    let failed = 0;
    const meter = {
      ...silentMeter,
      tlsFailed() {
        failed += 1;
      },
    };
    const warned: unknown[] = [];
    const log = {
      debug() {},
      info() {},
      error() {},
      warn: (facts: object, event: string) => void warned.push([event, facts]),
    };
    const world = await serveTls(context, { server: { meter, log } });
    const peer = await world.begun();
    await peer.overTls(trusting(world.ca));
    for (let count = 0; count < 5; count += 1) {
      const raw = await world.begun();
      await raw.tlsPromised();
      await raw.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await raw.ended();
      await until(() => failed === count + 1, 'it to be counted');
    }
    assert.deepEqual(warned, [['nbd.tls.failed', { peer: '127.0.0.1', because: 'what it sent is not TLS' }]]);
    assert.deepEqual(await peer.listed(), BOTH);
  });

  test('for a version before 1.2 says so', async (context) => {
    const options: TlsWorldOptions = { with: ['certificate'] };
    const world = await serveTls(context, options);
    const old: ConnectionOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' };
    assert.equal(await seen(world, old), 'it knows no TLS 1.2 or later');
  });
});
