import { isObject } from '../model/json.js';
import type { Path } from './yaml-document.js';

/** What a field says of an image: a reference, a problem, or both. */
export interface ImageField {
  readonly path: Path;
  readonly reference?: string | undefined;
  readonly problem?: string | undefined;
}

export interface FieldRules {
  /** As in a chart's values: each key that ends in `image` counts, and `{repository, tag}` under any key. */
  readonly loose?: boolean | undefined;
  /** For images that have neither tag nor digest. */
  readonly fallbackTag?: string | undefined;
  /** Replaces the registry of a split image. */
  readonly registry?: string | undefined;
}

type Parts = Readonly<Record<string, unknown>>;

function text(value: unknown): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value.trim();
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined;
}

/** All image fields of a document, in its order; the data has no cycles and is bounded (`parseYaml`). */
export function* imageFields(value: unknown, rules: FieldRules = {}, path: Path = []): Generator<ImageField> {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* imageFields(item, rules, [...path, i]);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    const isImage = rules.loose === true ? /image$/i.test(key) : key === 'image';
    if (isImage && typeof child === 'string') {
      const tag = text(value['tag'] ?? value['imageTag'] ?? value[`${key}Tag`]);
      yield { path: at, reference: withTag(child.trim(), tag) };
    } else if (isObject(child) && isSplit(child, isImage, rules)) yield joined(child, rules, at);
    else if (isImage && isObject(child) && typeof child['reference'] === 'string')
      // An image volume (Kubernetes 1.31, `ImageVolumeSource`).
      yield { path: [...at, 'reference'], reference: child['reference'] };
    else yield* imageFields(child, rules, at);
  }
}

/** `image: nginx` beside `tag: 1.25`; a tag or digest of its own has precedence. */
function withTag(reference: string, tag: string | undefined): string {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  return tag === undefined || reference === '' || /[:@{$]/.test(name) ? reference : `${reference}:${tag}`;
}

/** The usual forms: `{repository, tag}`, `{registry, repository, tag, digest}`, `{registry, image, tag}`, `{name, tag}`. */
function isSplit(parts: Parts, isImage: boolean, { loose }: FieldRules): boolean {
  const has = (...keys: string[]) => keys.some((key) => text(parts[key]) !== undefined);
  if (has('repository'))
    return (
      isImage || (loose === true && ['tag', 'digest', 'registry', 'pullPolicy'].some((key) => key in parts))
    );
  return isImage && has('image', 'name') && has('tag', 'digest', 'registry');
}

function joined(parts: Parts, { registry, fallbackTag }: FieldRules, path: Path): ImageField {
  const first = (...keys: string[]) => keys.map((key) => text(parts[key])).find((one) => one !== undefined);
  const repository = first('repository', 'image', 'name') ?? '';
  const host = registry ?? first('registry');
  const name = host === undefined ? repository : `${host.replace(/\/+$/, '')}/${repository}`;
  const digest = first('digest', 'sha256', 'sha');
  const tag = first('tag', 'version');
  const last = repository.slice(repository.lastIndexOf('/') + 1);
  const suffix = digest === undefined ? '' : `@${digest.includes(':') ? digest : `sha256:${digest}`}`;
  if (tag !== undefined && !last.includes(':')) return { path, reference: `${name}:${tag}${suffix}` };
  if (suffix !== '' || /[:@]/.test(last)) return { path, reference: `${name}${suffix}` };
  if (fallbackTag === undefined) return { path, problem: `${name} has neither a tag nor a digest` };
  return {
    path,
    reference: `${name}:${fallbackTag}`,
    problem: `has no tag, so the chart's appVersion ${fallbackTag} was taken`,
  };
}
