/**
 * Stands in for `string-width` in the bundled command: yargs loads it three times to lay out help, each time with
 * the tables of all emoji, which takes as long as starting Node. Help has one column for each UTF-16 unit.
 */
export default function textWidth(text: string): number {
  return text.length;
}
