import { nearest } from '../model/nearest.js';
import type { Command } from './syntax.js';
import { TOPICS } from './topics/table.js';
import { parseTopic, type Block } from './topics/topic.js';
import { usage } from './usage.js';

const WIDEST = 100;

/**
 * What `imgconv help WORD` prints when WORD is a topic; undefined when it is a command.
 * @throws ImgconvError USAGE for any other word, with the nearest of both
 */
export async function topicHelp(word: string, commands: readonly Command[]): Promise<string | undefined> {
  if (word === 'topics') return listText();
  if (Object.hasOwn(TOPICS, word)) return topicText(word);
  const names = commands.map(({ name }) => name);
  if (names.includes(word)) return undefined;
  const near = nearest(word, [...names, ...Object.keys(TOPICS), 'topics']);
  const hint = 'imgconv help lists commands and topics';
  throw usage(
    `${word}: no such command or topic`,
    near === undefined ? hint : `did you mean imgconv help ${near}? ${hint}`,
  );
}

async function listText(): Promise<string> {
  const all = await Promise.all(
    Object.entries(TOPICS).map(async ([term, { load }]): Promise<Block> => {
      return { kind: 'term', term, text: (await load()).summary };
    }),
  );
  return terminalText([{ kind: 'heading', text: 'Topics (imgconv help TOPIC)' }, ...all]);
}

async function topicText(name: string): Promise<string> {
  const topic = await TOPICS[name]?.load();
  if (topic === undefined) return '';
  return `${name}: ${topic.summary}\n\n${terminalText(parseTopic(topic.text))}`;
}

/** Blocks for a terminal, at most as wide as it is; examples are never wrapped. */
function terminalText(blocks: readonly Block[]): string {
  const width = Math.min(WIDEST, process.stdout.columns || WIDEST);
  let text = '';
  for (const [i, block] of blocks.entries()) {
    const before = blocks[i - 1];
    const isClose = before?.kind === 'heading' || (before?.kind === block.kind && isListed(block));
    text += `${before === undefined || isClose ? '' : '\n'}${linesOf(block, termWidth(blocks, i), width).join('\n')}\n`;
  }
  return text.trimEnd();
}

function isListed({ kind }: Block): boolean {
  return kind === 'item' || kind === 'term';
}

function linesOf(block: Block, column: number, width: number): string[] {
  switch (block.kind) {
    case 'heading':
      return [block.text];
    case 'paragraph':
      return wrapped(block.text, width, '  ', '  ');
    case 'item':
      return wrapped(block.text, width, '  - ', '    ');
    case 'example':
      return block.lines.map((line) => `    ${line}`.trimEnd());
    case 'term': {
      const rest = ' '.repeat(column + 4);
      if (block.term.length > column) return [`  ${block.term}`, ...wrapped(block.text, width, rest, rest)];
      return wrapped(block.text, width, `  ${block.term.padEnd(column)}  `, rest);
    }
  }
}

/** Width of the terms of the list to which a block belongs; longer ones have a line of their own. */
function termWidth(blocks: readonly Block[], i: number): number {
  const isTerm = (at: number) => blocks[at]?.kind === 'term';
  let [from, to] = [i, i];
  while (isTerm(from - 1)) from--;
  while (isTerm(to)) to++;
  const lengths = blocks.slice(from, to).map((block) => (block.kind === 'term' ? block.term.length : 0));
  return Math.max(0, ...lengths.filter((length) => length <= WIDEST_TERM));
}

const WIDEST_TERM = 26;

function wrapped(text: string, width: number, first: string, rest: string): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(' ')) {
    if (!isEmpty && line.length + 1 + word.length > width) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
