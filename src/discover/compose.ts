import { basename, dirname, join, resolve } from 'node:path';
import { asImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { Findings, shown, type Spot } from './findings.js';
import { interpolate } from './interpolate.js';
import { OUTSIDE, type SourceFiles } from './source-files.js';
import { parseYaml, type Path, type YamlDocument } from './yaml.js';

/** https://github.com/compose-spec/compose-spec/blob/main/spec.md, "Compose file" */
const NAME = /^(?:docker-)?compose(?:\.[\w.-]+)?\.ya?ml$/;

/** Of a reference with its variables. */
const MAX_TEXT = 4096;

export type Variables = Readonly<Record<string, string | undefined>>;

export function isCompose(value: unknown, file: string): boolean {
  if (!isObject(value) || !isObject(value['services'])) return false;
  const known = (one: unknown) => isObject(one) && ['image', 'build', 'extends'].some((key) => key in one);
  return NAME.test(basename(file)) || Object.values(value['services']).some(known);
}

/** Values of a `.env` file: `NAME=value`, with quotes and comments. */
export function parseVariables(text: string): Record<string, string> {
  const values = Object.create(null) as Record<string, string>;
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf('=');
    const name = line
      .slice(0, Math.max(equals, 0))
      .trim()
      .replace(/^export\s+/, '');
    if (/^[_a-zA-Z]\w*$/.test(name)) values[name] = unquoted(line.slice(equals + 1).trim());
  }
  return values;
}

function unquoted(text: string): string {
  const end = /^["']/.test(text) ? text.indexOf(text.charAt(0), 1) : -1;
  if (end > 0) return text.slice(1, end);
  const comment = text.startsWith('#') ? 0 : text.search(/\s#/);
  return comment < 0 ? text : text.slice(0, comment).trimEnd();
}

interface Layer {
  readonly file: string;
  readonly document: YamlDocument;
  readonly variables: Variables;
}

/** A service as one layer has it. */
interface Part {
  readonly layer: Layer;
  readonly service: Record<string, unknown>;
}

/** A Compose file with what lies over it, the uppermost first. */
interface Project {
  readonly layers: readonly Layer[];
  /** By name. */
  readonly services: ReadonlyMap<string, readonly Part[]>;
}

/** So much text of files that others include or extend is kept parsed. */
const MAX_HELD = 32 * 1024 * 1024;

/** The Compose files of a run. What is included or extended many times is read once. */
export class ComposeFiles {
  readonly #files: SourceFiles;
  readonly #environment: Variables;
  readonly #variables = new Map<string, Variables>();
  readonly #projects = new Map<string, Project>();
  readonly #done = new Set<string>();
  #current: string | undefined;
  #held = 0;

  /** `environment`: goes before what `.env` says. */
  constructor(files: SourceFiles, environment: Variables) {
    this.#files = files;
    this.#environment = environment;
  }

  /** `compose.override.yaml` beside `compose.yaml`, which Compose lays over it unasked. */
  overrideOf(file: string): string | undefined {
    const [, stem, extension] = /^((?:docker-)?compose)\.(ya?ml)$/.exec(basename(file)) ?? [];
    if (stem === undefined || extension === undefined) return undefined;
    return [extension, 'yaml', 'yml']
      .map((one) => join(dirname(file), `${stem}.override.${one}`))
      .find((path) => this.#files.entry(path).kind !== 'missing');
  }

  /** Images of the services of a document, and of the files that it includes; services that are only built have none. */
  find(document: YamlDocument, file: string, findings: Findings): void {
    const key = this.#keyOf(file);
    // A file may have several documents.
    if (this.#done.has(key) && this.#current !== key) return;
    this.#done.add(key);
    this.#current = key;
    const own = { file, document, variables: this.#variablesFor(file, findings) };
    const left = this.#findIn(projectOf([...this.#over(file, findings), own]), [own], findings);
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      if (this.#done.has(this.#keyOf(path))) continue;
      this.#done.add(this.#keyOf(path));
      const { layers } = this.#project(path, findings);
      const project = projectOf([...this.#over(path, findings), ...layers]);
      for (const next of this.#findIn(project, layers, findings)) left.push(next);
    }
  }

  /** Files that `layers` include. */
  #findIn(project: Project, layers: readonly Layer[], findings: Findings): string[] {
    this.#files.effort.spend(project.services.size, layers[0]?.file ?? '');
    const seen = new Set<readonly Part[]>();
    for (const name of project.services.keys()) this.#findInService(name, project, seen, findings);
    return layers.flatMap(({ file, document }) =>
      includesOf(document.value).flatMap((path) => {
        const spot = { file, line: document.lineOf(['include']), field: 'include' };
        return this.#canRead(resolve(dirname(file), path), `${shown(path)} is included, and`, spot, findings)
          ? [join(dirname(file), path)]
          : [];
      }),
    );
  }

  #canRead(path: string, what: string, spot: Spot, findings: Findings): boolean {
    const { kind } = this.#files.entry(path);
    if (kind === 'outside') findings.unknown(`${what} ${OUTSIDE}`, spot);
    else if (kind !== 'file') findings.unknown(`${what} cannot be read`, spot);
    return kind === 'file';
  }

  #over(file: string, findings: Findings): readonly Layer[] {
    const override = this.overrideOf(file);
    const spot = { file, line: undefined, field: '' };
    return override !== undefined &&
      this.#canRead(override, `${basename(override)} lies over it, and`, spot, findings)
      ? this.#project(override, findings).layers
      : [];
  }

  /** One file by itself. */
  #project(file: string, findings: Findings): Project {
    const key = this.#keyOf(file);
    const known = this.#projects.get(key);
    if (known !== undefined) return known;
    const layers: Layer[] = [];
    try {
      const text = this.#files.text(file);
      if ((this.#held += text.length) > MAX_HELD) {
        this.#projects.clear();
        this.#held = text.length;
      }
      const variables = this.#variablesFor(file, findings);
      for (const document of parseYaml(text, file, findings.failed, { effort: this.#files.effort }))
        layers.push({ file, document, variables });
    } catch (error) {
      findings.failed(asImgconvError(error, file));
    }
    const project = projectOf(layers);
    this.#projects.set(key, project);
    return project;
  }

  /** Links to folders resolved: what a file names is looked for from where the file itself was found. */
  #keyOf(file: string): string {
    const entry = this.#files.entry(dirname(file));
    return join(entry.kind === 'folder' ? entry.real : resolve(dirname(file)), basename(file));
  }

  /** Values as Compose takes them: the environment, then `.env` beside the file. */
  #variablesFor(file: string, findings: Findings): Variables {
    const path = join(dirname(file), '.env');
    const known = this.#variables.get(path);
    if (known !== undefined) return known;
    let own: Variables = {};
    const { kind } = this.#files.entry(path);
    const spot = { file: path, line: undefined, field: '' };
    try {
      if (kind === 'file') own = parseVariables(this.#files.text(path));
      else if (kind === 'outside') findings.unknown(OUTSIDE, spot);
      else if (kind === 'other') findings.unknown('is not a regular file', spot);
    } catch (error) {
      findings.failed(asImgconvError(error, path));
    }
    // No prototype: its names are no variables.
    const variables = Object.assign(Object.create(null) as Record<string, string>, own, this.#environment);
    this.#variables.set(path, variables);
    return variables;
  }

  /** Follows `extends` until there is an image; `seen`: what was followed before. */
  #findInService(name: string, project: Project, seen: Set<readonly Part[]>, findings: Findings): void {
    const chain = new Set<readonly Part[]>();
    let next: { name: string; project: Project } | undefined = { name, project };
    while (next !== undefined) {
      const parts: readonly Part[] = next.project.services.get(next.name) ?? [];
      if (chain.has(parts)) {
        const [first] = parts;
        if (first !== undefined)
          findings.unknown('extends itself', spotOf(first.layer, ['services', next.name, 'extends']));
        return;
      }
      if (seen.has(parts)) return;
      chain.add(parts);
      seen.add(parts);
      next = this.#findInParts(next.name, parts, next.project, findings);
    }
  }

  /** What the service extends, where it says no image itself. */
  #findInParts(
    name: string,
    parts: readonly Part[],
    project: Project,
    findings: Findings,
  ): { name: string; project: Project } | undefined {
    const first = (key: string) => parts.find(({ service }) => key in service);
    for (const { layer, service } of parts)
      for (const { path, source } of imageMounts(service, ['services', name]))
        found(layer, source, path, findings);
    const image = first('image');
    if (image !== undefined) {
      const value = image.service['image'];
      const builds = first('build') !== undefined && first('pull_policy')?.service['pull_policy'] === 'build';
      if (typeof value === 'string' && !builds)
        found(image.layer, value, ['services', name, 'image'], findings);
      return undefined;
    }
    const extending = first('build') === undefined ? first('extends') : undefined;
    if (extending === undefined) return undefined;
    const { layer, service } = extending;
    const said = service['extends'];
    const { service: other, file }: Record<string, unknown> = isObject(said) ? said : { service: said };
    const spot = spotOf(layer, ['services', name, 'extends']);
    if (typeof other !== 'string') {
      findings.unknown('cannot be followed', spot);
      return undefined;
    }
    if (typeof file !== 'string') return { name: other, project };
    const path = join(dirname(layer.file), file);
    return this.#canRead(path, `${shown(file)} is extended, and`, spot, findings)
      ? { name: other, project: this.#project(path, findings) }
      : undefined;
  }
}

function projectOf(layers: readonly Layer[]): Project {
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

/** `include: [path, {path: path | [path…]}]`; of a list the first is the file, the others lie over it. */
export function includesOf(value: unknown): string[] {
  const include = isObject(value) && Array.isArray(value['include']) ? (value['include'] as unknown[]) : [];
  return include
    .map((one) => (isObject(one) ? one['path'] : one))
    .flat()
    .filter((path) => typeof path === 'string');
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
  const spot = spotOf(layer, path);
  if (text.length > MAX_TEXT) {
    findings.unknown(`${shown(text)} is longer than ${MAX_TEXT} characters`, spot);
    return;
  }
  const { text: reference, lacking } = interpolate(text, layer.variables);
  const missing = new Map(lacking.map(({ name, message }) => [name, message]));
  for (const [name, message] of missing)
    findings.unknown(
      `${shown(text)}: the variable ${name} has no value${message ? ` (${shown(message)})` : ''}; put it into .env, or set it and use --env`,
      spot,
    );
  if (missing.size > 0) return;
  const own = new Findings();
  own.found(reference, spot);
  // What a variable holds may be a secret.
  if (own.unknowns.length > 0 && reference !== text)
    findings.unknown(`${shown(text)} is not an image reference when its variables have their values`, spot);
  else findings.add(own);
}
