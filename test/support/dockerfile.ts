/** One instruction of a Dockerfile, on one line. */
export interface Instruction {
  readonly word: string;
  readonly rest: string;
}

/** What follows one FROM. */
export interface Stage {
  readonly base: string;
  readonly name: string;
  readonly instructions: readonly Instruction[];
}

/** As much of the Dockerfile language as ours uses: comments, lines that go on, stages. */
export function parseDockerfile(text: string): readonly Stage[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
  const stages: { base: string; name: string; instructions: Instruction[] }[] = [];
  for (const line of lines) {
    const [, word = '', rest = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    if (word === '') throw new Error(`not understood: ${line}`);
    const [base = '', , name = ''] = rest.split(' ');
    if (word === 'FROM') stages.push({ base, name, instructions: [] });
    else stages.at(-1)?.instructions.push({ word, rest });
  }
  return stages;
}

/** The last one counts, as for Docker. */
export function lastOf(stage: Stage, word: string): string {
  return stage.instructions.filter((instruction) => instruction.word === word).at(-1)?.rest ?? '';
}

/** `["a", "b"]` of ENTRYPOINT, CMD, HEALTHCHECK. */
export function words(execForm: string): readonly string[] {
  const parsed: unknown = JSON.parse(execForm.slice(execForm.indexOf('[')));
  if (!Array.isArray(parsed)) throw new Error(`no list of words: ${execForm}`);
  return parsed.map(String);
}

/** What a COPY copies, and where to. */
export interface Copy {
  /** A stage, or undefined for the build's context. */
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

export function copyOf({ rest }: Instruction): Copy {
  const [, from, paths = ''] = /^(?:--from=(\S+) +)?(.*)$/.exec(rest) ?? [];
  const parts = paths.split(/ +/);
  return { from, sources: parts.slice(0, -1), target: parts.at(-1) ?? '' };
}
