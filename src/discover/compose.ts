import { basename, dirname, join, resolve } from 'node:path';
import { asImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import {
  findInField,
  findInMounts,
  includesOf,
  projectOf,
  spotOf,
  type Layer,
  type Part,
  type Project,
} from './compose-project.js';
import { parseEnvFile } from './env-file.js';
import { shown, type At, type Findings } from './findings.js';
import type { Variables } from './interpolate.js';
import { OUTSIDE, type SourceFiles } from './source-files.js';
import type { YamlDocument } from './yaml-document.js';
import { parseYaml } from './yaml.js';

/** https://github.com/compose-spec/compose-spec/blob/main/spec.md, "Compose file" */
const NAME = /^(?:docker-)?compose(?:\.[\w.-]+)?\.ya?ml$/;

export function isCompose(value: unknown, file: string): boolean {
  if (!isObject(value) || !isObject(value['services'])) return false;
  const known = (one: unknown) => isObject(one) && ['image', 'build', 'extends'].some((key) => key in one);
  return NAME.test(basename(file)) || Object.values(value['services']).some(known);
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

  /** `environment` has precedence over `.env`. */
  constructor(files: SourceFiles, environment: Variables) {
    this.#files = files;
    this.#environment = environment;
  }

  /** `compose.override.yaml` beside `compose.yaml`, which Compose merges over it unasked. */
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
    const left = this.#findIn(file, [own], findings);
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      if (this.#done.has(this.#keyOf(path))) continue;
      this.#done.add(this.#keyOf(path));
      for (const next of this.#findIn(path, this.#project(path, findings).layers, findings)) left.push(next);
    }
  }

  /** Finds the images of these layers of a file; gives the files that they include. */
  #findIn(file: string, layers: readonly Layer[], findings: Findings): string[] {
    const project = projectOf([...this.#over(file, findings), ...layers]);
    this.#files.effort.spend(project.services.size, file);
    const seen = new Set<readonly Part[]>();
    for (const name of project.services.keys()) this.#findInService(name, project, seen, findings);
    return layers.flatMap((layer) =>
      includesOf(layer.document.value).flatMap((path) => {
        const spot = spotOf(layer, ['include']);
        const at = resolve(dirname(layer.file), path);
        return this.#canRead(at, `${shown(path)} is included, and`, spot, findings)
          ? [join(dirname(layer.file), path)]
          : [];
      }),
    );
  }

  #canRead(path: string, what: string, at: At, findings: Findings): boolean {
    const { kind } = this.#files.entry(path);
    if (kind !== 'file') findings.unknown(`${what} ${kind === 'outside' ? OUTSIDE : 'cannot be read'}`, at);
    return kind === 'file';
  }

  /** The layers of the override file. */
  #over(file: string, findings: Findings): readonly Layer[] {
    const override = this.overrideOf(file);
    if (override === undefined) return [];
    const what = `${basename(override)} lies over it, and`;
    return this.#canRead(override, what, { file }, findings) ? this.#project(override, findings).layers : [];
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

  /** With links to folders resolved: relative paths in a file are relative to the folder in which it was found. */
  #keyOf(file: string): string {
    const entry = this.#files.entry(dirname(file));
    return join(entry.kind === 'folder' ? entry.real : resolve(dirname(file)), basename(file));
  }

  /** Values as Compose takes them: the environment, then `.env` beside the file. */
  #variablesFor(file: string, findings: Findings): Variables {
    const path = join(dirname(file), '.env');
    const known = this.#variables.get(path);
    if (known !== undefined) return known;
    // No prototype: its names are no variables.
    const variables = Object.assign(
      Object.create(null) as Record<string, string>,
      this.#ownVariables(path, findings),
      this.#environment,
    );
    this.#variables.set(path, variables);
    return variables;
  }

  #ownVariables(path: string, findings: Findings): Variables {
    const refusal = this.#files.refusal(path);
    try {
      if (refusal !== undefined) findings.unknown(refusal, { file: path });
      else if (this.#files.entry(path).kind === 'file') return parseEnvFile(this.#files.text(path));
    } catch (error) {
      findings.failed(asImgconvError(error, path));
    }
    return {};
  }

  /** Follows `extends` until there is an image; `seen`: what was followed before. */
  #findInService(name: string, project: Project, seen: Set<readonly Part[]>, findings: Findings): void {
    const chain = new Set<readonly Part[]>();
    let next: { name: string; project: Project } | undefined = { name, project };
    while (next !== undefined) {
      const parts: readonly Part[] = next.project.services.get(next.name) ?? [];
      const [first] = parts;
      if (first !== undefined && chain.has(parts))
        findings.unknown('extends itself', spotOf(first.layer, ['services', next.name, 'extends']));
      if (seen.has(parts)) return;
      chain.add(parts);
      seen.add(parts);
      next = this.#findInParts(next.name, parts, next.project, findings);
    }
  }

  /** Gives the service that this one extends, if it has no image itself. */
  #findInParts(
    name: string,
    parts: readonly Part[],
    project: Project,
    findings: Findings,
  ): { name: string; project: Project } | undefined {
    for (const part of parts) findInMounts(part, name, findings);
    const first = (key: string) => parts.find(({ service }) => key in service);
    const builds = first('build') !== undefined;
    const image = first('image');
    if (image !== undefined) {
      if (!builds || first('pull_policy')?.service['pull_policy'] !== 'build')
        findInField(image.layer, image.service['image'], ['services', name, 'image'], findings);
      return undefined;
    }
    const extending = builds ? undefined : first('extends');
    if (extending === undefined) return undefined;
    const { layer, service } = extending;
    const base = service['extends'];
    const { service: other, file }: Record<string, unknown> = isObject(base) ? base : { service: base };
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
