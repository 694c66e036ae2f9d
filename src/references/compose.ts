import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { asImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import type { Findings, Spot } from './findings.js';
import { interpolate } from './interpolate.js';
import { readText } from './text.js';
import { parseYaml, type Path, type YamlDocument } from './yaml.js';

/** https://github.com/compose-spec/compose-spec/blob/main/spec.md, "Compose file" */
const NAME = /^(?:docker-)?compose(?:\.[\w.-]+)?\.ya?ml$/;
/** Files that include or extend others. */
const MAX_NESTING = 20;

export type Variables = Readonly<Record<string, string | undefined>>;

export function isCompose(value: unknown, file: string): boolean {
  if (!isObject(value) || !isObject(value['services'])) return false;
  const known = (one: unknown) => isObject(one) && ['image', 'build', 'extends'].some((key) => key in one);
  return NAME.test(basename(file)) || Object.values(value['services']).some(known);
}

/** `compose.override.yaml` beside `compose.yaml`, which Compose lays over it unasked. */
export function overrideOf(file: string): string | undefined {
  const [, stem, extension] = /^((?:docker-)?compose)\.(ya?ml)$/.exec(basename(file)) ?? [];
  if (stem === undefined || extension === undefined) return undefined;
  return [extension, 'yaml', 'yml']
    .map((one) => join(dirname(file), `${stem}.override.${one}`))
    .find((path) => existsSync(path));
}

/** Values as Compose takes them: the environment, then `.env` beside the file. */
function variablesFor(file: string, environment: Variables): Variables {
  const path = join(dirname(file), '.env');
  const own: Record<string, string> = {};
  for (const line of existsSync(path) ? readText(path).split(/\r?\n/) : []) {
    const [, name, quoted, plain] =
      /^\s*(?:export\s+)?([_a-zA-Z]\w*)\s*=\s*(?:(".*"|'.*')|(.*?))(?:\s+#.*|\s*)$/.exec(line) ?? [];
    if (name !== undefined) own[name] = quoted?.slice(1, -1) ?? plain ?? '';
  }
  return { ...own, ...environment };
}

interface Layer {
  readonly file: string;
  readonly document: YamlDocument;
  readonly variables: Variables;
}

/** Images of the services of a Compose file; services that are only built have none. */
export function findInCompose(
  document: YamlDocument,
  file: string,
  environment: Variables,
  findings: Findings,
  depth = 0,
): void {
  const layers: Layer[] = [{ file, document, variables: variablesFor(file, environment) }];
  const override = overrideOf(file);
  if (override !== undefined) layers.unshift(...layersOf(override, environment, findings));
  const names = new Set(layers.flatMap((layer) => Object.keys(servicesOf(layer.document))));
  for (const name of names) findInService(name, layers, environment, findings, 0);
  for (const path of includesOf(document.value)) {
    const spot = { file, line: document.lineOf(['include']), field: 'include' };
    const target = resolve(dirname(file), path);
    if (depth >= MAX_NESTING || !existsSync(target)) {
      findings.unknown(`${path} is included, and cannot be read`, spot);
      continue;
    }
    for (const layer of layersOf(join(dirname(file), path), environment, findings))
      findInCompose(layer.document, layer.file, environment, findings, depth + 1);
  }
}

function layersOf(file: string, environment: Variables, findings: Findings): Layer[] {
  try {
    const variables = variablesFor(file, environment);
    return [...parseYaml(readText(file), file, findings.failed)].map((document) => ({
      file,
      document,
      variables,
    }));
  } catch (error) {
    findings.failed(asImgconvError(error, file));
    return [];
  }
}

function servicesOf({ value }: YamlDocument): Record<string, unknown> {
  return isObject(value) && isObject(value['services']) ? value['services'] : {};
}

/** `include: [path, {path: path | [path…]}]`; of a list the first is the file, the others lie over it. */
export function includesOf(value: unknown): string[] {
  const include = isObject(value) && Array.isArray(value['include']) ? (value['include'] as unknown[]) : [];
  return include
    .map((one) => (isObject(one) ? one['path'] : one))
    .flat()
    .filter((path) => typeof path === 'string');
}

/** `layers`: the file and what lies over it, the uppermost first. */
function findInService(
  name: string,
  layers: readonly Layer[],
  environment: Variables,
  findings: Findings,
  depth: number,
): void {
  const services = layers.flatMap((layer) => {
    const service = servicesOf(layer.document)[name];
    return isObject(service) ? [{ layer, service }] : [];
  });
  const first = (key: string) => services.find(({ service }) => key in service);
  for (const { layer, service } of services)
    for (const { path, source } of imageMounts(service, ['services', name]))
      found(layer, source, path, findings);
  const image = first('image');
  if (image !== undefined) {
    const value = image.service['image'];
    const builds = first('build') !== undefined && first('pull_policy')?.service['pull_policy'] === 'build';
    if (typeof value === 'string' && !builds)
      found(image.layer, value, ['services', name, 'image'], findings);
    return;
  }
  if (first('build') !== undefined) return;
  const extending = first('extends');
  if (extending === undefined) return;
  const { layer, service } = extending;
  const path = ['services', name, 'extends'];
  const from = typeof service['extends'] === 'string' ? { service: service['extends'] } : service['extends'];
  const other = isObject(from) ? from['service'] : undefined;
  if (!isObject(from) || typeof other !== 'string' || depth >= MAX_NESTING) {
    findings.unknown('cannot be followed', spotOf(layer, path));
    return;
  }
  const next =
    typeof from['file'] === 'string'
      ? layersOf(join(dirname(layer.file), from['file']), environment, findings)
      : layers;
  findInService(other, next, environment, findings, depth + 1);
}

/** `volumes: [{type: image, source: REFERENCE}]` */
function imageMounts(service: Record<string, unknown>, path: Path): { path: Path; source: string }[] {
  const volumes = Array.isArray(service['volumes']) ? (service['volumes'] as unknown[]) : [];
  return volumes.flatMap((volume, i) =>
    isObject(volume) && volume['type'] === 'image' && typeof volume['source'] === 'string'
      ? [{ path: [...path, 'volumes', i, 'source'], source: volume['source'] }]
      : [],
  );
}

function spotOf({ file, document }: Layer, path: Path): Spot {
  return { file, line: document.lineOf(path), field: path.join('.') };
}

function found(layer: Layer, text: string, path: Path, findings: Findings): void {
  const { text: reference, lacking } = interpolate(text, layer.variables);
  const spot = spotOf(layer, path);
  for (const { name, message } of lacking)
    findings.unknown(
      `${text}: the variable ${name} has no value${message ? ` (${message})` : ''}; set it, or put it into .env`,
      spot,
    );
  if (lacking.length === 0) findings.found(reference, spot);
}
