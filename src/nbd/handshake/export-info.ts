import { NBD_PAYLOAD_BYTES_MAX } from '../../base/limits.js';
import { Info, TransmissionFlag } from '../wire/constants.js';
import type { ExportFacts, InfoReply } from '../wire/handshake-wire.js';
import type { Agreement } from './agreement.js';

/** What is served, as far as negotiation cares. */
export interface Export {
  readonly name: string;
  readonly sizeBytes: number;
  /** For people: whose disk it is, and of what. */
  readonly description: string;
  /** Whether it lies on a spinning disk. */
  readonly rotational: boolean;
}

/** What every export can do (proto.md, "Transmission flags"). One device serves all connections, so CAN_MULTI_CONN holds. */
const ALWAYS =
  TransmissionFlag.HasFlags |
  TransmissionFlag.SendFlush |
  TransmissionFlag.SendFua |
  TransmissionFlag.SendTrim |
  TransmissionFlag.SendWriteZeroes |
  TransmissionFlag.SendFastZero |
  TransmissionFlag.SendCache |
  TransmissionFlag.CanMultiConn;

export function exportFacts(found: Export, agreement: Agreement): ExportFacts {
  // Told only where replies come in chunks: proto.md says "MUST leave this flag clear" otherwise.
  const unfragmented = agreement.replies === 'simple' ? 0 : TransmissionFlag.SendDf;
  const rotational = found.rotational ? TransmissionFlag.Rotational : 0;
  return { sizeBytes: BigInt(found.sizeBytes), transmissionFlags: ALWAYS | unfragmented | rotational };
}

/** INFO_EXPORT always; the rest only to who asked (nbd-client prints a warning over what it did not ask for). */
export function exportInfos(
  found: Export,
  agreement: Agreement,
  asked: readonly number[],
): readonly Exclude<InfoReply, { readonly kind: 'unknown' }>[] {
  const infos: Exclude<InfoReply, { readonly kind: 'unknown' }>[] = [
    { kind: 'export', ...exportFacts(found, agreement) },
  ];
  if (asked.includes(Info.Name)) infos.push({ kind: 'name', exportName: found.name });
  if (asked.includes(Info.Description)) infos.push({ kind: 'description', description: found.description });
  if (asked.includes(Info.BlockSize)) {
    infos.push({ kind: 'blockSize', minimum: 1, preferred: 4096, maximumPayload: NBD_PAYLOAD_BYTES_MAX });
  }
  return infos;
}
