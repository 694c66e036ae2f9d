import { ImgconvError } from '../model/errors.js';
import { isObject, valueAt } from '../model/json.js';
import { isPackedChart, subchartIn, type ChartFiles } from './chart-files.js';
import type { Effort } from './effort.js';
import { imageFields, type FieldRules } from './fields.js';
import { shown, type Findings } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import type { YamlDocument } from './yaml-document.js';
import { parseYaml } from './yaml.js';

type Values = Readonly<Record<string, unknown>>;

/** Subcharts in subcharts. */
const MAX_NESTING = 50;
/** Of fields that need rendering. */
const SHOWN = 100;

/** Annotations that list a chart's images: https://artifacthub.io/docs/topics/annotations/helm/ and Bitnami's own. */
const LISTS = ['artifacthub.io/images', 'images'];

/**
 * Images of a chart without rendering it: image fields of its values and of its subcharts' values, lists of images in
 * its annotations, and literal images in templates.
 */
export async function findInChart(chart: ChartFiles, effort: Effort, findings: Findings): Promise<void> {
  await new ChartImages(effort, findings).find(chart, {}, undefined, 0);
}

/** What a chart holds, whatever its values are. */
interface Parsed {
  readonly about: Values;
  readonly values: YamlDocument | undefined;
  /** By their own names. */
  readonly subcharts: ReadonlyMap<string, ChartFiles>;
}

interface Subchart {
  /** Undefined when the chart does not hold it, or it is switched off. */
  readonly files: ChartFiles | undefined;
  /** The key of its values in those of its parent. */
  readonly alias: string;
}

/**
 * A subchart can be there under several names, and have such subcharts itself: its files are read once, and each set of
 * values is applied to it once.
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

  /** `above`: values that the parent chart sets for this one; `registry`: what it sets for all, `global.imageRegistry`. */
  async find(chart: ChartFiles, above: Values, registry: string | undefined, depth: number): Promise<void> {
    const { where: file } = chart;
    const text = JSON.stringify(above);
    this.#effort.spend(text.length, file);
    const key = JSON.stringify([file, registry ?? null]) + text;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (depth > MAX_NESTING) {
      this.#findings.unknown(`subcharts are nested more than ${MAX_NESTING} deep`, { file });
      return;
    }
    const parsing = this.#parsed.get(file) ?? this.#parse(chart);
    this.#parsed.set(file, parsing);
    const parsed = await parsing;
    const { about, values: document } = parsed;
    const values = this.#merged(isObject(document?.value) ? document.value : {}, above, file);
    const own = valueAt(values, ['global', 'imageRegistry']);
    const all = registry ?? (typeof own === 'string' ? own : undefined);
    const subcharts = this.#subchartsOf(chart, parsed, values);
    // What is under a subchart's name is for the subchart.
    const theirs = new Set(['global', ...subcharts.map(({ alias }) => alias)]);
    const mine = Object.fromEntries(Object.entries(values).filter(([key]) => !theirs.has(key)));
    findInValues(chart, mine, document, about['appVersion'], all || undefined, this.#findings);
    for (const { files, alias } of subcharts) {
      const over = values[alias];
      if (files !== undefined) await this.find(files, isObject(over) ? over : {}, all, depth + 1);
    }
  }

  /** Reads what does not depend on values, and finds what is there. */
  async #parse(chart: ChartFiles): Promise<Parsed> {
    const about = this.#aboutOf(chart);
    const values = this.#documentIn(chart, 'values.yaml');
    findInAnnotations(chart, about, this.#findings);
    findInTemplates(chart, this.#effort, this.#findings);
    return { about, values, subcharts: await this.#chartsIn(chart) };
  }

  #aboutOf(chart: ChartFiles): Values {
    const value = this.#documentIn(chart, 'Chart.yaml')?.value;
    return isObject(value) ? value : {};
  }

  #documentIn(chart: ChartFiles, name: string): YamlDocument | undefined {
    const text = chart.read(name);
    if (text === undefined) return undefined;
    const where = `${chart.where}/${name}`;
    const [first] = parseYaml(text, where, this.#findings.failed, { effort: this.#effort });
    return first;
  }

  /** Maps are merged key by key, all else is replaced; null removes a key (Helm, "Values files"). */
  #merged(below: Values, above: Values, where: string): Values {
    const result = Object.assign(Object.create(null) as Record<string, unknown>, below);
    this.#effort.spend(Object.keys(result).length, where);
    for (const [key, value] of Object.entries(above)) {
      const under = result[key];
      if (value === null) Reflect.deleteProperty(result, key);
      else result[key] = isObject(value) && isObject(under) ? this.#merged(under, value, where) : value;
    }
    return result;
  }

  #subchartsOf({ where }: ChartFiles, { about, subcharts }: Parsed, values: Values): Subchart[] {
    const dependencies = [about['dependencies']].flat().filter(isObject);
    this.#effort.spend(dependencies.length + subcharts.size, where);
    const declared = dependencies.flatMap((dependency): Subchart[] => {
      const { name, alias } = dependency;
      if (typeof name !== 'string') return [];
      const off = isOff(dependency, values);
      const files = off ? undefined : subcharts.get(name);
      if (files === undefined && !off)
        this.#findings.unknown(
          `the subchart ${shown(name)} is not in charts/: helm dependency build fetches it`,
          { file: `${where}/Chart.yaml`, field: 'dependencies' },
        );
      return [{ files, alias: typeof alias === 'string' ? alias : name }];
    });
    const names = new Set(dependencies.map(({ name }) => name));
    const others = [...subcharts].filter(([name]) => !names.has(name));
    return [...declared, ...others.map(([alias, files]) => ({ files, alias }))];
  }

  /** Subcharts in `charts/`, by their own names. */
  async #chartsIn(chart: ChartFiles): Promise<Map<string, ChartFiles>> {
    const found = new Map<string, ChartFiles>();
    for (const name of chart.names) {
      const folder = /^(charts\/[^/]+\/)Chart\.yaml$/.exec(name)?.[1];
      const packed = /^charts\/[^/]+$/.test(name) && isPackedChart(name);
      const files =
        folder !== undefined ? subchartIn(chart, folder) : packed ? await chart.readPacked(name) : undefined;
      if (files === undefined) continue;
      const own = this.#aboutOf(files)['name'];
      if (typeof own !== 'string')
        throw new ImgconvError('DOCUMENT_INVALID', `${files.where}/Chart.yaml: the chart has no name`);
      found.set(own, files);
    }
    return found;
  }
}

function findInAnnotations({ where }: ChartFiles, about: Values, findings: Findings): void {
  for (const name of LISTS) {
    const text = valueAt(about, ['annotations', name]);
    if (typeof text !== 'string') continue;
    const spot = { file: `${where}/Chart.yaml`, field: `annotations.${name}` };
    for (const { value } of parseYaml(text, `${spot.file}: ${spot.field}`, findings.failed))
      for (const { reference } of imageFields(value))
        if (reference !== undefined) findings.found(reference, spot);
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
  const isVersion = typeof appVersion === 'string' || typeof appVersion === 'number';
  const rules: FieldRules = {
    loose: true,
    fallbackTag: isVersion ? String(appVersion) : undefined,
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
  for (const name of chart.names) {
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
  const fields = unrendered.length === 1 ? 'an image field needs' : `${unrendered.length} image fields need`;
  const more = unrendered.length > SHOWN ? ', …' : '';
  findings.unknown(
    `${fields} rendering, and helm is not there: only values were looked at (${unrendered.slice(0, SHOWN).join(', ')}${more})`,
    { file: chart.where },
  );
}

/**
 * The first path of `condition` that is set decides, else the tags: off when all that are set are false (Helm, "Chart
 * dependencies").
 */
function isOff({ condition, tags }: Values, values: Values): boolean {
  const paths = typeof condition === 'string' ? condition.split(',') : [];
  const decided = paths
    .map((path) => valueAt(values, path.trim().split('.')))
    .find((value) => typeof value === 'boolean');
  if (decided !== undefined) return !decided;
  const set = [tags].flat().map((tag) => valueAt(values, ['tags', String(tag)]));
  return set.includes(false) && !set.includes(true);
}
