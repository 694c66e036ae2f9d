import yargs from 'yargs';
import type { Format } from '../formats/format.js';
import { FORMATS, prefixOf } from '../formats/table.js';
import { asImgconvError } from '../model/errors.js';
import { errorText, EXIT } from './exit.js';
import type { GarbageArguments } from './gc.js';
import type { ImagesArguments } from './images.js';
import { conversionOptions, REPEATABLE, type ConversionArguments } from './options.js';
import { registryOptions, type RegistryArguments } from './registry-options.js';
import { syncOptions, type SyncArguments } from './sync-options.js';
import {
  expectKnownWords,
  expectOperands,
  expectSaidOnce,
  GLOBAL_OPTIONS,
  usageError,
  type OptionTable,
  type Words,
} from './usage.js';
import type { VerifyArguments } from './verify.js';

/** Options are made when they are asked for: of thirty commands one is run. */
interface Command extends Words {
  readonly describe: string;
  /** Gives the exit status. */
  run(argv: unknown): Promise<number>;
}

/** Marks a word that yargs must not take for an option: a `-` of its own, and what follows `--`. No argument can hold a NUL. */
const MARK = '\0';

function marked(args: readonly string[]): string[] {
  const end = args.indexOf('--');
  const [before, after] = end < 0 ? [args, []] : [args.slice(0, end), args.slice(end + 1)];
  return [
    ...joined(before).map((arg) => (arg === '-' ? `${MARK}-` : arg)),
    ...after.map((arg) => (arg.startsWith('-') ? `${MARK}${arg}` : arg)),
  ];
}

/** What the command line said: values of options and operands without marks. */
function unmarked(argv: unknown): unknown {
  if (typeof argv === 'string') return argv.replaceAll(MARK, '');
  if (Array.isArray(argv)) return argv.map(unmarked);
  if (typeof argv !== 'object' || argv === null) return argv;
  return Object.fromEntries(Object.entries(argv).map(([name, value]) => [name, unmarked(value)]));
}

/** The value of this option is seldom without a dash: skopeo's manual writes `--append-suffix '-mirror'`. */
const DASHED_VALUE = '--append-suffix';

function joined(args: readonly string[]): string[] {
  const at = args.indexOf(DASHED_VALUE);
  if (at < 0 || at + 1 >= args.length) return [...args];
  return [...args.slice(0, at), `${DASHED_VALUE}=${args[at + 1] ?? ''}`, ...args.slice(at + 2)];
}

/** `X2Y` for every format that has a short name and can be read into every one that can be written. */
export function conversionsOf(formats: readonly Format[]): Command[] {
  const named = formats.filter(({ short }) => short !== undefined);
  const targets = named.filter(({ create }) => create !== undefined);
  return named
    .filter(({ open }) => open !== undefined)
    .flatMap((from) => targets.map((to) => conversionOf(from, to)));
}

function conversionOf(from: Format, to: Format): Command {
  const operand = from.operand === to.operand ? `${to.operand}2` : to.operand;
  return {
    name: `${from.short ?? ''}2${to.short ?? ''}`,
    operands: `<${from.operand}> <${operand}> [REF..]`,
    describe: `${from.prefix}: to ${to.prefix}:`,
    get options() {
      return conversionOptions(to);
    },
    run: async (argv: unknown) => {
      const { convertCommand } = await import('./convert.js');
      const operands = argv as Record<string, string>;
      const source = { format: from, path: operands[from.operand] ?? '' };
      const target = { format: to, path: operands[operand] ?? '' };
      return convertCommand(source, target, argv as ConversionArguments);
    },
  };
}

const COMMANDS: readonly Command[] = [
  ...conversionsOf(FORMATS),
  {
    name: 'copy',
    operands: '<SRC> <DST> [REF..]',
    describe: 'between any two formats, each path with its prefix',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['src', 'dest']) };
    },
    run: async (argv) => {
      const [{ convertCommand }, { parsePlace }] = await Promise.all([
        import('./convert.js'),
        import('../formats/table.js'),
      ]);
      const { SRC, DST } = argv as { SRC: string; DST: string };
      return convertCommand(parsePlace(SRC), parsePlace(DST), argv as ConversionArguments);
    },
  },
  {
    name: 'save',
    operands: '<REF_OR_STORE..>',
    describe: 'REF… STORE: remote images and charts into registry storage, or into any prefix:path',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['src']) };
    },
    run: async (argv) => {
      const { saveCommand } = await import('./save.js');
      const { REF_OR_STORE } = argv as { REF_OR_STORE: string[] };
      return saveCommand(REF_OR_STORE, argv as ConversionArguments);
    },
  },
  {
    name: 'push',
    operands: '<SRC> <REGISTRY> [REF..]',
    describe: 'images of any place into a registry: docker://HOST[/PREFIX]',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['dest']) };
    },
    run: async (argv) => {
      const { pushCommand } = await import('./save.js');
      const { SRC, REGISTRY } = argv as { SRC: string; REGISTRY: string };
      return pushCommand(SRC, REGISTRY, argv as ConversionArguments);
    },
  },
  {
    name: 'sync',
    operands: '<SRC> <DST>',
    describe: 'what skopeo sync does, in its words, between all formats',
    get options() {
      return syncOptions();
    },
    run: async (argv) => {
      const { syncCommand } = await import('./sync.js');
      const args = argv as SyncArguments;
      return syncCommand(args);
    },
  },
  {
    name: 'ls',
    operands: '<SRC> [REF..]',
    describe: 'list the images of a place',
    get options() {
      return {
        json: { type: 'boolean', describe: 'machine-readable' },
        ...registryOptions(['src']),
      } as const;
    },
    run: async (argv) => {
      const { lsCommand } = await import('./ls.js');
      const { SRC, REF, ...how } = argv as RegistryArguments & {
        SRC: string;
        REF?: string[];
        json?: boolean;
        debug?: boolean;
      };
      return lsCommand(SRC, REF ?? [], how);
    },
  },
  {
    name: 'inspect',
    operands: '<SRC> [REF]',
    describe: "show an image's manifests and configs as JSON",
    get options() {
      return registryOptions(['src']);
    },
    run: async (argv) => {
      const { inspectCommand } = await import('./ls.js');
      const args = argv as RegistryArguments & { SRC: string; REF?: string };
      return inspectCommand(args.SRC, args.REF, args);
    },
  },
  {
    name: 'images',
    operands: '<PATH..>',
    describe:
      'which images do these files need? Kubernetes, kustomize, Compose, Helm charts, lists; - is stdin',
    options: {
      why: { type: 'boolean', describe: 'say which file and field, as comments' },
      json: { type: 'boolean', describe: 'machine-readable' },
      env: {
        type: 'boolean',
        describe: "take Compose's variables from the environment, not from .env alone",
      },
      'allow-outside': {
        type: 'boolean',
        describe: 'also read files outside the paths, which includes and links lead to',
      },
    },
    run: async (argv) => {
      const { imagesCommand } = await import('./images.js');
      const { PATH, ...how } = argv as ImagesArguments & { PATH: string[] };
      return imagesCommand(PATH, how);
    },
  },
  {
    name: 'verify',
    operands: '<SRC>',
    describe: 'check all that a place holds, and mend what can be mended',
    get options() {
      return {
        deep: { type: 'boolean', describe: 'also unpack layers, and hold them against configs' },
        repair: { ...REPEATABLE, describe: 'fetch what is missing or damaged from this place' },
        jobs: { type: 'string', alias: 'j', describe: "threads (default: the machine's cores)" },
        json: { type: 'boolean', describe: 'a machine-readable report on stdout' },
        ...registryOptions(['src']),
      } as const;
    },
    run: async (argv) => {
      const { verifyCommand } = await import('./verify.js');
      const args = argv as VerifyArguments;
      return verifyCommand(args);
    },
  },
  {
    name: 'gc',
    operands: '<STORE>',
    describe: 'delete what no image needs, in reg: and oci:',
    options: {
      'older-than': { type: 'string', describe: 'leave alone what changed since (default: 24h)' },
      untagged: { type: 'boolean', describe: 'also manifests that no tag reaches' },
      'dry-run': { type: 'boolean', describe: 'say what would be deleted' },
      json: { type: 'boolean', describe: 'a machine-readable report on stdout' },
    },
    run: async (argv) => {
      const { gcCommand } = await import('./gc.js');
      return gcCommand(argv as GarbageArguments);
    },
  },
];

const EXAMPLES = [
  ['$0 dir2reg sync ./store', 'a skopeo sync tree into the storage of a registry'],
  ['$0 tar2reg images.tar ./store', 'what docker save wrote into the storage of a registry'],
  ['$0 reg2tar ./store - "demo/*:1.*" | docker load', 'some images of a store into an engine'],
] as const;

/** `help` is `--help`, before a command too. */
function withoutHelpWord(args: readonly string[]): readonly string[] {
  return args[0] === 'help' ? [...args.slice(1), '--help'] : args;
}

function asksHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? undefined : end).some((arg) => /^(?:--help|-[a-z]*h)/i.test(arg));
}

/** yargs lays help out on every run, shown or not: of options that are hidden, and without a width, that costs little. */
function hidden(options: OptionTable): OptionTable {
  return Object.fromEntries(Object.entries(options).map(([name, one]) => [name, { ...one, hidden: true }]));
}

/** Parses a command line and runs its command. Settles with the exit status, never rejects. */
export async function run(words: readonly string[], version: string): Promise<number> {
  const args = withoutHelpWord(words);
  let status = 0;
  const shown = asksHelp(args);
  const command = COMMANDS.find(({ name }) => name === args.find((arg) => !arg.startsWith('-')));
  const parser = yargs(marked(args))
    .scriptName('imgconv')
    .locale('en')
    .usage('imgconv converts container images between the forms in which they are kept\n\n$0 <command> …')
    .parserConfiguration({ 'parse-numbers': false, 'parse-positional-numbers': false, 'dot-notation': false })
    .options(GLOBAL_OPTIONS)
    .exitProcess(false)
    .strict()
    .demandCommand(1, 'say what to do: a command is missing')
    .version(version)
    .help()
    .alias('h', 'help')
    .wrap(shown ? Math.min(110, process.stdout.columns || 110) : null)
    .epilogue(`Prefixes: ${FORMATS.map((format) => `${prefixOf(format)} ${format.title}`).join('; ')}.`)
    .fail((message: string | null, error: Error | undefined) => {
      if (error !== undefined && error.name !== 'YError') throw error;
      throw usageError(command, (message ?? error?.message ?? 'wrong usage').replaceAll(MARK, ''));
    });
  for (const [example, what] of EXAMPLES) parser.example(example, what);
  // yargs lays out the help of every command it knows: the one that is asked for is told alone.
  for (const one of command === undefined ? COMMANDS : [command]) {
    parser.command(
      `${one.name} ${one.operands}`,
      one.describe,
      (y) => y.options(shown ? one.options : hidden(one.options)),
      async (argv) => {
        expectSaidOnce(argv, one);
        expectOperands(argv, one);
        status = await one.run(unmarked(argv));
      },
    );
  }
  try {
    expectKnownWords(args, COMMANDS);
    await parser.parseAsync();
    return status;
  } catch (error) {
    const known = asImgconvError(error);
    process.stderr.write(`imgconv: ${errorText(known, args.includes('--debug'))}`);
    return EXIT[known.code];
  }
}
