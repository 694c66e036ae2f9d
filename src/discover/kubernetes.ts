import { isObject, valueAt } from '../model/json.js';
import { imageFields } from './fields.js';
import type { Findings } from './findings.js';
import type { Path, YamlDocument } from './yaml-document.js';

/** In these kinds a field called `image` is something else: a schema, or bytes in base64. */
const WITHOUT_IMAGES = new Set(['CustomResourceDefinition', 'Secret']);

export function isKubernetes(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isKubernetes);
  return isObject(value) && typeof value['apiVersion'] === 'string' && typeof value['kind'] === 'string';
}

/**
 * Images of one document: a resource of any kind, a `List`, or a JSON array of them. In a resource every `image` field
 * counts, wherever it is: containers of all sorts in all workloads, image volumes, and custom resources.
 */
export function findInKubernetes(document: YamlDocument, file: string, findings: Findings): void {
  for (const { resource, path } of resourcesOf(document.value, [])) {
    if (WITHOUT_IMAGES.has(String(resource['kind']))) continue;
    for (const { path: at, reference, problem } of imageFields(resource, {}, path)) {
      const spot = { file, line: document.lineOf(at), field: at.join('.') };
      if (problem !== undefined) findings.unknown(problem, spot);
      if (reference !== undefined)
        findings.found(reference, spot, containerOf(resource, at.slice(path.length)));
    }
  }
}

/** `Deployment/web/nginx` for `….containers.N.image` and `….initContainers.N.image`. */
function containerOf(resource: Record<string, unknown>, path: Path): string | undefined {
  const [list, , last] = path.slice(-3);
  if (last !== 'image' || (list !== 'containers' && list !== 'initContainers')) return undefined;
  const name = valueAt(resource, ['metadata', 'name']);
  return [resource['kind'], name, valueAt(resource, [...path.slice(0, -1), 'name'])].map(String).join('/');
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
