import yargs from 'yargs';
import { FORMATS, prefixOf } from '../formats/table.js';
import type { Command } from './commands.js';
import { GLOBAL_OPTIONS } from './syntax.js';

const EXAMPLES = [
  ['$0 dir2reg sync ./store', 'a skopeo sync tree into the storage of a registry'],
  ['$0 tar2reg images.tar ./store', 'what docker save wrote into the storage of a registry'],
  ['$0 reg2tar ./store - "demo/*:1.*" | docker load', 'some images of a store into an engine'],
] as const;

/** Help of one command, or of all, as yargs lays it out. */
export async function helpText(commands: readonly Command[], command: Command | undefined): Promise<string> {
  const parser = yargs(command === undefined ? [] : [command.name])
    .scriptName('imgconv')
    .locale('en')
    .usage('imgconv converts container images between the forms in which they are kept\n\n$0 <command> …')
    .options(GLOBAL_OPTIONS)
    .exitProcess(false)
    .version('')
    .help()
    .alias('h', 'help')
    .wrap(Math.min(110, process.stdout.columns || 110))
    .epilogue(`Prefixes: ${FORMATS.map((format) => `${prefixOf(format)} ${format.title}`).join('; ')}.`);
  for (const [example, what] of EXAMPLES) parser.example(example, what);
  for (const { name, operands, describe, options } of command === undefined ? commands : [command])
    parser.command(`${name} ${operands}`, describe, (y) => y.options(options));
  return parser.getHelp();
}
