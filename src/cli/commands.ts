import type { Format } from '../formats/format.js';
import { FORMATS, parsePlace } from '../formats/table.js';
import type { GarbageArguments } from './gc.js';
import type { ImagesArguments } from './images.js';
import type { InspectArguments, ListArguments } from './ls.js';
import { conversionOptions, type ConversionArguments } from './options.js';
import { registryOptions } from './registry-options.js';
import type { PushArguments, SaveArguments } from './save.js';
import { FLAG, REPEATABLE, VALUE, type Syntax } from './syntax.js';
import { syncOptions, type SyncArguments } from './sync-options.js';
import type { VerifyArguments } from './verify.js';

/** Options and code are loaded when they are asked for: of thirty commands one is run. */
export interface Command extends Syntax {
  readonly describe: string;
  /** Takes what `parseArguments` gives for its options and operands; gives the exit status. */
  run(args: never): Promise<number>;
}

/** `X2Y` from every format that has a short name and can be read to every one that can be written. */
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
    run: async (args: ConversionArguments & Readonly<Record<string, unknown>>) => {
      const { convertCommand } = await import('./convert.js');
      const source = { format: from, path: String(args[from.operand]) };
      return convertCommand(source, { format: to, path: String(args[operand]) }, args);
    },
  };
}

export const COMMANDS: readonly Command[] = [
  ...conversionsOf(FORMATS),
  {
    name: 'copy',
    operands: '<SRC> <DST> [REF..]',
    describe: 'between any two formats, each path with its prefix',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['src', 'dest']) };
    },
    run: async (args: ConversionArguments & { readonly SRC: string; readonly DST: string }) => {
      const { convertCommand } = await import('./convert.js');
      return convertCommand(parsePlace(args.SRC), parsePlace(args.DST), args);
    },
  },
  {
    name: 'save',
    operands: '<REF_OR_STORE..>',
    describe: 'REF… STORE: remote images and charts into registry storage, or into any prefix:path',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['src']) };
    },
    run: async (args: SaveArguments) => (await import('./save.js')).saveCommand(args),
  },
  {
    name: 'push',
    operands: '<SRC> <REGISTRY> [REF..]',
    describe: 'images of any place into a registry: docker://HOST[/PREFIX]',
    get options() {
      return { ...conversionOptions(), ...registryOptions(['dest']) };
    },
    run: async (args: PushArguments) => (await import('./save.js')).pushCommand(args),
  },
  {
    name: 'sync',
    operands: '<SRC> <DST>',
    describe: 'what skopeo sync does, in its words, between all formats',
    get options() {
      return syncOptions();
    },
    run: async (args: SyncArguments) => (await import('./sync.js')).syncCommand(args),
  },
  {
    name: 'ls',
    operands: '<SRC> [REF..]',
    describe: 'list the images of a place',
    get options() {
      return { json: { ...FLAG, describe: 'machine-readable' }, ...registryOptions(['src']) };
    },
    run: async (args: ListArguments) => (await import('./ls.js')).lsCommand(args),
  },
  {
    name: 'inspect',
    operands: '<SRC> [REF]',
    describe: "show an image's manifests and configs as JSON",
    get options() {
      return registryOptions(['src']);
    },
    run: async (args: InspectArguments) => (await import('./ls.js')).inspectCommand(args),
  },
  {
    name: 'images',
    operands: '<PATH..>',
    describe:
      'which images do these files need? Kubernetes, kustomize, Compose, Helm charts, lists; - is stdin',
    options: {
      why: { ...FLAG, describe: 'say which file and field, as comments' },
      json: { ...FLAG, describe: 'machine-readable' },
      env: { ...FLAG, describe: "take Compose's variables from the environment, not from .env alone" },
      'allow-outside': {
        ...FLAG,
        describe: 'also read files outside the paths, which includes and links lead to',
      },
    },
    run: async (args: ImagesArguments) => (await import('./images.js')).imagesCommand(args),
  },
  {
    name: 'verify',
    operands: '<SRC>',
    describe: 'check all that a place holds, and mend what can be mended',
    get options() {
      return {
        deep: { ...FLAG, describe: 'also unpack layers, and hold them against configs' },
        repair: { ...REPEATABLE, describe: 'fetch what is missing or damaged from this place' },
        jobs: { ...VALUE, alias: 'j', describe: "threads (default: the machine's cores)" },
        json: { ...FLAG, describe: 'a machine-readable report on stdout' },
        ...registryOptions(['src']),
      };
    },
    run: async (args: VerifyArguments) => (await import('./verify.js')).verifyCommand(args),
  },
  {
    name: 'gc',
    operands: '<STORE>',
    describe: 'delete what no image needs, in reg: and oci:',
    options: {
      'older-than': { ...VALUE, describe: 'leave alone what changed since (default: 24h)' },
      untagged: { ...FLAG, describe: 'also manifests that no tag reaches' },
      'dry-run': { ...FLAG, describe: 'say what would be deleted' },
      json: { ...FLAG, describe: 'a machine-readable report on stdout' },
    },
    run: async (args: GarbageArguments) => (await import('./gc.js')).gcCommand(args),
  },
];
