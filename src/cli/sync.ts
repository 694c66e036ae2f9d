import { writeFileSync } from 'node:fs';
import pLimit from 'p-limit';
import type { HostAccess, RegistryAccess } from '../formats/access.js';
import { docker } from '../formats/docker/index.js';
import { expectWithin } from '../formats/docker/pages.js';
import { canonicalName, splitPlace } from '../formats/docker/paths.js';
import { withTags } from '../formats/docker/tags.js';
import type { Format } from '../formats/format.js';
import { FORMATS, parsePlace, prefixOf, STREAM, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { ownPlatform, parsePlatform } from '../model/platform.js';
import type { SyncRegistry } from '../requests/sync-file.js';
import { readStdin, readText } from '../bytes/files.js';
import { EVERYWHERE } from '../requests/save-images.js';
import { wholeSelectors } from '../requests/wanted.js';
import type { Report } from '../transfer/report.js';
import type { Selector } from '../transfer/select.js';
import { convertCommand } from './convert.js';
import { errorText, printable } from './exit.js';
import { accessOf } from './registry-options.js';
import { registryBelow } from './save.js';
import { readImagesFile, selectorsOf } from './selectors.js';
import type { SyncArguments } from './sync-options.js';

interface Source {
  readonly from: Place;
  /** Undefined: all that is there. */
  readonly selectors?: readonly Selector[];
  readonly access?: RegistryAccess;
  /** Parts of it could not be had; that was said. */
  readonly failed?: boolean;
}

/** skopeo's words for places; of the formats all short names will do. */
const TARGETS = FORMATS.filter(({ create }) => create !== undefined).map(kindOf);
const SOURCES = [...FORMATS.filter(({ open }) => open !== undefined).map(kindOf), 'yaml', 'list'];

function kindOf({ short, prefix }: Format): string {
  return short ?? prefix;
}

/**
 * What `skopeo sync` does, in its words (https://github.com/containers/skopeo/blob/main/docs/skopeo-sync.1.md). Unlike
 * it, this can be run again, and then does what is left to do.
 */
export async function syncCommand(args: SyncArguments): Promise<number> {
  const { src, dest } = kindsOf(args);
  const to = targetOf(dest, args.DST);
  const source = await sourceOf(src, args);
  if (source.selectors?.length === 0) return source.failed === true ? 1 : 0;
  const chosen = args.platform?.map(parsePlatform) ?? [ownPlatform()];
  const status = await convertCommand(
    source.from,
    to,
    { ...args, failFast: args.keepGoing !== true },
    {
      options: {
        ...(source.selectors !== undefined && { selectors: source.selectors }),
        ...(source.access !== undefined && { sourceAccess: source.access }),
        flat: args.scoped !== true,
        appendSuffix: args.appendSuffix,
        platforms: args.all === true ? [] : chosen,
        systemImages: true,
        untagged: false,
        extras: args.extras ?? 'listed',
      },
      meant: ({ format }) => `did you mean --src ${kindOf(format)}?`,
      done: (report) => {
        if (args.digestfile !== undefined && args.dryRun !== true)
          writeFileSync(args.digestfile, digestLines(report, to));
      },
    },
  );
  return source.failed === true ? Math.max(status, 1) : status;
}

/** What SRC and DST are. @throws ImgconvError USAGE for all that is not said, or not known */
function kindsOf({ src = '', dest = '' }: SyncArguments): { readonly src: string; readonly dest: string } {
  const wrong = [
    { option: '--src', kind: src, kinds: SOURCES },
    { option: '--dest', kind: dest, kinds: TARGETS },
  ].filter(({ kind, kinds }) => !kinds.includes(kind));
  if (wrong.length === 0) return { src, dest };
  const said = wrong.map(({ option, kind }) => `${option} ${kind}`.trimEnd());
  throw new ImgconvError(
    'USAGE',
    `${said.join(' and ')}: say what ${said.length > 1 ? 'they are' : 'it is'}`,
    {
      hint: wrong.map(({ option, kinds }) => `${option}: one of ${kinds.join(', ')}`).join('; '),
    },
  );
}

function placeOf(kind: string, path: string): Place {
  const format = FORMATS.find((one) => kindOf(one) === kind);
  if (format === undefined) throw new ImgconvError('USAGE', `${kind}: no such format`);
  return parsePlace(`${prefixOf(format)}${path}`);
}

function targetOf(kind: string, DST: string): Place {
  return kind === 'docker' ? registryBelow(DST) : placeOf(kind, DST);
}

async function sourceOf(kind: string, args: SyncArguments): Promise<Source> {
  const { SRC } = args;
  if (kind === 'list') {
    const selectors = wholeSelectors(readImagesFile(SRC), args.registry);
    if (selectors.length === 0) throw new ImgconvError('USAGE', `${SRC}: no references in it`);
    return { from: EVERYWHERE, selectors };
  }
  if (kind === 'yaml') return yamlSource(args);
  const place =
    kind === 'docker'
      ? { format: docker, ...splitPlace(SRC.replace(/^docker:\/\//, '')) }
      : placeOf(kind, SRC);
  const { reference, ...from } = place;
  if (reference === undefined) return { from };
  return { from, selectors: selectorsOf([reference]) };
}

const LISTS_AT_ONCE = 4;
/** Of all repositories of a sync file together: each can have a million tags. */
const MAX_REFERENCES = 2_000_000;

/** All that a sync file lists, from all its registries at once. */
async function yamlSource(args: SyncArguments): Promise<Source> {
  const isStdin = args.SRC === STREAM;
  const file = isStdin ? 'stdin' : args.SRC;
  const { parseSyncFile, referencesOf } = await import('../requests/sync-file.js');
  const registries = parseSyncFile(isStdin ? readStdin() : readText(args.SRC), file);
  const repositories = registries.flatMap((registry) => registry.repositories);
  if (repositories.length === 0)
    throw new ImgconvError('DOCUMENT_INVALID', `${file}: it names no images`, {
      hint: 'images, images-by-tag-regex and images-by-semver below a registry say which',
    });
  const names = repositories.map(({ name, where }) => ({ text: name, where, rename: undefined }));
  const said = accessOf(args, 'src', EVERYWHERE, names);
  const access = { ...said, hosts: withHosts(said.hosts, hostAccess(registries, file)) };
  let failed = false;
  let count = 0;
  // A list can be long: only so many are held at once.
  const turn = pLimit(LISTS_AT_ONCE);
  const found = await withTags(access, new AbortController().signal, (tags) =>
    Promise.all(
      repositories.map(async (repository): Promise<Selector[]> => {
        const { where, name } = repository;
        try {
          const references = await turn(() =>
            referencesOf(repository, async () => {
              const there = await tags(name);
              if (there !== undefined) return there;
              throw new ImgconvError('NOT_FOUND', `${where}: there is no such repository`);
            }),
          );
          expectWithin((count += references.length), MAX_REFERENCES, 'images', file);
          if (references.length === 0) process.stderr.write(`imgconv: ${printable(where)}: no tag fits\n`);
          return references.map((text) => ({ text, rename: undefined, where }));
        } catch (error) {
          if (args.keepGoing !== true) throw error;
          failed = true;
          process.stderr.write(`imgconv: ${errorText(asImgconvError(error, where), args.debug)}`);
          return [];
        }
      }),
    ),
  );
  return { from: EVERYWHERE, selectors: wholeSelectors(found.flat()), access, failed };
}

/** What the file says of its registries goes before what the command line says of all. */
function hostAccess(registries: readonly SyncRegistry[], file: string): Record<string, HostAccess> {
  const hosts: Record<string, HostAccess> = {};
  for (const { host: key, credentials, tlsVerify, certDir } of registries) {
    if (credentials === undefined && tlsVerify === undefined && certDir === undefined) continue;
    const { host } = canonicalName(`${key}/x`);
    if (Object.hasOwn(hosts, host))
      throw new ImgconvError('DOCUMENT_INVALID', `${file}: two entries say how to speak to ${host}`);
    hosts[host] = {
      ...(credentials !== undefined && { creds: `${credentials.username}:${credentials.password}` }),
      ...(tlsVerify !== undefined && { tlsVerify }),
      ...(certDir !== undefined && { certDir }),
    };
  }
  return hosts;
}

/** What the file says of a host replaces what the command line says of it. */
function withHosts(
  said: Readonly<Record<string, HostAccess>> = {},
  inFile: Readonly<Record<string, HostAccess>>,
): Record<string, HostAccess> {
  const hosts: Record<string, HostAccess> = { ...said };
  for (const [host, own] of Object.entries(inFile)) {
    const replaced = own.creds === undefined ? {} : { registryToken: undefined };
    hosts[host] = { ...hosts[host], ...replaced, ...own };
  }
  return hosts;
}

/** As skopeo writes them: the digest, and the image where it is now. */
function digestLines({ images }: Report, { format, path }: Place): string {
  const separator = format.prefix === 'dir' || format.registry !== undefined ? '/' : ':';
  const place = `${prefixOf(format)}${path.replace(/\/$/, '')}${separator}`;
  return images
    .flatMap(({ name, digest, status }) =>
      name !== undefined && digest !== undefined && ['written', 'updated', 'unchanged'].includes(status)
        ? [`${digest} ${place}${name}\n`]
        : [],
    )
    .join('');
}
