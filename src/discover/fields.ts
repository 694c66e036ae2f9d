import { isObject } from '../model/json.js';
import type { Path } from './yaml.js';

/** What a field says of an image: a reference, or why there is none to be had. */
export interface ImageField {
  readonly path: Path;
  readonly reference?: string | undefined;
  readonly problem?: string | undefined;
}

export interface FieldRules {
  /** True for the keys whose values are images. */
  isImageKey(key: string): boolean;
  /** `{repository, tag}` is an image under any key. */
  readonly splitAnywhere?: boolean | undefined;
  /** For images that have neither tag nor digest. */
  readonly fallbackTag?: string | undefined;
  /** Goes before any registry that a split image says. */
  readonly registry?: string | undefined;
}

function text(value: unknown): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value.trim();
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined;
}

/** All image fields of a document, in its order; the data has no cycles and is bounded (`parseYaml`). */
export function* imageFields(value: unknown, rules: FieldRules, path: Path = []): Generator<ImageField> {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* imageFields(item, rules, [...path, i]);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    if (rules.isImageKey(key) && typeof child === 'string') {
      const tag = text(value['tag'] ?? value['imageTag'] ?? value[`${key}Tag`]);
      yield { path: at, reference: withTag(child.trim(), tag) };
    } else if (isObject(child) && isSplit(child, rules.isImageKey(key), rules)) yield split(child, rules, at);
    else yield* imageFields(child, rules, at);
  }
}

/** `image: nginx` beside `tag: 1.25`; a tag or digest of its own goes first. */
function withTag(reference: string, tag: string | undefined): string {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  return tag === undefined || reference === '' || /[:@{$]/.test(name) ? reference : `${reference}:${tag}`;
}

/** The usual shapes: `{repository, tag}`, `{registry, repository, tag, digest}`, `{registry, image, tag}`, `{name, tag}`. */
function isSplit(parts: Record<string, unknown>, named: boolean, { splitAnywhere }: FieldRules): boolean {
  const has = (key: string) => text(parts[key]) !== undefined;
  if (has('repository')) {
    return (
      named ||
      (splitAnywhere === true && ['tag', 'digest', 'registry', 'pullPolicy'].some((key) => key in parts))
    );
  }
  return named && (has('image') || has('name')) && (has('tag') || has('digest') || has('registry'));
}

function split(
  parts: Record<string, unknown>,
  { registry, fallbackTag }: FieldRules,
  path: Path,
): ImageField {
  const repository = text(parts['repository']) ?? text(parts['image']) ?? text(parts['name']) ?? '';
  const host = registry ?? text(parts['registry']);
  const name = host === undefined ? repository : `${host.replace(/\/+$/, '')}/${repository}`;
  const digest = text(parts['digest']) ?? text(parts['sha256']) ?? text(parts['sha']);
  const tag = text(parts['tag']) ?? text(parts['version']);
  const last = repository.slice(repository.lastIndexOf('/') + 1);
  const suffix = digest === undefined ? '' : `@${digest.includes(':') ? digest : `sha256:${digest}`}`;
  if (tag !== undefined && !last.includes(':')) return { path, reference: `${name}:${tag}${suffix}` };
  if (suffix !== '' || /[:@]/.test(last)) return { path, reference: `${name}${suffix}` };
  if (fallbackTag !== undefined)
    return {
      path,
      reference: `${name}:${fallbackTag}`,
      problem: `has no tag, so the chart's appVersion ${fallbackTag} was taken`,
    };
  return { path, problem: `${name} has neither a tag nor a digest` };
}
