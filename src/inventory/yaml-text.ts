import { Composer, type CST, type Document, Lexer, Parser, YAMLParseError } from 'yaml';
import { INVENTORY_DEPTH_MAX } from '../base/limits.js';

export type YamlVerdict =
  | { readonly answer: 'document'; readonly document: Document.Parsed; readonly errors: readonly YAMLParseError[] }
  /** Offset of where it goes too deep. */
  | { readonly answer: 'tooDeep'; readonly offset: number };

/**
 * What the library's `parseDocument` does, with an eye on the nesting. Its parser and its composer recurse, and 100,000
 * opening brackets would end the process: V8 gives up, beyond any catch, when it has to compile a regular expression on a
 * stack that is all but used up (seen with Node 20).
 */
export function readYaml(text: string): YamlVerdict {
  const parser = new Parser();
  const tokens: CST.Token[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.length > STACK_MAX) return { answer: 'tooDeep', offset: parser.offset - lexeme.length };
  }
  tokens.push(...parser.end());
  const offset = tooDeepAt(tokens);
  return offset === undefined ? compose(tokens, text) : { answer: 'tooDeep', offset };
}

/** The document below, a scalar on top. */
const STACK_MAX = INVENTORY_DEPTH_MAX + 2;

function compose(tokens: readonly CST.Token[], text: string): YamlVerdict {
  // failsafe: no types, each scalar is its text. uniqueKeys: our own check names both places, and theirs takes quadratic time.
  const composer = new Composer({ schema: 'failsafe', uniqueKeys: false, prettyErrors: false });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (document === undefined) throw new Error('the composer gives a document even of an empty text');
  return { answer: 'document', document, errors: [...document.errors, ...severalDocuments(second)] };
}

function severalDocuments(second: Document.Parsed | undefined): readonly YAMLParseError[] {
  if (second === undefined) return [];
  const [start, end] = second.range;
  return [new YAMLParseError([start, end], 'MULTIPLE_DOCS', 'several documents')];
}

/** After a mistake the parser may put a finished collection into another one, so the tokens can be deeper than its stack ever was. */
function tooDeepAt(tokens: readonly CST.Token[]): number | undefined {
  let level = tokens;
  for (let depth = 0; depth <= STACK_MAX; depth++) level = level.flatMap(childrenOf);
  return level[0]?.offset;
}

function childrenOf(token: CST.Token): readonly CST.Token[] {
  if (token.type === 'document') return token.value === undefined ? [] : [token.value];
  if (!('items' in token)) return [];
  return token.items.flatMap(({ key, value }) => [key, value]).filter((child) => child !== undefined && child !== null);
}
