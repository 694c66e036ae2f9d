import { basename, join } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { splitReference } from '../model/reference.js';
import { Findings, MAX_REFERENCE, shown, type Spot, type Use } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import type { SourceFiles } from './source-files.js';
import { parseYaml } from './yaml.js';
import type { Path, YamlDocument } from './yaml-document.js';

/** https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ */
const NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
const MAX_NESTING = 50;
/** A JSON pointer to the image of a container. */
const CONTAINER_PATH = /\/(?:initContainers|containers)\/[^/]+\/image$/;

/** Findings of all kustomizations of a run, which are kept for others that include them. */
const MAX_HELD = 200_000;
/** URLs of repositories and of files, which kustomize takes. */
const REMOTE = /^[\w+.-]+:\/\/|^git@|^[\w.-]+\.\w+\/|[?&]ref=/;

export function isKustomization(file: string): boolean {
  return NAMES.includes(basename(file));
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function objects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Paths of files and folders in these fields, joined to the kustomization's folder. */
function pathsOf(value: Record<string, unknown>, folder: string, fields: readonly string[]): string[] {
  return fields.flatMap((field) => strings(value[field])).map((path) => join(folder, path));
}

const RESOURCES = ['resources', 'bases', 'components'];
const LISTS = ['patchesStrategicMerge', 'crds', 'generators', 'transformers', 'validators', 'configurations'];

/** The kustomizations of a run. Each is read and resolved once, however many include it. */
export class Kustomizations {
  readonly #files: SourceFiles;
  /** By their folders. */
  readonly #resolved = new Map<string, Findings>();
  readonly #resources = new Map<string, Findings>();
  #held = 0;

  constructor(files: SourceFiles) {
    this.#files = files;
  }

  /** The file that makes a folder a kustomization, even one that cannot be read. */
  fileIn(folder: string): string | undefined {
    return NAMES.map((name) => join(folder, name)).find((path) => this.#files.entry(path).kind !== 'missing');
  }

  /** Files and folders that count only as parts of this kustomization: its resources, patches and generators. */
  partsOf(folder: string): string[] {
    const file = this.fileIn(folder);
    if (file === undefined) return [];
    // Errors are reported where the kustomization itself is read.
    return [...this.#read(file, () => undefined)].flatMap(({ value }) => {
      if (!isObject(value)) return [];
      const patches = [...objects(value['patches']), ...objects(value['patchesJson6902'])];
      return [
        ...pathsOf(value, folder, [...RESOURCES, ...LISTS]),
        ...patches.flatMap(({ path }) => (typeof path === 'string' ? [join(folder, path)] : [])),
      ];
    });
  }

  /** Images of a kustomization: those of its resources, as its patches and `images:` change them. */
  find(folder: string, findings: Findings): void {
    findings.add(this.#findingsOf(folder, []));
  }

  isResolved(folder: string): boolean {
    return this.#resolved.has(this.#keyOf(folder));
  }

  #keyOf(folder: string): string {
    const entry = this.#files.entry(folder);
    return entry.kind === 'folder' ? entry.real : folder;
  }

  #findingsOf(folder: string, above: readonly string[]): Findings {
    const file = this.fileIn(folder);
    if (file === undefined) return new Findings();
    const key = this.#keyOf(folder);
    const known = this.#resolved.get(key);
    if (known !== undefined) return known;
    const found = new Findings();
    const wrong = above.includes(key)
      ? 'it takes in itself'
      : above.length >= MAX_NESTING
        ? `kustomizations take in each other more than ${MAX_NESTING} deep`
        : undefined;
    if (wrong !== undefined) {
      found.failed(new ImgconvError('DOCUMENT_INVALID', `${file}: ${wrong}`));
      return found;
    }
    for (const document of this.#read(file, found.failed))
      found.addNew(this.#findingsIn(document, file, folder, [...above, key]));
    return this.#hold(this.#resolved, key, found, file);
  }

  #hold(into: Map<string, Findings>, key: string, found: Findings, file: string): Findings {
    if ((this.#held += found.size) > MAX_HELD)
      throw new ImgconvError(
        'DOCUMENT_INVALID',
        `${file}: the kustomizations come to more than ${MAX_HELD} uses of images`,
      );
    into.set(key, found);
    return found;
  }

  #findingsIn(document: YamlDocument, file: string, folder: string, above: readonly string[]): Findings {
    const { value } = document;
    const own = new Findings();
    if (!isObject(value)) return own;
    for (const field of RESOURCES)
      for (const [i, path] of strings(value[field]).entries())
        this.#findInResource(path, spotOf(document, file, [field, i]), folder, own, above);
    for (const [i] of objects(value['helmCharts']).entries())
      own.unknown(
        'a chart of a repository: give the chart itself, too',
        spotOf(document, file, ['helmCharts', i]),
      );
    this.#applyPatches(document, file, folder, own);
    const overrides = objects(value['images']);
    this.#files.effort.spend(own.uses.length * overrides.length, file);
    return own.map((use) => overrides.reduce(changed, use));
  }

  #findInResource(
    path: string,
    spot: Spot,
    folder: string,
    findings: Findings,
    above: readonly string[],
  ): void {
    const at = join(folder, path);
    const entry = this.#files.entry(at);
    const refusal = this.#files.refusal(at);
    if (refusal !== undefined) findings.unknown(`${shown(path)} ${refusal}`, spot);
    else if (entry.kind === 'file') this.#take(this.#resourceOf(at, entry.real), findings, spot.file);
    else if (entry.kind === 'folder') {
      if (this.fileIn(at) === undefined) findings.unknown(`${path} has no kustomization.yaml`, spot);
      this.#take(this.#findingsOf(at, above), findings, spot.file);
    } else if (REMOTE.test(path)) findings.unknown(`${shown(path)} is not on this machine`, spot);
    else {
      const where = `${spot.file}:${spot.line ?? 0}: ${shown(path)}`;
      findings.failed(new ImgconvError('NOT_FOUND', `${where}: no such file or folder`));
    }
  }

  #take(found: Findings, into: Findings, file: string): void {
    this.#files.effort.spend(found.size, file);
    into.addNew(found);
  }

  #resourceOf(at: string, real: string): Findings {
    const known = this.#resources.get(real);
    if (known !== undefined) return known;
    const found = new Findings();
    for (const document of this.#read(at, found.failed))
      if (isKubernetes(document.value)) findInKubernetes(document, at, found);
    return this.#hold(this.#resources, real, found, at);
  }

  *#read(file: string, failed: (error: ImgconvError) => void): Generator<YamlDocument> {
    try {
      yield* parseYaml(this.#files.text(file), file, failed, { effort: this.#files.effort });
    } catch (error) {
      failed(asImgconvError(error, file));
    }
  }

  /**
   * Patches may name other images than the resources do. A merge patch replaces the image of the container of the same
   * name in the same resource; with other patches, both images are listed, and an `Unknown` says so.
   */
  #applyPatches(document: YamlDocument, file: string, folder: string, findings: Findings): void {
    for (const { text, at } of patchesOf(document.value)) {
      if (typeof text !== 'string') continue;
      const spot = spotOf(document, file, at);
      const path = join(folder, text);
      const isInline = text.includes('\n');
      const refusal = isInline ? undefined : this.#files.refusal(path);
      if (refusal !== undefined) {
        findings.unknown(`${shown(text)} ${refusal}`, spot);
        continue;
      }
      const { effort } = this.#files;
      const isFile = !isInline && this.#files.entry(path).kind === 'file';
      const from = isFile ? path : file;
      const own = new Findings();
      const parts = isFile ? this.#read(path, own.failed) : parseYaml(text, file, own.failed, { effort });
      for (const part of parts) findInPatch(part, from, spot, own);
      const patched = isFile ? own : own.map((use) => ({ ...use, ...spot }));
      const names = new Set(patched.uses.flatMap(({ container }) => container ?? []));
      if (names.size > 0) effort.spend(findings.uses.length, file);
      const replaced = names.size > 0 ? findings.remove(names) : names;
      if (patched.uses.some(({ container }) => container === undefined || !replaced.has(container)))
        findings.unknown('a patch says other images: those of the resources are listed as well', spot);
      findings.add(patched);
    }
  }
}

function spotOf(document: YamlDocument, file: string, at: Path): Spot {
  return { file, line: document.lineOf(at), field: at.join('.') };
}

function patchesOf(value: unknown): { text: unknown; at: Path }[] {
  if (!isObject(value)) return [];
  return [
    ...strings(value['patchesStrategicMerge']).map((text, i) => ({ text, at: ['patchesStrategicMerge', i] })),
    ...['patches', 'patchesJson6902'].flatMap((field) =>
      objects(value[field]).map(({ path, patch }, i) => ({ text: path ?? patch, at: [field, i] })),
    ),
  ];
}

function findInPatch(part: YamlDocument, from: string, spot: Spot, findings: Findings): void {
  if (isKubernetes(part.value)) findInKubernetes(part, from, findings);
  for (const operation of objects(part.value)) {
    const { path: target, value: image } = operation;
    if (typeof target === 'string' && target.endsWith('/image') && typeof image === 'string')
      findings.found(image, spot, CONTAINER_PATH.test(target) ? `${from} ${target}` : undefined);
  }
}

/**
 * One entry of `images:` (kustomize `api/filters/imagetag`): of containers and init containers whose image has this
 * very name. A new tag or digest replaces both.
 */
function changed(use: Use, entry: Record<string, unknown>): Use {
  const { newName, newTag, tagSuffix } = entry;
  const before = splitReference(use.reference);
  if (use.container === undefined || before.name !== entry['name']) return use;
  const name = cut(newName) ?? before.name;
  const suffix = cut(tagSuffix);
  let tag = cut(typeof newTag === 'number' ? String(newTag) : newTag);
  let digest = cut(entry['digest']);
  if (tag === undefined && digest === undefined) {
    tag = suffix === undefined ? before.tag : `${before.tag ?? ''}${suffix}`;
    digest = suffix === undefined ? before.digest : undefined;
  }
  const reference = `${name}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return { ...use, reference };
}

/** Long enough to be refused when it is too long. */
function cut(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, MAX_REFERENCE + 1) : undefined;
}
