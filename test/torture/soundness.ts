import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { Kind } from './corpus.js';
import { membersOf } from './members.js';

/*
 * An opinion of its own on whether a place is sound: it shares nothing with imgconv, and knows only what the
 * specifications say of each format.
 */
export interface Soundness {
  /** Digests of roots by name. */
  readonly images: ReadonlyMap<string, string>;
  /** What is wrong, in words; none in a sound place. */
  readonly problems: readonly string[];
}

const descriptorSchema = z.object({ digest: z.string(), size: z.number() });
const manifestSchema = z.object({
  manifests: z.array(descriptorSchema).optional(),
  config: descriptorSchema.optional(),
  layers: z.array(descriptorSchema).optional(),
});
const layoutSchema = z.object({
  manifests: z.array(descriptorSchema.extend({ annotations: z.record(z.string(), z.string()).optional() })),
});
const enginesSchema = z.array(z.object({ Config: z.string(), Layers: z.array(z.string()) }));
const REF_NAME = 'org.opencontainers.image.ref.name';

/** By the algorithm that `like`, a digest or the hex of one, was made with. */
function digestText(bytes: Uint8Array, like = ''): string {
  const algorithm = /(?:^|:)[0-9a-f]{128}$/.test(like) ? 'sha512' : 'sha256';
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

type Role = 'manifest' | 'blob';

/** Collects what is wrong with one place. */
class Inspection {
  readonly images = new Map<string, string>();
  readonly problems: string[] = [];

  /** The image of this digest with all that it names; `get` gives the bytes of a blob where the format has it. */
  closure(
    where: string,
    digest: string,
    get: (digest: string, role: Role) => Buffer | undefined,
    onPart: (digest: string, role: Role) => void = () => undefined,
  ): void {
    const bytes = this.#blob(where, { digest }, get(digest, 'manifest'));
    onPart(digest, 'manifest');
    if (bytes === undefined) return;
    const { manifests = [], config, layers = [] } = manifestSchema.parse(JSON.parse(bytes.toString()));
    for (const child of manifests) this.closure(`${where}, a member`, child.digest, get, onPart);
    for (const part of config === undefined ? layers : [config, ...layers]) {
      this.#blob(where, part, get(part.digest, 'blob'));
      onPart(part.digest, 'blob');
    }
  }

  #blob(
    where: string,
    { digest, size }: { digest: string; size?: number },
    bytes: Buffer | undefined,
  ): Buffer | undefined {
    if (bytes === undefined) this.problems.push(`${where}: ${digest} is missing`);
    else if (digestText(bytes, digest) !== digest) this.problems.push(`${where}: ${digest} is damaged`);
    else if (size !== undefined && bytes.length !== size)
      this.problems.push(`${where}: ${digest}: wrong size`);
    else return bytes;
    return undefined;
  }

  /** A file that is named by the digest of its bytes. */
  named(path: string, hex: string): void {
    if (hexOf(digestText(readFileSync(path), hex)) !== hex) this.problems.push(`${path} is damaged`);
  }

  problem(text: string): void {
    this.problems.push(text);
  }
}

/** Files at or below a folder; imgconv's own unfinished work is passed over. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((name) => !name.split('/').some((part) => part.startsWith('.imgconv-')));
}

function readIf(path: string): Buffer | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path) : undefined;
}

/** The storage of a registry (distribution registry/storage/paths.go): also what no tag names is whole. */
function inspectStore(path: string, inspection: Inspection): void {
  const root = join(path, 'docker/registry/v2');
  const blob = (digest: string) => {
    const [algorithm = '', hex = ''] = digest.split(':');
    return readIf(join(root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data'));
  };
  for (const file of filesBelow(join(root, 'blobs')))
    inspection.named(join(root, 'blobs', file), basename(dirname(file)));
  for (const file of filesBelow(join(root, 'repositories'))) {
    const where = join(root, 'repositories', file);
    const [, repository = '', kind = '', rest = ''] =
      /^(.*)\/(_layers|_manifests\/revisions|_manifests\/tags)\/(.*)\/link$/.exec(file) ?? [];
    const digest = readFileSync(where, 'latin1');
    const folder = join(root, 'repositories', repository);
    const below = (at: string, of: string) => join(folder, at, of.replace(':', '/'), 'link');
    if (!/^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(digest))
      inspection.problem(`${where}: no digest in it`);
    else if (kind === '') inspection.problem(`${where}: stray`);
    else if (rest.endsWith('/current')) {
      const tag = rest.slice(0, -'/current'.length);
      inspection.images.set(`${repository}:${tag}`, digest);
      if (!existsSync(below('_manifests/revisions', digest))) inspection.problem(`${where}: no revision`);
      if (!existsSync(below(`_manifests/tags/${tag}/index`, digest)))
        inspection.problem(`${where}: not in the tag's index`);
      inspection.closure(where, digest, blob);
    } else {
      if (!rest.endsWith(digest.replace(':', '/'))) inspection.problem(`${where}: names ${digest}`);
      if (kind === '_layers' && blob(digest) === undefined) inspection.problem(`${where}: no such blob`);
      if (kind === '_manifests/revisions')
        inspection.closure(where, digest, blob, (part, role) => {
          const link = below(role === 'blob' ? '_layers' : '_manifests/revisions', part);
          if (!existsSync(link)) inspection.problem(`${where}: no link to ${part}`);
        });
    }
  }
}

/** skopeo's directories, and those that a killed run had moved aside and the next one will put back. */
function inspectTree(tree: string, inspection: Inspection): void {
  const files = filesBelow(tree);
  for (const folder of new Set(files.map((file) => dirname(file))))
    inspectFolder(tree, folder, folder, inspection);
  for (const staging of readdirSync(tree).filter((name) => name.startsWith('.imgconv-'))) {
    const at = join(tree, staging);
    for (const record of lstatSync(at).isDirectory() ? readdirSync(at) : []) {
      if (!record.endsWith('.displaced')) continue;
      const name = readFileSync(join(at, record), 'utf8');
      const aside = join(staging, record.slice(0, -'.displaced'.length));
      if (!existsSync(join(tree, name)) && existsSync(join(tree, aside)))
        inspectFolder(tree, aside, name, inspection);
    }
  }
}

/** One image and nothing else. */
function inspectFolder(tree: string, folder: string, name: string, inspection: Inspection): void {
  const at = join(tree, folder);
  const root = readIf(join(at, 'manifest.json'));
  if (root === undefined) {
    inspection.problem(`${at}: no manifest.json`);
    return;
  }
  const digest = digestText(root);
  const known = new Set(['manifest.json', 'version']);
  inspection.images.set(name, digest);
  inspection.closure(at, digest, (wanted, role) => {
    // containers/image since 5.37: version 1.2 has names with the algorithm for others than sha256.
    const hex = wanted.replace(/^sha256:/, '').replace(':', '-');
    const file = role === 'blob' ? hex : wanted === digest ? 'manifest.json' : `${hex}.manifest.json`;
    known.add(file);
    return readIf(join(at, file));
  });
  for (const file of readdirSync(at).filter((one) => !/^signature-\d+$/.test(one)))
    if (!known.has(file)) inspection.problem(`${at}: ${file} is stray`);
  const version = [...known].some((one) => one.includes('-')) ? '1.2' : '1.1';
  if (readIf(join(at, 'version'))?.toString() !== `Directory Transport Version: ${version}\n`)
    inspection.problem(`${at}: no version`);
}

/** An OCI layout (image-spec image-layout.md), wherever its files lie. */
function inspectLayout(
  path: string,
  get: (name: string) => Buffer | undefined,
  inspection: Inspection,
): void {
  const index = get('index.json');
  if (index === undefined) {
    inspection.problem(`${path}: no index.json`);
    return;
  }
  if (get('oci-layout')?.toString() !== '{"imageLayoutVersion":"1.0.0"}')
    inspection.problem(`${path}: no oci-layout`);
  for (const { digest, annotations = {} } of layoutSchema.parse(JSON.parse(index.toString())).manifests) {
    const name = annotations[REF_NAME] ?? digest;
    if (inspection.images.has(name)) inspection.problem(`${path}: ${name} is there twice`);
    inspection.images.set(name, digest);
    inspection.closure(`${path}: ${name}`, digest, (wanted) => get(`blobs/${wanted.replace(':', '/')}`));
  }
}

function inspectArchive(path: string, bytes: Buffer, inspection: Inspection): void {
  const members = membersOf(bytes);
  if (typeof members === 'string') {
    inspection.problem(`${path}: ${members}`);
    return;
  }
  for (const [name, body] of members) {
    const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
    if (hex !== undefined && digestText(body) !== `sha256:${hex}`)
      inspection.problem(`${path}: ${name} is damaged`);
  }
  inspectLayout(path, (name) => members.get(name), inspection);
  const engines = members.get('manifest.json');
  if (engines === undefined) return;
  for (const { Config, Layers } of enginesSchema.parse(JSON.parse(engines.toString())))
    for (const name of [Config, ...Layers])
      if (!members.has(name)) inspection.problem(`${path}: manifest.json names ${name}`);
}

/** What is to be said of a place, which need not be there. For a pipe, `path` is a file of what came out of it. */
export function soundnessOf(kind: Kind, path: string): Soundness {
  const inspection = new Inspection();
  if (!existsSync(path)) return inspection;
  try {
    if (kind === 'reg') inspectStore(path, inspection);
    else if (kind === 'dir') inspectTree(path, inspection);
    else if (kind === 'oci') {
      for (const file of filesBelow(join(path, 'blobs')))
        inspection.named(join(path, 'blobs', file), basename(file));
      // A layout that was begun and whose first image is not there yet is no layout.
      if (existsSync(join(path, 'index.json')))
        inspectLayout(path, (name) => readIf(join(path, name)), inspection);
    } else inspectArchive(path, readFileSync(path), inspection);
  } catch (error) {
    inspection.problem(`${path}: ${String(error)}`);
  }
  return inspection;
}
