import yargs, { type Argv } from 'yargs';
import { FORMATS } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { conversionOptions, type ConversionArguments } from './options.js';
import { errorText, EXIT } from './exit.js';

/** yargs takes a `-` of its own for an option; no argument can hold a NUL, so this one stands in for it. */
const STDIO = '\0-';

function dashed(operand = ''): string {
  return operand.replaceAll(STDIO, '-');
}

function conversionArguments(argv: unknown): ConversionArguments {
  const args = argv as ConversionArguments;
  return args.imagesFile === undefined ? args : { ...args, imagesFile: args.imagesFile.map(dashed) };
}

/** yargs explains over several lines; a message of ours is one. */
function usageText(message: string): string {
  return message.replace(/\s*\n\s*/g, ' ').trim();
}

const NOTES = [
  ['$0 dir2reg sync ./store', 'a skopeo sync tree into the storage of a registry'],
  ['$0 tar2reg images.tar ./store', 'what docker save wrote into the storage of a registry'],
  ['$0 reg2tar ./store - "demo/*:1.*" | docker load', 'some images of a store into an engine'],
] as const;

/** Parses a command line and runs its command. Settles with the exit status, never rejects. */
export async function run(args: readonly string[], version: string): Promise<number> {
  let status = 0;
  const parser = yargs(args.map((arg) => (arg === '-' ? STDIO : arg)))
    .scriptName('imgconv')
    .usage('imgconv converts container images between the forms in which they are kept\n\n$0 <command> …')
    .parserConfiguration({ 'parse-numbers': false, 'parse-positional-numbers': false, 'dot-notation': false })
    .option('debug', { type: 'boolean', describe: 'show where in the program an error arose', global: true })
    .exitProcess(false)
    .strict()
    .recommendCommands()
    .demandCommand(1, 'say what to do: a command is missing')
    .version(version)
    .help()
    .alias('h', 'help')
    .wrap(Math.min(110, process.stdout.columns || 110))
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined && error.name !== 'YError') throw error;
      throw new ImgconvError('USAGE', usageText(message ?? error?.message ?? 'wrong usage'), {
        hint: 'imgconv --help lists commands and options',
      });
    });
  for (const from of FORMATS) {
    for (const to of FORMATS) {
      const again = from.operand === to.operand ? '2' : '';
      parser.command(
        `${from.short}2${to.short} <${from.operand}> <${to.operand}${again}> [REF..]`,
        `${from.prefix}: to ${to.prefix}:`,
        (y: Argv) => conversionOptions(y, to),
        async (argv) => {
          const { convertCommand } = await import('./convert.js');
          const operands = argv as unknown as Record<string, string>;
          const source = { format: from, path: dashed(operands[from.operand]) };
          const target = { format: to, path: dashed(operands[`${to.operand}${again}`]) };
          status = await convertCommand(source, target, conversionArguments(argv));
        },
      );
    }
  }
  parser
    .command(
      'copy <SRC> <DST> [REF..]',
      'between any two formats, each path with its prefix',
      (y: Argv) => conversionOptions(y),
      async (argv) => {
        const [{ convertCommand }, { parsePlace }] = await Promise.all([
          import('./convert.js'),
          import('../formats/table.js'),
        ]);
        const { SRC, DST } = argv as unknown as { SRC: string; DST: string };
        status = await convertCommand(parsePlace(SRC), parsePlace(DST), conversionArguments(argv));
      },
    )
    .command(
      'ls <SRC> [REF..]',
      'list the images of a place',
      (y: Argv) => y.option('json', { type: 'boolean', describe: 'machine-readable' }),
      async (argv) => {
        const { lsCommand } = await import('./ls.js');
        const { SRC, REF, json } = argv as unknown as { SRC: string; REF?: string[]; json?: boolean };
        status = await lsCommand(dashed(SRC), REF ?? [], json ?? false);
      },
    )
    .command(
      'inspect <SRC> [REF]',
      "show an image's manifests and configs as JSON",
      (y: Argv) => y,
      async (argv) => {
        const { inspectCommand } = await import('./ls.js');
        const { SRC, REF } = argv as unknown as { SRC: string; REF?: string };
        status = await inspectCommand(dashed(SRC), REF);
      },
    )
    .epilogue(`Prefixes: ${FORMATS.map(({ prefix, title }) => `${prefix}: ${title}`).join('; ')}.`);
  for (const [example, what] of NOTES) parser.example(example, what);
  try {
    await parser.parseAsync();
    return status;
  } catch (error) {
    const known = asImgconvError(error);
    process.stderr.write(`imgconv: ${errorText(known)}`);
    if (args.includes('--debug'))
      process.stderr.write(
        `${known.code}: ${(known.cause as Error | undefined)?.stack ?? known.stack ?? ''}\n`,
      );
    return EXIT[known.code];
  }
}
