import { once } from 'node:events';
import type { FastifyInstance } from 'fastify';
import { COPY_PARTS_TOLD, DISK_COMMAND_BYTES_MAX } from '../base/limits.js';
import { printableJson } from '../base/printable.js';
import type { DiskCommands } from '../boards/disks/disk-commands.js';

interface Of<Body> {
  readonly Params: { readonly name: string };
  readonly Body: Body;
}

interface Snapshot {
  readonly snapshot: string;
}

interface Forced {
  readonly force: boolean;
}

const SNAPSHOT = { snapshot: { type: 'string' } } as const;
const FORCE = { force: { type: 'boolean' } } as const;

/** What an operator has done with boards' disks: on the control socket and nowhere else. Each answers a CommandVerdict. */
export function addDiskRoutes(server: FastifyInstance, disks: DiskCommands): void {
  const taking = (properties: Readonly<Record<string, object>>) => ({
    bodyLimit: DISK_COMMAND_BYTES_MAX,
    schema: { body: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false } },
  });
  server.post<Of<Snapshot>>('/api/boards/:name/snapshot', taking(SNAPSHOT), ({ params, body }) =>
    disks.snapshot(params.name, body.snapshot),
  );
  server.post<Of<Snapshot & Forced>>(
    '/api/boards/:name/rollback',
    taking({ ...SNAPSHOT, ...FORCE }),
    ({ params, body }) => disks.rollback(params.name, body.snapshot, body),
  );
  server.post<Of<Forced>>('/api/boards/:name/reset', taking(FORCE), ({ params, body }) =>
    disks.reset(params.name, body),
  );
  server.post<Of<Snapshot & Forced>>('/api/boards/:name/drop', taking({ ...SNAPSHOT, ...FORCE }), ({ params, body }) =>
    disks.drop(params.name, body.snapshot, body),
  );
  addPromotion(server, disks, taking({ file: { type: 'string' } }));
}

/**
 * Answers in lines of JSON: how far it is, again and again, and at last what came of it. Who goes away ends the copy, so that nobody
 * has to say it who can't any more.
 */
function addPromotion(server: FastifyInstance, disks: DiskCommands, options: object): void {
  server.post<Of<{ readonly file: string }>>('/api/boards/:name/promote', options, async ({ params, body }, reply) => {
    reply.hijack();
    const { raw } = reply;
    const gone = new AbortController();
    raw.once('close', () => gone.abort());
    raw.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8' });
    const tell = (line: object) => raw.write(`${printableJson(JSON.stringify(line))}\n`);
    let toldParts = -1;
    const progress = (doneBytes: number, ofBytes: number) => {
      const parts = Math.floor((COPY_PARTS_TOLD * doneBytes) / Math.max(1, ofBytes));
      if (parts === toldParts || raw.writableNeedDrain || gone.signal.aborted) return;
      toldParts = parts;
      tell({ doneBytes, ofBytes });
    };
    const verdict = await disks.promote(params.name, body.file, { progress, signal: gone.signal });
    if (gone.signal.aborted) return;
    tell(verdict);
    raw.end();
    await once(raw, 'close');
  });
}
