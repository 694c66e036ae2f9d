import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { splitReference } from '../model/reference.js';
import { Findings, type Spot, type Use } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { readText } from './text.js';
import { parseYaml, type YamlDocument } from './yaml.js';

/** https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ */
const NAMES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];
const MAX_NESTING = 50;
/** A JSON pointer to the image of a container. */
const CONTAINER_PATH = /\/(?:initContainers|containers)\/[^/]+\/image$/;

/** The file that makes a folder a kustomization. */
export function kustomizationIn(folder: string): string | undefined {
  return NAMES.map((name) => join(folder, name)).find((path) => existsSync(path));
}

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

/** What belongs to a kustomization and does not stand for itself: its resources, patches and generators. */
export function partsOfKustomization(folder: string): string[] {
  const file = kustomizationIn(folder);
  if (file === undefined) return [];
  try {
    // Errors are told where the kustomization itself is read.
    return [...parseYaml(readText(file), file, () => undefined)].flatMap(({ value }) => {
      if (!isObject(value)) return [];
      const lists = [
        'patchesStrategicMerge',
        'crds',
        'generators',
        'transformers',
        'validators',
        'configurations',
      ];
      const patches = [...objects(value['patches']), ...objects(value['patchesJson6902'])];
      return [
        ...pathsOf(value, folder, [...RESOURCES, ...lists]),
        ...patches.flatMap(({ path }) => (typeof path === 'string' ? [join(folder, path)] : [])),
      ];
    });
  } catch (error) {
    if (error instanceof ImgconvError) return [];
    throw error;
  }
}

/** Images of a kustomization: those of its resources, as its patches and `images:` change them. */
export function findInKustomization(folder: string, findings: Findings, above: readonly string[] = []): void {
  const file = kustomizationIn(folder);
  if (file === undefined) return;
  if (above.includes(folder) || above.length > MAX_NESTING) {
    findings.failed(new ImgconvError('DOCUMENT_INVALID', `${file}: it takes in itself`));
    return;
  }
  for (const document of readDocuments(file, findings)) {
    const { value } = document;
    if (!isObject(value)) continue;
    const own = new Findings();
    for (const field of RESOURCES)
      for (const [i, path] of strings(value[field]).entries())
        findInResource(
          path,
          { file, line: document.lineOf([field, i]), field: `${field}.${i}` },
          folder,
          own,
          above,
        );
    for (const [i] of objects(value['helmCharts']).entries())
      own.unknown('a chart of a repository: give the chart itself, too', {
        file,
        line: document.lineOf(['helmCharts', i]),
        field: `helmCharts.${i}`,
      });
    applyPatches(document, file, folder, own);
    const overrides = objects(value['images']);
    findings.add(own.map((use) => overrides.reduce(changed, use)));
  }
}

function findInResource(
  path: string,
  spot: Spot,
  folder: string,
  findings: Findings,
  above: readonly string[],
): void {
  const at = join(folder, path);
  if (!existsSync(at)) {
    // kustomize takes URLs of repositories and of files.
    if (/^[\w+.-]+:\/\/|^git@|^[\w.-]+\.\w+\/|[?&]ref=/.test(path))
      findings.unknown(`${path} is not on this machine`, spot);
    else
      findings.failed(
        new ImgconvError('NOT_FOUND', `${spot.file}:${spot.line ?? 0}: ${path}: no such file or folder`),
      );
    return;
  }
  if (statSync(at).isDirectory()) {
    if (kustomizationIn(at) === undefined) findings.unknown(`${path} has no kustomization.yaml`, spot);
    findInKustomization(at, findings, [...above, folder]);
    return;
  }
  for (const document of readDocuments(at, findings))
    if (isKubernetes(document.value)) findInKubernetes(document, at, findings);
}

function readDocuments(file: string, findings: Findings): readonly YamlDocument[] {
  try {
    return [...parseYaml(readText(file), file, findings.failed)];
  } catch (error) {
    findings.failed(asImgconvError(error, file));
    return [];
  }
}

/**
 * Patches may say other images than the resources. A merge patch takes the place of what the container of the same
 * name in the same resource says; of other patches both are listed, which is said.
 */
function applyPatches(document: YamlDocument, file: string, folder: string, findings: Findings): void {
  const { value } = document;
  if (!isObject(value)) return;
  const patches = [
    ...strings(value['patchesStrategicMerge']).map((text, i) => ({ text, at: ['patchesStrategicMerge', i] })),
    ...['patches', 'patchesJson6902'].flatMap((field) =>
      objects(value[field]).map(({ path, patch }, i) => ({ text: path ?? patch, at: [field, i] })),
    ),
  ];
  for (const { text, at } of patches) {
    if (typeof text !== 'string') continue;
    const spot = { file, line: document.lineOf(at), field: at.join('.') };
    const path = join(folder, text);
    const isFile = !text.includes('\n') && existsSync(path);
    const from = isFile ? path : file;
    const documents = isFile ? readDocuments(path, findings) : [...parseYaml(text, file, findings.failed)];
    const own = new Findings();
    for (const part of documents) {
      if (isKubernetes(part.value)) findInKubernetes(part, from, own);
      for (const operation of objects(part.value)) {
        const { path: target, value: image } = operation;
        if (typeof target === 'string' && target.endsWith('/image') && typeof image === 'string')
          own.found(image, spot, CONTAINER_PATH.test(target) ? `${from} ${target}` : undefined);
      }
    }
    const patched = isFile ? own : own.map((use) => ({ ...use, ...spot }));
    const names = new Set(patched.uses.flatMap(({ container }) => container ?? []));
    const replaced = findings.remove(names);
    if (patched.uses.some(({ container }) => container === undefined || !replaced.has(container)))
      findings.unknown('a patch says other images: those of the resources are listed as well', spot);
    findings.add(patched);
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
  const name = typeof newName === 'string' && newName !== '' ? newName : before.name;
  const tag =
    (typeof newTag === 'string' && newTag !== '') || typeof newTag === 'number' ? String(newTag) : undefined;
  const hash = typeof digest === 'string' && digest !== '' ? digest : undefined;
  const suffix = typeof tagSuffix === 'string' ? tagSuffix : '';
  const [newer, pinned] =
    tag !== undefined || hash !== undefined
      ? [tag, hash]
      : suffix === ''
        ? [before.tag, before.digest]
        : [`${before.tag ?? ''}${suffix}`, undefined];
  const reference = `${name}${newer === undefined ? '' : `:${newer}`}${pinned === undefined ? '' : `@${pinned}`}`;
  return { ...use, reference };
}
