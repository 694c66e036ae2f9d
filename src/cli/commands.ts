import yargs, { type Argv } from 'yargs';
import { FORMATS } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { errorText, EXIT } from './exit.js';
import { conversionOptions, type ConversionArguments } from './options.js';

interface Command {
  readonly name: string;
  /** yargs' notation: `<needed>`, `[optional]`, `[many..]`. */
  readonly operands: string;
  readonly describe: string;
  options(y: Argv): Argv;
  /** Gives the exit status. */
  run(argv: unknown): Promise<number>;
}

/** yargs takes a `-` of its own for an option; no argument can hold a NUL, so this one stands in for it. */
const STDIO = '\0-';

function dashed(operand = ''): string {
  return operand.replaceAll(STDIO, '-');
}

function conversionArguments(argv: unknown): ConversionArguments {
  const args = argv as ConversionArguments;
  return args.imagesFile === undefined ? args : { ...args, imagesFile: args.imagesFile.map(dashed) };
}

const CONVERSIONS: readonly Command[] = FORMATS.flatMap((from) =>
  FORMATS.map((to) => {
    const operand = from.operand === to.operand ? `${to.operand}2` : to.operand;
    return {
      name: `${from.short}2${to.short}`,
      operands: `<${from.operand}> <${operand}> [REF..]`,
      describe: `${from.prefix}: to ${to.prefix}:`,
      options: (y: Argv) => conversionOptions(y, to),
      run: async (argv: unknown) => {
        const { convertCommand } = await import('./convert.js');
        const operands = argv as Record<string, string>;
        const source = { format: from, path: dashed(operands[from.operand]) };
        const target = { format: to, path: dashed(operands[operand]) };
        return convertCommand(source, target, conversionArguments(argv));
      },
    };
  }),
);

const COMMANDS: readonly Command[] = [
  ...CONVERSIONS,
  {
    name: 'copy',
    operands: '<SRC> <DST> [REF..]',
    describe: 'between any two formats, each path with its prefix',
    options: (y) => conversionOptions(y),
    run: async (argv) => {
      const [{ convertCommand }, { parsePlace }] = await Promise.all([
        import('./convert.js'),
        import('../formats/table.js'),
      ]);
      const { SRC, DST } = argv as { SRC: string; DST: string };
      return convertCommand(parsePlace(dashed(SRC)), parsePlace(dashed(DST)), conversionArguments(argv));
    },
  },
  {
    name: 'ls',
    operands: '<SRC> [REF..]',
    describe: 'list the images of a place',
    options: (y) => y.option('json', { type: 'boolean', describe: 'machine-readable' }),
    run: async (argv) => {
      const { lsCommand } = await import('./ls.js');
      const { SRC, REF, json } = argv as { SRC: string; REF?: string[]; json?: boolean };
      return lsCommand(dashed(SRC), REF ?? [], json ?? false);
    },
  },
  {
    name: 'inspect',
    operands: '<SRC> [REF]',
    describe: "show an image's manifests and configs as JSON",
    options: (y) => y,
    run: async (argv) => {
      const { inspectCommand } = await import('./ls.js');
      const { SRC, REF } = argv as { SRC: string; REF?: string };
      return inspectCommand(dashed(SRC), REF);
    },
  },
];

const EXAMPLES = [
  ['$0 dir2reg sync ./store', 'a skopeo sync tree into the storage of a registry'],
  ['$0 tar2reg images.tar ./store', 'what docker save wrote into the storage of a registry'],
  ['$0 reg2tar ./store - "demo/*:1.*" | docker load', 'some images of a store into an engine'],
] as const;

/** yargs explains over several lines and counts operands; a message of ours is one line and names them. */
function usageError(name: string | undefined, message: string): ImgconvError {
  const command = COMMANDS.find((one) => one.name === name);
  const what =
    command !== undefined && message.startsWith('Not enough non-option arguments')
      ? `${command.name}: operands are missing: ${command.operands}`
      : message.replace(/\s*\n\s*/g, ' ').trim();
  return new ImgconvError('USAGE', what, {
    hint: `imgconv ${command === undefined ? '' : `${command.name} `}--help lists ${command === undefined ? 'commands and ' : ''}options`,
  });
}

/** Parses a command line and runs its command. Settles with the exit status, never rejects. */
export async function run(args: readonly string[], version: string): Promise<number> {
  let status = 0;
  const parser = yargs(args.map((arg) => (arg === '-' ? STDIO : arg)))
    .scriptName('imgconv')
    .locale('en')
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
    .epilogue(`Prefixes: ${FORMATS.map(({ prefix, title }) => `${prefix}: ${title}`).join('; ')}.`)
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined && error.name !== 'YError') throw error;
      throw usageError(args[0], message ?? error?.message ?? 'wrong usage');
    });
  for (const [example, what] of EXAMPLES) parser.example(example, what);
  // yargs lays out the help of every command it knows: the one that is asked for is told alone.
  const asked = COMMANDS.filter(({ name }) => name === args[0]);
  for (const command of asked.length > 0 ? asked : COMMANDS) {
    parser.command(
      `${command.name} ${command.operands}`,
      command.describe,
      (y: Argv) => command.options(y),
      async (argv) => {
        status = await command.run(argv);
      },
    );
  }
  try {
    await parser.parseAsync();
    return status;
  } catch (error) {
    const known = asImgconvError(error);
    process.stderr.write(`imgconv: ${errorText(known)}`);
    if (args.includes('--debug')) {
      const cause = known.cause instanceof Error ? known.cause : known;
      process.stderr.write(`${known.code}: ${cause.stack ?? ''}\n`);
    }
    return EXIT[known.code];
  }
}
