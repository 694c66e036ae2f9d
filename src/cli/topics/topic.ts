/** A help topic, which `imgconv help NAME` prints and the man page holds. */
export interface Topic {
  /** What it tells, in a few words; without a full stop. */
  readonly summary: string;
  /**
   * Plain text. `# ` begins a heading, `- ` an item, `TERM :: ` an explanation; their further lines begin with two
   * spaces. Lines with four spaces are an example. Other lines are paragraphs, with an empty line between them.
   * The tests run an example that begins with `$ `, as CONTRIBUTING.md tells.
   */
  readonly text: string;
}

/** A part of a topic. Texts are on one line, to be wrapped. */
export type Block =
  | { readonly kind: 'heading' | 'paragraph' | 'item'; readonly text: string }
  | { readonly kind: 'term'; readonly term: string; readonly text: string }
  | { readonly kind: 'example'; readonly lines: readonly string[] };

/** The parts of a topic's text, in their order. */
export function parseTopic(text: string): Block[] {
  const blocks: Block[] = [];
  let last: Block | undefined;
  for (const line of text.trim().split('\n')) {
    if (line === '') {
      last = undefined;
      continue;
    }
    last = goneOn(last, line);
    if (last === undefined) blocks.push((last = begun(line)));
    else blocks[blocks.length - 1] = last;
  }
  return blocks;
}

/** `last` with this line; undefined when the line begins a new block. */
function goneOn(last: Block | undefined, line: string): Block | undefined {
  if (last?.kind === 'example') return line.startsWith(INDENT) ? withLine(last.lines, line) : undefined;
  if (last === undefined || last.kind === 'heading' || MARK.test(line)) return undefined;
  if (last.kind !== 'paragraph' && !line.startsWith('  ')) return undefined;
  return { ...last, text: `${last.text} ${line.trim()}` };
}

const INDENT = '    ';
const MARK = /^(?:# |- | {4}|\S.* :: )/;

function begun(line: string): Block {
  if (line.startsWith(INDENT)) return withLine([], line);
  if (line.startsWith('# ')) return { kind: 'heading', text: line.slice(2) };
  if (line.startsWith('- ')) return { kind: 'item', text: line.slice(2) };
  const [, term, text] = /^(\S.*?) :: (.*)$/.exec(line) ?? [];
  if (term !== undefined && text !== undefined) return { kind: 'term', term, text };
  return { kind: 'paragraph', text: line };
}

function withLine(lines: readonly string[], line: string): Block {
  return { kind: 'example', lines: [...lines, line.slice(INDENT.length)] };
}
