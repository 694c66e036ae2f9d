import { basename, join } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { splitReference } from '../model/reference.js';
import { Findings, MAX_REFERENCE, shown, type Spot, type Use } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { OUTSIDE, type SourceFiles } from './source-files.js';
import { parseYaml, type YamlDocument } from './yaml.js';

/** https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ */
const NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
const MAX_NESTING = 50;
/** A JSON pointer to the image of a container. */
const CONTAINER_PATH = /\/(?:initContainers|containers)\/[^/]+\/image$/;

/** What all kustomizations of a run come to, while they are held to be taken in by others. */
const MAX_HELD = 200_000;

export function isKustomization(file: string): boolean {
  return NAMES.includes(basename(file));
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function objects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Paths of files and folders that a kustomization takes in, joined to its folder. */
function pathsOf(value: Record<string, unknown>, folder: string, fields: readonly string[]): string[] {
  return fields.flatMap((field) => strings(value[field])).map((path) => join(folder, path));
}

const RESOURCES = ['resources', 'bases', 'components'];
const LISTS = ['patchesStrategicMerge', 'crds', 'generators', 'transformers', 'validators', 'configurations'];

/** The kustomizations of a run. Each is read and resolved once, however many take it in. */
export class Kustomizations {
  readonly #files: SourceFiles;
  /** By their folders. */
  readonly #resolved = new Map<string, Findings>();
  readonly #resources = new Map<string, Findings>();
  #held = 0;

  constructor(files: SourceFiles) {
    this.#files = files;
  }

  /** The file that makes a folder a kustomization; also one that cannot be read, which is said then. */
  fileIn(folder: string): string | undefined {
    return NAMES.map((name) => join(folder, name)).find((path) => this.#files.entry(path).kind !== 'missing');
  }

  /** What belongs to a kustomization and does not stand for itself: its resources, patches and generators. */
  partsOf(folder: string): string[] {
    const file = this.fileIn(folder);
    if (file === undefined) return [];
    // Errors are told where the kustomization itself is read.
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
      for (const [i, path] of strings(value[field]).entries()) {
        const spot = { file, line: document.lineOf([field, i]), field: `${field}.${i}` };
        this.#findInResource(path, spot, folder, own, above);
      }
    for (const [i] of objects(value['helmCharts']).entries())
      own.unknown('a chart of a repository: give the chart itself, too', {
        file,
        line: document.lineOf(['helmCharts', i]),
        field: `helmCharts.${i}`,
      });
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
    if (entry.kind === 'missing') {
      // kustomize takes URLs of repositories and of files.
      if (/^[\w+.-]+:\/\/|^git@|^[\w.-]+\.\w+\/|[?&]ref=/.test(path))
        findings.unknown(`${shown(path)} is not on this machine`, spot);
      else
        findings.failed(
          new ImgconvError(
            'NOT_FOUND',
            `${spot.file}:${spot.line ?? 0}: ${shown(path)}: no such file or folder`,
          ),
        );
    } else if (entry.kind === 'outside') findings.unknown(`${shown(path)} ${OUTSIDE}`, spot);
    else if (entry.kind === 'other') findings.unknown(`${shown(path)} is not a regular file`, spot);
    else if (entry.kind === 'file') this.#take(this.#resourceOf(at, entry.real), findings, spot.file);
    else {
      if (this.fileIn(at) === undefined) findings.unknown(`${path} has no kustomization.yaml`, spot);
      this.#take(this.#findingsOf(at, above), findings, spot.file);
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
   * Patches may say other images than the resources. A merge patch takes the place of what the container of the same
   * name in the same resource says; of other patches both are listed, which is said.
   */
  #applyPatches(document: YamlDocument, file: string, folder: string, findings: Findings): void {
    for (const { text, at } of patchesOf(document.value)) {
      if (typeof text !== 'string') continue;
      const spot = { file, line: document.lineOf(at), field: at.join('.') };
      const path = join(folder, text);
      const kind = text.includes('\n') ? 'missing' : this.#files.entry(path).kind;
      if (kind === 'outside' || kind === 'other') {
        findings.unknown(`${shown(text)} ${kind === 'outside' ? OUTSIDE : 'is not a regular file'}`, spot);
        continue;
      }
      const isFile = kind === 'file';
      const from = isFile ? path : file;
      const own = new Findings();
      const { effort } = this.#files;
      for (const part of isFile
        ? this.#read(path, own.failed)
        : parseYaml(text, file, own.failed, { effort }))
        findInPatch(part, from, spot, own);
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

function patchesOf(value: unknown): { text: unknown; at: (string | number)[] }[] {
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
 * very name. A new tag or digest takes the place of both.
 */
function changed(use: Use, entry: Record<string, unknown>): Use {
  const { newName, newTag, digest, tagSuffix } = entry;
  const before = splitReference(use.reference);
  if (use.container === undefined || before.name !== entry['name']) return use;
  const name = cut(newName) ?? before.name;
  const tag = cut(typeof newTag === 'number' ? String(newTag) : newTag);
  const hash = cut(digest);
  const suffix = cut(tagSuffix) ?? '';
  const [newer, pinned] =
    tag !== undefined || hash !== undefined
      ? [tag, hash]
      : suffix === ''
        ? [before.tag, before.digest]
        : [`${before.tag ?? ''}${suffix}`, undefined];
  const reference = `${name}${newer === undefined ? '' : `:${newer}`}${pinned === undefined ? '' : `@${pinned}`}`;
  return { ...use, reference };
}

/** Long enough to be refused when it is too long. */
function cut(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, MAX_REFERENCE + 1) : undefined;
}
