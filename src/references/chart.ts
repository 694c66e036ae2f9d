import { ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';
import { isPackedChart, type ChartFiles } from './chart-files.js';
import { imageFields, type FieldRules } from './fields.js';
import { Findings } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { parseYaml, type YamlDocument } from './yaml.js';

type Values = Record<string, unknown>;

/** Annotations that list a chart's images: https://artifacthub.io/docs/topics/annotations/helm/ and Bitnami's own. */
const LISTS = ['artifacthub.io/images', 'images'];

/**
 * What a chart needs as far as it can be told without rendering: image fields of its values and of its subcharts', lists
 * of images in its annotations, and templates that say their image in plain words.
 */
export async function findInChart(chart: ChartFiles, findings: Findings): Promise<void> {
  await findInSubchart(chart, {}, {}, findings);
}

/** `above`: what the parent chart's values say for this one; `globals`: what they say for all. */
async function findInSubchart(
  chart: ChartFiles,
  above: Values,
  globals: Values,
  findings: Findings,
): Promise<void> {
  const meta = documentIn(chart, 'Chart.yaml', findings);
  const about = isObject(meta?.value) ? meta.value : {};
  const own = documentIn(chart, 'values.yaml', findings);
  const values = merged(isObject(own?.value) ? own.value : {}, above);
  const global = merged(isObject(values['global']) ? values['global'] : {}, globals);
  findInAnnotations(chart, about, findings);
  const subcharts = await subchartsOf(chart, about, values, findings);
  // What stands under a subchart's name is its own business.
  const mine = Object.fromEntries(
    Object.entries(values).filter(
      ([key]) => key !== 'global' && !subcharts.some(({ alias }) => alias === key),
    ),
  );
  findInValues(chart, mine, own, about['appVersion'], global['imageRegistry'], findings);
  findInTemplates(chart, findings);
  for (const { files, alias } of subcharts) {
    const over = values[alias];
    if (files !== undefined) await findInSubchart(files, isObject(over) ? over : {}, global, findings);
  }
}

function documentIn(chart: ChartFiles, name: string, findings: Findings): YamlDocument | undefined {
  const text = chart.read(name);
  if (text === undefined) return undefined;
  const [first] = parseYaml(text, `${chart.where}/${name}`, findings.failed);
  return first;
}

/** Maps are laid over each other key by key, all else is replaced; null takes a key away (Helm, "Values files"). */
function merged(below: Values, above: Values): Values {
  const result: Values = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const under = result[key];
    if (value === null) Reflect.deleteProperty(result, key);
    else result[key] = isObject(value) && isObject(under) ? merged(under, value) : value;
  }
  return result;
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
  registry: unknown,
  findings: Findings,
): void {
  const rules: FieldRules = {
    isImageKey: (key) => /image$/i.test(key),
    splitAnywhere: true,
    fallbackTag:
      typeof appVersion === 'string' || typeof appVersion === 'number' ? String(appVersion) : undefined,
    registry: typeof registry === 'string' && registry !== '' ? registry : undefined,
  };
  for (const { path, reference, problem } of imageFields(values, rules)) {
    const spot = { file: `${where}/values.yaml`, line: document?.lineOf(path), field: path.join('.') };
    if (problem !== undefined) findings.unknown(problem, spot);
    if (reference?.includes('{{')) findings.unknown(`${reference} needs rendering`, spot);
    else if (reference !== undefined) findings.found(reference, spot);
  }
}

function findInTemplates(chart: ChartFiles, findings: Findings): void {
  const unrendered: string[] = [];
  for (const name of chart.names()) {
    if (!/^templates\/.*\.(?:ya?ml|tpl)$/.test(name)) continue;
    const text = chart.read(name) ?? '';
    const file = `${chart.where}/${name}`;
    if (!text.includes('{{')) {
      for (const document of parseYaml(text, file, findings.failed))
        if (isKubernetes(document.value)) findInKubernetes(document, file, findings);
      continue;
    }
    for (const [i, line] of text.split('\n').entries()) {
      const [, value] = /^\s*(?:-\s+)?image:\s+(\S.*?)\s*$/.exec(line) ?? [];
      if (value === undefined) continue;
      const plain = /^(["']?)([^"'\s{}]+)\1(?:\s+#.*)?$/.exec(value)?.[2];
      if (plain === undefined) unrendered.push(`${name}:${i + 1}`);
      else findings.found(plain, { file, line: i + 1, field: 'image' });
    }
  }
  if (unrendered.length === 0) return;
  findings.unknown(
    `${unrendered.length === 1 ? 'an image field needs' : `${unrendered.length} image fields need`} rendering, and helm is not there: only values were looked at (${unrendered.join(', ')})`,
    { file: chart.where, line: undefined, field: '' },
  );
}

interface Subchart {
  /** Undefined when the chart does not hold it, or it is switched off. */
  readonly files: ChartFiles | undefined;
  /** The key of its values in those of its parent. */
  readonly alias: string;
}

async function subchartsOf(
  chart: ChartFiles,
  about: Values,
  values: Values,
  findings: Findings,
): Promise<Subchart[]> {
  const there = await chartsIn(chart, findings);
  const dependencies = [about['dependencies']].flat().filter(isObject);
  const declared = dependencies.flatMap((one): Subchart[] => {
    const { name, alias, condition } = one;
    if (typeof name !== 'string') return [];
    const key = typeof alias === 'string' ? alias : name;
    const files = there.get(name);
    const off = isOff(condition, values) || isUntagged(one['tags'], values['tags']);
    if (files === undefined && !off)
      findings.unknown(`the subchart ${name} is not in charts/: helm dependency build fetches it`, {
        file: `${chart.where}/Chart.yaml`,
        line: undefined,
        field: 'dependencies',
      });
    return [{ files: off ? undefined : files, alias: key }];
  });
  const names = new Set(dependencies.map(({ name }) => name));
  const others = [...there].flatMap(([name, files]) => (names.has(name) ? [] : [{ files, alias: name }]));
  return [...declared, ...others];
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

/** Subcharts in `charts/`, by their own names. */
async function chartsIn(chart: ChartFiles, findings: Findings): Promise<Map<string, ChartFiles>> {
  const found = new Map<string, ChartFiles>();
  for (const name of chart.names()) {
    const folder = /^(charts\/[^/]+\/)Chart\.yaml$/.exec(name)?.[1];
    const packed = /^charts\/[^/]+$/.test(name) && isPackedChart(name);
    const files =
      folder !== undefined ? within(chart, folder) : packed ? await chart.readPacked(name) : undefined;
    if (files === undefined) continue;
    const meta = documentIn(files, 'Chart.yaml', findings);
    const own = isObject(meta?.value) ? meta.value['name'] : undefined;
    if (typeof own !== 'string')
      throw new ImgconvError('DOCUMENT_INVALID', `${files.where}/Chart.yaml: the chart has no name`);
    found.set(own, files);
  }
  return found;
}

function within(chart: ChartFiles, folder: string): ChartFiles {
  return {
    where: `${chart.where}/${folder.slice(0, -1)}`,
    names: () =>
      chart.names().flatMap((name) => (name.startsWith(folder) ? [name.slice(folder.length)] : [])),
    read: (name) => chart.read(folder + name),
    readPacked: (name) => chart.readPacked(folder + name),
  };
}
