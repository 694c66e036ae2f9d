import { isObject } from '../model/json.js';
import { imageFields, type FieldRules } from './fields.js';
import type { Findings } from './findings.js';
import type { Path, YamlDocument } from './yaml.js';

/** Their fields called `image` speak of other things: schemas, and bytes in base64. */
const WITHOUT_IMAGES = new Set(['CustomResourceDefinition', 'Secret']);

const rules: FieldRules = { isImageKey: (key) => key === 'image' };

export function isKubernetes(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isKubernetes);
  return isObject(value) && typeof value['apiVersion'] === 'string' && typeof value['kind'] === 'string';
}

/**
 * Images of one document: a resource of any kind, a `List`, or a JSON array of them. In a resource every `image` field
 * counts, wherever it stands: containers of all sorts in all workloads, and custom resources, also in split form. An image
 * volume has its reference a level deeper (Kubernetes 1.31, `ImageVolumeSource`).
 */
export function findInKubernetes(document: YamlDocument, file: string, findings: Findings): void {
  for (const { resource, path } of resourcesOf(document.value, [])) {
    if (WITHOUT_IMAGES.has(String(resource['kind']))) continue;
    const spot = (at: Path) => ({ file, line: document.lineOf(at), field: at.join('.') });
    for (const field of imageFields(resource, rules, path)) {
      if (field.reference !== undefined)
        findings.found(
          field.reference,
          spot(field.path),
          containerOf(resource, field.path.slice(path.length)),
        );
      else findings.unknown(field.problem ?? '', spot(field.path));
    }
    for (const { reference, at } of imageVolumes(resource, path)) findings.found(reference, spot(at));
  }
}

/** `Deployment/web/nginx` for `….containers.N.image` and `….initContainers.N.image`. */
function containerOf(resource: Record<string, unknown>, path: Path): string | undefined {
  const [list, , last] = path.slice(-3);
  if (last !== 'image' || (list !== 'containers' && list !== 'initContainers')) return undefined;
  const { kind, metadata } = resource;
  const name = isObject(metadata) ? metadata['name'] : undefined;
  return [kind, name, nameAt(resource, path.slice(0, -1))].map(String).join('/');
}

function nameAt(value: unknown, path: Path): unknown {
  for (const key of [...path, 'name'])
    value =
      typeof value === 'object' && value !== null
        ? (value as Record<string | number, unknown>)[key]
        : undefined;
  return value;
}

function* resourcesOf(
  value: unknown,
  path: Path,
): Generator<{ resource: Record<string, unknown>; path: Path }> {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* resourcesOf(item, [...path, i]);
  } else if (isObject(value)) {
    if (String(value['kind']).endsWith('List') && Array.isArray(value['items']))
      yield* resourcesOf(value['items'], [...path, 'items']);
    else yield { resource: value, path };
  }
}

function* imageVolumes(value: unknown, path: Path): Generator<{ reference: string; at: Path }> {
  if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* imageVolumes(item, [...path, i]);
  if (!isObject(value)) return;
  for (const [key, child] of Object.entries(value)) {
    const at = [...path, key];
    if (key === 'image' && isObject(child) && typeof child['reference'] === 'string')
      yield { reference: child['reference'], at: [...at, 'reference'] };
    else yield* imageVolumes(child, at);
  }
}
