import type { Format } from '../formats/format.js';
import { FORMATS } from '../formats/table.js';
import type { CopyArguments } from './copy.js';
import type { FillArguments } from './fill.js';
import { fillOptions } from './fill-options.js';
import type { GarbageArguments } from './gc.js';
import type { ImagesArguments } from './images.js';
import type { InspectArguments, ListArguments } from './ls.js';
import { conversionOptions, copyOptions, saveOptions, type ConversionArguments } from './options.js';
import { registryOptions } from './registry-options.js';
import type { PushArguments, SaveArguments } from './save.js';
import type { ServeArguments } from './serve.js';
import { serveOptions } from './serve-options.js';
import { SMALL_COMMANDS } from './small-commands.js';
import { FLAG, JSON_FLAG, REPEATABLE, VALUE, type Command } from './syntax.js';
import { syncOptions, type SyncArguments } from './sync-options.js';
import type { VerifyArguments } from './verify.js';

/** Places for examples, by operand; the second of a pair has a 2. */
const EXAMPLES: Readonly<Record<string, string>> = {
  STORE: './store',
  LAYOUT: './layout',
  TREE: './sync',
  FILE: 'images.tar',
  STORE2: './store2',
  LAYOUT2: './layout2',
  TREE2: './tree2',
  FILE2: 'some.tar',
};

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
    describe: `Convert ${from.title} to ${to.title}`,
    example: `imgconv ${from.short ?? ''}2${to.short ?? ''} ${EXAMPLES[from.operand] ?? ''} ${EXAMPLES[operand] ?? ''} 'demo/*:1.*'`,
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
    describe: 'Copy images between any two places, each with its prefix',
    example: 'imgconv copy docker://quay.io/org/app:1.0 oci:layout:app:1.0',
    get options() {
      return { ...copyOptions(), ...conversionOptions(), ...registryOptions(['src', 'dest']) };
    },
    run: async (args: CopyArguments) => (await import('./copy.js')).copyCommand(args),
  },
  {
    name: 'save',
    operands: '<REF_OR_STORE..>',
    shownOperands: '[REF..] <STORE>',
    describe: 'Save images and charts from registries into a store or an archive, the last operand',
    example: 'imgconv save ubuntu:24.04 quay.io/org/app:1.0 ./store',
    get options() {
      return { ...saveOptions(), ...conversionOptions(), ...registryOptions(['src']) };
    },
    run: async (args: SaveArguments) => (await import('./save.js')).saveCommand(args),
  },
  {
    name: 'push',
    operands: '<SRC> <REGISTRY> [REF..]',
    describe: 'Push images from a store or an archive to a registry: docker://HOST[/PREFIX]',
    example: "imgconv push ./store docker://registry.example.com/mirror 'app:*'",
    get options() {
      return { ...conversionOptions(), ...registryOptions(['dest']) };
    },
    run: async (args: PushArguments) => (await import('./save.js')).pushCommand(args),
  },
  {
    name: 'sync',
    operands: '<SRC> <DST>',
    describe: 'Do what skopeo sync does, with its options, between all formats',
    example: 'imgconv sync --src yaml --dest docker sync.yml registry.example.com/mirror',
    get options() {
      return syncOptions();
    },
    run: async (args: SyncArguments) => (await import('./sync.js')).syncCommand(args),
  },
  {
    name: 'fill',
    operands: '<ROOTFS>',
    describe:
      'Fill the registry folder of a cluster image (sealer, sealos, KubeKey) with all that its files need',
    example: 'imgconv fill ./rootfs --platform linux/amd64 --from ./store',
    get options() {
      return fillOptions();
    },
    run: async (args: FillArguments) => (await import('./fill.js')).fillCommand(args),
  },
  {
    name: 'ls',
    operands: '<SRC> [REF..]',
    describe: 'List the images of a store, an archive or a registry',
    example: "imgconv ls ./store 'demo/*:1*'",
    get options() {
      return {
        quiet: { ...FLAG, alias: 'q', describe: 'print names only' },
        digests: { ...FLAG, describe: 'print whole digests' },
        trunc: {
          ...FLAG,
          default: true,
          shown: 'no-trunc',
          describe: 'do not shorten rows to fit the terminal',
        },
        sort: {
          choices: ['name', 'size', 'digest'],
          describe: 'order of the rows (default: that of the place)',
        },
        json: { ...JSON_FLAG, describe: 'print JSON; lines: an image a line' },
        ...registryOptions(['src']),
      };
    },
    run: async (args: ListArguments) => (await import('./ls.js')).lsCommand(args),
  },
  {
    name: 'inspect',
    operands: '<SRC> [REF]',
    describe: 'Show the manifests and configs of an image as JSON',
    example: 'imgconv inspect ./store demo/app:1.0',
    get options() {
      return {
        raw: { ...FLAG, describe: 'print the manifest or index as it is, byte for byte' },
        config: { ...FLAG, describe: 'print the config as it is, byte for byte' },
        platform: { ...VALUE, value: 'os/arch', describe: 'of the image for this platform' },
        json: { ...FLAG, describe: 'also errors as JSON on stdout' },
        ...registryOptions(['src']),
      };
    },
    run: async (args: InspectArguments) => (await import('./ls.js')).inspectCommand(args),
  },
  {
    name: 'images',
    operands: '<PATH..>',
    describe:
      'List the images that Kubernetes, kustomize and Compose files, Helm charts and lists need; - is stdin',
    example: 'imgconv images deploy/ | imgconv save ./store --images-file -',
    options: {
      why: { ...FLAG, describe: 'add the file and field of each image, as comments' },
      json: { ...FLAG, describe: 'print JSON' },
      env: {
        ...FLAG,
        describe: 'also take variables of Compose files from the environment, not only from .env',
      },
      'allow-outside': {
        ...FLAG,
        describe: 'also read files outside the given paths, to which includes and links lead',
      },
    },
    run: async (args: ImagesArguments) => (await import('./images.js')).imagesCommand(args),
  },
  {
    name: 'verify',
    operands: '<SRC>',
    describe: 'Check everything that a store, an archive or a registry holds, and repair it from another',
    example: 'imgconv verify ./store --deep --repair docker://registry.example.com',
    get options() {
      return {
        deep: { ...FLAG, describe: 'also unpack layers and compare them with the config' },
        repair: {
          ...REPEATABLE,
          value: 'place',
          describe: 'fetch what is missing or damaged from this place',
        },
        jobs: { ...VALUE, value: 'n', alias: 'j', describe: 'threads (default: one per core)' },
        json: {
          ...JSON_FLAG,
          describe: 'print a report for programs; lines: an event a line, as it happens',
        },
        ...registryOptions(['src']),
      };
    },
    run: async (args: VerifyArguments) => (await import('./verify.js')).verifyCommand(args),
  },
  {
    name: 'serve',
    operands: '[PLACE..]',
    describe: 'Serve stores and archives as a registry, as they lie',
    example: 'imgconv serve ./store images.tar',
    get options() {
      return serveOptions();
    },
    run: async (args: ServeArguments) => (await import('./serve.js')).serveCommand(args),
  },
  {
    name: 'gc',
    operands: '<STORE>',
    describe: 'Delete the blobs and manifests that no image needs from registry storage or an OCI layout',
    example: 'imgconv gc ./store --dry-run',
    options: {
      'older-than': {
        ...VALUE,
        value: 'time',
        describe: 'keep what changed in this time, such as 90m or 7d (default: 24h)',
      },
      untagged: { ...FLAG, describe: 'also delete manifests that no tag reaches' },
      'dry-run': { ...FLAG, describe: 'say what would be deleted, and delete nothing' },
      json: { ...JSON_FLAG, describe: 'print a report for programs; lines: an event a line, as it happens' },
    },
    run: async (args: GarbageArguments) => (await import('./gc.js')).gcCommand(args),
  },
  ...SMALL_COMMANDS,
];
