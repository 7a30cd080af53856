import { endsSoon, leftText } from '../app/certificates.js';
import { shortened } from '../base/printable.js';
import type { Inventory } from '../inventory/inventory.js';
import { type DatedCertificate, servesTls, type TlsReading } from '../inventory/tls-files.js';

/** What `check` says of encryption: nothing where there is none. */
export interface TlsReport {
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

export function tlsReport(inventory: Inventory, { files, certificates, warnings }: TlsReading, today: Date): TlsReport {
  if (!servesTls(inventory)) return { lines: [], warnings };
  const { nbd, boards } = inventory;
  const others = [...boards.values()].filter(({ tls }) => tls !== nbd.tls.mode);
  const modes = [`${nbd.tls.mode}`, ...others.map(({ name, tls }) => `${name}: ${tls}`)];
  const keys = files?.psk === undefined ? [] : [`keys: ${files.psk.size} in ${nbd.tls.psk ?? ''}`];
  return {
    lines: [modes.join('; '), ...certificates.map((one) => line(one, today)), ...keys, ...whoComes(inventory)],
    warnings: [
      ...warnings,
      ...certificates.filter((one) => endsSoon(one, today)).map((one) => ending(one, today)),
      ...cannotBoot(inventory),
    ],
  };
}

function line(certificate: DatedCertificate, today: Date): string {
  const { use, file, subject, names } = certificate;
  const what = use === 'server' ? 'certificate' : 'CA of clients';
  return `${what}: ${subject}${names === '' ? '' : ` (${names})`}, for ${leftText(certificate, today)}; ${file}`;
}

function ending(certificate: DatedCertificate, today: Date): string {
  const key = certificate.use === 'server' ? 'certificate' : 'client_ca';
  return `nbd.tls.${key}: ${certificate.subject} ends in ${leftText(certificate, today)}`;
}

/** A server that asks nobody who he is lets everybody have every disk; over TLS, but so it is. */
function whoComes({ nbd }: Inventory): readonly string[] {
  if (nbd.tls.clientCa !== undefined || nbd.tls.psk !== undefined) return [];
  return ['clients are not asked who they are (client_ca, psk): whoever may connect has any disk that is free'];
}

/** The Linux kernel's client knows no TLS, and what cmdline.txt is given by us starts it in the clear. */
function cannotBoot({ boards }: Inventory): readonly string[] {
  const secret = [...boards.values()].filter(({ tls }) => tls === 'required').map(({ name }) => name);
  if (secret.length === 0) return [];
  const names = shortened(secret.join(', '), 200);
  const fail = secret.length === 1 ? 'it does not boot' : 'they do not boot';
  return [`${names}: over TLS only; with nbd-client alone ${fail} (docs/howto/nbd-over-tls.md)`];
}
