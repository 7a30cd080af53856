import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';
import { NBD_NAME_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';

/** LIST_META_CONTEXT and SET_META_CONTEXT: bytes ↔ messages (proto.md, "Option types" and `NBD_REP_META_CONTEXT`). */

/** The data of both. */
export interface MetaContextRequest {
  readonly exportName: string;
  /** `namespace:leaf`, or whatever the client took for it. */
  readonly queries: readonly string[];
}

/** The data of a REP_META_CONTEXT. */
export interface MetaContext {
  /** How BLOCK_STATUS will call it; 0 in a LIST. */
  readonly id: number;
  readonly name: string;
}

//   0             4                 4+n     8+n
//   ┌─────────────┬─────────────────┬───────┬─────────────────────────────────────┐
//   │ name length │ name[n], UTF-8  │ count │ count × (length (32), query, UTF-8) │   client
//   └─────────────┴─────────────────┴───────┴─────────────────────────────────────┘

export function encodeMetaContextRequest({ exportName, queries }: MetaContextRequest): Uint8Array {
  const writer = new ByteWriter();
  const string = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    writer.u32(bytes.length).bytes(bytes);
  };
  string(exportName);
  writer.u32(queries.length);
  for (const query of queries) string(query);
  return writer.done();
}

/** The body must be used up exactly. The number of queries is no more trusted than any other: each needs four bytes at least. */
export function decodeMetaContextRequest(body: Uint8Array): MetaContextRequest {
  const reader = new ByteReader(body);
  const string = () => {
    const lengthBytes = reader.u32();
    if (lengthBytes > NBD_NAME_BYTES_MAX) throw new Malformed(`a string of ${lengthBytes} bytes`);
    return new TextDecoder().decode(reader.bytes(lengthBytes));
  };
  const exportName = string();
  const count = reader.u32();
  if (count * 4 > reader.remaining) throw new Malformed(`${count} queries in ${reader.remaining} bytes`);
  const queries = Array.from({ length: count }, string);
  if (reader.remaining > 0) throw new Malformed(`${reader.remaining} bytes behind the last query`);
  return { exportName, queries };
}

//   0    4
//   ┌────┬────────────────────┐
//   │ id │ name, to the end   │   server
//   └────┴────────────────────┘

export function encodeMetaContext({ id, name }: MetaContext): Uint8Array {
  return new ByteWriter().u32(id).utf8(name).done();
}

export function decodeMetaContext(body: Uint8Array): MetaContext {
  const reader = new ByteReader(body);
  return { id: reader.u32(), name: new TextDecoder().decode(reader.rest()) };
}
