import { prefixOf, type Place } from '../formats/table.js';

/** Words as a shell takes them, for commands that are proposed. */
export function shellText(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}

/** The command that converts one into the other, with its operands. */
export function commandWords(from: Place, to: Place): string[] {
  const { format, path, reference } = to;
  return format.short === undefined || from.format.short === undefined || reference !== undefined
    ? ['copy', written(from), written(to)]
    : [`${from.format.short}2${format.short}`, from.path, path];
}

function written({ format, path, reference }: Place): string {
  return `${prefixOf(format)}${path}${reference === undefined ? '' : `:${reference}`}`;
}
