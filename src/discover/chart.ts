import { ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { isPackedChart, type ChartFiles } from './chart-files.js';
import { imageFields, type FieldRules } from './fields.js';
import type { Effort } from './effort.js';
import { shown, type Findings } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { parseYaml, type YamlDocument } from './yaml.js';

type Values = Record<string, unknown>;

/** Subcharts in subcharts. */
const MAX_NESTING = 50;
const SHOWN = 100;

/** Annotations that list a chart's images: https://artifacthub.io/docs/topics/annotations/helm/ and Bitnami's own. */
const LISTS = ['artifacthub.io/images', 'images'];

/**
 * What a chart needs as far as it can be told without rendering: image fields of its values and of its subcharts', lists
 * of images in its annotations, and templates that say their image in plain words.
 */
export async function findInChart(chart: ChartFiles, effort: Effort, findings: Findings): Promise<void> {
  await new ChartImages(effort, findings).find(chart, {}, undefined, 0);
}

/** A chart and its subcharts, with what is in their documents. */
interface Parsed {
  readonly chart: ChartFiles;
  readonly about: Values;
  readonly values: YamlDocument | undefined;
  /** By their own names. */
  readonly subcharts: ReadonlyMap<string, ChartFiles>;
}

/**
 * A subchart can be there under several names, and have such subcharts itself: it is read once, and looked at once with
 * the same values.
 */
class ChartImages {
  readonly #effort: Effort;
  readonly #findings: Findings;
  readonly #parsed = new Map<string, Promise<Parsed>>();
  readonly #seen = new Set<string>();

  constructor(effort: Effort, findings: Findings) {
    this.#effort = effort;
    this.#findings = findings;
  }

  /** `above`: what the parent chart's values say for this one; `registry`: what they say for all, `global.imageRegistry`. */
  async find(chart: ChartFiles, above: Values, registry: string | undefined, depth: number): Promise<void> {
    const text = JSON.stringify(above);
    this.#effort.spend(text.length, chart.where);
    const key = JSON.stringify([chart.where, registry ?? null]) + text;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (depth > MAX_NESTING) {
      const spot = { file: chart.where, line: undefined, field: '' };
      this.#findings.unknown(`subcharts are nested more than ${MAX_NESTING} deep`, spot);
      return;
    }
    const parsed = this.#parsed.get(chart.where) ?? this.#parse(chart);
    this.#parsed.set(chart.where, parsed);
    const { about, values: file, subcharts: there } = await parsed;
    const values = this.#merged(isObject(file?.value) ? file.value : {}, above, chart.where);
    const global = isObject(values['global']) ? values['global'] : {};
    const own = typeof global['imageRegistry'] === 'string' ? global['imageRegistry'] : undefined;
    const all = registry ?? own;
    const subcharts = this.#subchartsOf(chart, about, values, there);
    // What stands under a subchart's name is its own business.
    const theirs = new Set(['global', ...subcharts.map(({ alias }) => alias)]);
    const mine = Object.fromEntries(Object.entries(values).filter(([key]) => !theirs.has(key)));
    findInValues(chart, mine, file, about['appVersion'], all || undefined, this.#findings);
    for (const { files, alias } of subcharts) {
      const over = values[alias];
      if (files !== undefined) await this.find(files, isObject(over) ? over : {}, all, depth + 1);
    }
  }

  /** Reads what does not depend on values, and finds what is there. */
  async #parse(chart: ChartFiles): Promise<Parsed> {
    const meta = this.#documentIn(chart, 'Chart.yaml');
    const about = isObject(meta?.value) ? meta.value : {};
    const values = this.#documentIn(chart, 'values.yaml');
    findInAnnotations(chart, about, this.#findings);
    findInTemplates(chart, this.#effort, this.#findings);
    return { chart, about, values, subcharts: await this.#chartsIn(chart) };
  }

  #documentIn(chart: ChartFiles, name: string): YamlDocument | undefined {
    const text = chart.read(name);
    if (text === undefined) return undefined;
    const [first] = parseYaml(text, `${chart.where}/${name}`, this.#findings.failed, {
      effort: this.#effort,
    });
    return first;
  }

  /** Maps are laid over each other key by key, all else is replaced; null takes a key away (Helm, "Values files"). */
  #merged(below: Values, above: Values, where: string): Values {
    const result = Object.assign(Object.create(null) as Values, below);
    this.#effort.spend(Object.keys(result).length, where);
    for (const [key, value] of Object.entries(above)) {
      const under = result[key];
      if (value === null) Reflect.deleteProperty(result, key);
      else result[key] = isObject(value) && isObject(under) ? this.#merged(under, value, where) : value;
    }
    return result;
  }

  #subchartsOf(
    chart: ChartFiles,
    about: Values,
    values: Values,
    there: ReadonlyMap<string, ChartFiles>,
  ): Subchart[] {
    const dependencies = [about['dependencies']].flat().filter(isObject);
    this.#effort.spend(dependencies.length + there.size, chart.where);
    const declared = dependencies.flatMap((one): Subchart[] => {
      const { name, alias, condition } = one;
      if (typeof name !== 'string') return [];
      const key = typeof alias === 'string' ? alias : name;
      const files = there.get(name);
      const off = isOff(condition, values) || isUntagged(one['tags'], values['tags']);
      if (files === undefined && !off)
        this.#findings.unknown(
          `the subchart ${shown(name)} is not in charts/: helm dependency build fetches it`,
          {
            file: `${chart.where}/Chart.yaml`,
            line: undefined,
            field: 'dependencies',
          },
        );
      return [{ files: off ? undefined : files, alias: key }];
    });
    const names = new Set(dependencies.map(({ name }) => name));
    const others = [...there].flatMap(([name, files]) => (names.has(name) ? [] : [{ files, alias: name }]));
    return [...declared, ...others];
  }

  /** Subcharts in `charts/`, by their own names. */
  async #chartsIn(chart: ChartFiles): Promise<Map<string, ChartFiles>> {
    const found = new Map<string, ChartFiles>();
    for (const name of chart.names()) {
      const folder = /^(charts\/[^/]+\/)Chart\.yaml$/.exec(name)?.[1];
      const packed = /^charts\/[^/]+$/.test(name) && isPackedChart(name);
      const files =
        folder !== undefined ? within(chart, folder) : packed ? await chart.readPacked(name) : undefined;
      if (files === undefined) continue;
      const meta = this.#documentIn(files, 'Chart.yaml');
      const own = isObject(meta?.value) ? meta.value['name'] : undefined;
      if (typeof own !== 'string')
        throw new ImgconvError('DOCUMENT_INVALID', `${files.where}/Chart.yaml: the chart has no name`);
      found.set(own, files);
    }
    return found;
  }
}

function findInAnnotations({ where }: ChartFiles, about: Values, findings: Findings): void {
  const annotations = isObject(about['annotations']) ? about['annotations'] : {};
  for (const name of LISTS) {
    const text = annotations[name];
    if (typeof text !== 'string') continue;
    const field = `annotations.${name}`;
    for (const { value } of parseYaml(text, `${where}/Chart.yaml: ${field}`, findings.failed)) {
      for (const { reference } of imageFields(value, { isImageKey: (key) => key === 'image' }))
        if (reference !== undefined)
          findings.found(reference, { file: `${where}/Chart.yaml`, line: undefined, field });
    }
  }
}

function findInValues(
  { where }: ChartFiles,
  values: Values,
  document: YamlDocument | undefined,
  appVersion: unknown,
  registry: string | undefined,
  findings: Findings,
): void {
  const rules: FieldRules = {
    isImageKey: (key) => /image$/i.test(key),
    splitAnywhere: true,
    fallbackTag:
      typeof appVersion === 'string' || typeof appVersion === 'number' ? String(appVersion) : undefined,
    registry,
  };
  for (const { path, reference, problem } of imageFields(values, rules)) {
    const spot = { file: `${where}/values.yaml`, line: document?.lineOf(path), field: path.join('.') };
    if (problem !== undefined) findings.unknown(problem, spot);
    if (reference?.includes('{{')) findings.unknown(`${reference} needs rendering`, spot);
    else if (reference !== undefined) findings.found(reference, spot);
  }
}

function findInTemplates(chart: ChartFiles, effort: Effort, findings: Findings): void {
  const unrendered: string[] = [];
  for (const name of chart.names()) {
    if (!/^templates\/.*\.(?:ya?ml|tpl)$/.test(name)) continue;
    const text = chart.read(name) ?? '';
    const file = `${chart.where}/${name}`;
    if (!text.includes('{{')) {
      for (const document of parseYaml(text, file, findings.failed, { effort }))
        if (isKubernetes(document.value)) findInKubernetes(document, file, findings);
      continue;
    }
    for (const [i, line] of text.split('\n').entries()) {
      const [, value] = /^(?:-\s+)?image:\s+(\S.*)$/.exec(line.trim()) ?? [];
      if (value === undefined) continue;
      const plain = /^(["']?)([^"'\s{}]+)\1(?:\s+#.*)?$/.exec(value)?.[2];
      if (plain === undefined) unrendered.push(`${name}:${i + 1}`);
      else findings.found(plain, { file, line: i + 1, field: 'image' });
    }
  }
  if (unrendered.length === 0) return;
  findings.unknown(
    `${unrendered.length === 1 ? 'an image field needs' : `${unrendered.length} image fields need`} rendering, and helm is not there: only values were looked at (${unrendered.slice(0, SHOWN).join(', ')}${unrendered.length > SHOWN ? ', …' : ''})`,
    { file: chart.where, line: undefined, field: '' },
  );
}

interface Subchart {
  /** Undefined when the chart does not hold it, or it is switched off. */
  readonly files: ChartFiles | undefined;
  /** The key of its values in those of its parent. */
  readonly alias: string;
}

/** The first of these paths that is set decides (Helm, "Chart dependencies": condition). */
function isOff(condition: unknown, values: Values): boolean {
  if (typeof condition !== 'string') return false;
  for (const path of condition.split(',')) {
    let value: unknown = values;
    for (const key of path.trim().split('.')) value = isObject(value) ? value[key] : undefined;
    if (typeof value === 'boolean') return !value;
  }
  return false;
}

/** Switched off when all its tags that are set are false; a condition that is set goes first, and was looked at before. */
function isUntagged(tags: unknown, values: unknown): boolean {
  const set = [tags]
    .flat()
    .map((tag) => (isObject(values) && typeof tag === 'string' ? values[tag] : undefined));
  return set.includes(false) && !set.includes(true);
}

function within(chart: ChartFiles, folder: string): ChartFiles {
  const names = chart.names().flatMap((name) => (name.startsWith(folder) ? [name.slice(folder.length)] : []));
  return {
    where: `${chart.where}/${folder.slice(0, -1)}`,
    names: () => names,
    read: (name) => chart.read(folder + name),
    readPacked: (name) => chart.readPacked(folder + name),
  };
}
