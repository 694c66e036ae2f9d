import { isObject } from '../model/json.js';
import { Findings, shown, type Spot } from './findings.js';
import { interpolate, type Variables } from './interpolate.js';
import type { Path, YamlDocument } from './yaml-document.js';

/** Of a reference with its variables. */
const MAX_TEXT = 4096;

/** One document of a Compose file. */
export interface Layer {
  readonly file: string;
  readonly document: YamlDocument;
  readonly variables: Variables;
}

/** A service as one layer has it. */
export interface Part {
  readonly layer: Layer;
  readonly service: Readonly<Record<string, unknown>>;
}

/** Layers that Compose merges, those with precedence first. */
export interface Project {
  readonly layers: readonly Layer[];
  /** By name. */
  readonly services: ReadonlyMap<string, readonly Part[]>;
}

export function projectOf(layers: readonly Layer[]): Project {
  const services = new Map<string, Part[]>();
  for (const layer of layers)
    for (const [name, service] of Object.entries(servicesOf(layer.document))) {
      if (!isObject(service)) continue;
      const known = services.get(name);
      if (known === undefined) services.set(name, [{ layer, service }]);
      else known.push({ layer, service });
    }
  return { layers, services };
}

function servicesOf({ value }: YamlDocument): Record<string, unknown> {
  return isObject(value) && isObject(value['services']) ? value['services'] : {};
}

/** `include: [path, {path: path | [path…]}]`; in a list, the later files are merged over the first. */
export function includesOf(value: unknown): string[] {
  const include = isObject(value) && Array.isArray(value['include']) ? (value['include'] as unknown[]) : [];
  return include
    .flatMap((one) => (isObject(one) ? one['path'] : one))
    .filter((path) => typeof path === 'string');
}

export function spotOf({ file, document }: Layer, path: Path): Spot {
  return { file, line: document.lineOf(path), field: path.join('.') };
}

/** The images of `volumes: [{type: image, source: REFERENCE}]`. */
export function findInMounts({ layer, service }: Part, name: string, findings: Findings): void {
  const volumes = Array.isArray(service['volumes']) ? (service['volumes'] as unknown[]) : [];
  for (const [i, volume] of volumes.entries())
    if (isObject(volume) && volume['type'] === 'image')
      findInField(layer, volume['source'], ['services', name, 'volumes', i, 'source'], findings);
}

/** A reference with variables. */
export function findInField(layer: Layer, text: unknown, path: Path, findings: Findings): void {
  if (typeof text !== 'string') return;
  const spot = spotOf(layer, path);
  if (text.length > MAX_TEXT) {
    findings.unknown(`${shown(text)} is longer than ${MAX_TEXT} characters`, spot);
    return;
  }
  const { text: reference, lacking } = interpolate(text, layer.variables);
  for (const [name, message] of new Map(lacking.map(({ name, message }) => [name, message])))
    findings.unknown(
      `${shown(text)}: the variable ${name} has no value${message ? ` (${shown(message)})` : ''}; put it into .env, or set it and use --env`,
      spot,
    );
  if (lacking.length > 0) return;
  const own = new Findings();
  own.found(reference, spot);
  // The value of a variable may be a secret.
  if (own.unknowns.length > 0 && reference !== text)
    findings.unknown(`${shown(text)} is not an image reference when its variables have their values`, spot);
  else findings.add(own);
}
