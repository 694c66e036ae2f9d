import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { chartFolder, isPackedChart, openChart, type ChartFiles } from './chart-files.js';
import { findInChart } from './chart.js';
import { findInCompose, isCompose, overrideOf, type Variables } from './compose.js';
import { Findings } from './findings.js';
import { renderChart } from './helm.js';
import { findInImageList, isImageList, isListName } from './image-list.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { findInKustomization, isKustomization, kustomizationIn, partsOfKustomization } from './kustomize.js';
import { readText } from './text.js';
import { parseYaml, type YamlDocument } from './yaml.js';

export interface FindOptions {
  /** Of Compose's variables, and where helm is looked for. */
  readonly environment: Variables;
  /** What `-` stands for. */
  readonly stdin: () => string;
}

interface DocumentKind {
  readonly title: string;
  recognises(value: unknown, file: string): boolean;
  find(document: YamlDocument, file: string, environment: Variables, findings: Findings): void;
}

/** What a document can be, the first that fits; kustomizations, charts and lists are told by their names. */
const KINDS: readonly DocumentKind[] = [
  {
    title: 'Kubernetes',
    recognises: isKubernetes,
    find: (document, file, _, findings) => {
      findInKubernetes(document, file, findings);
    },
  },
  { title: 'Compose', recognises: isCompose, find: findInCompose },
];

/** Which images these files and folders need; what cannot be read is in `failures`, and does not stop the others. */
export async function findReferences(paths: readonly string[], options: FindOptions): Promise<Findings> {
  const findings = new Findings();
  for (const path of paths) {
    try {
      if (path === '-') findInText(options.stdin(), 'stdin', true, options, findings);
      else if (statSync(path).isDirectory()) await findInFolder(path, options, findings);
      else await findInFile(path, true, options, findings);
    } catch (error) {
      findings.failed(asImgconvError(error, path));
    }
  }
  return findings;
}

async function findInFolder(folder: string, options: FindOptions, findings: Findings): Promise<void> {
  const { charts, kustomizations, files } = survey(folder);
  // What a kustomization takes in is needed as that changes it, not as it stands.
  const parts = new Set(
    [folder, ...kustomizations].flatMap((one) => partsOfKustomization(one).map((part) => resolve(part))),
  );
  for (const chart of charts) await guarded(chart, findings, () => findInChartAt(chart, options, findings));
  for (const one of kustomizations)
    if (!parts.has(resolve(one)))
      await guarded(one, findings, () => {
        findInKustomization(one, findings);
      });
  const overrides = new Set(files.map(overrideOf));
  for (const file of files)
    if (!parts.has(resolve(file)) && !overrides.has(file) && !isKustomization(file))
      await guarded(file, findings, () => findInFile(file, false, options, findings));
}

async function guarded(where: string, findings: Findings, work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    findings.failed(asImgconvError(error, where));
  }
}

interface Survey {
  readonly charts: string[];
  readonly kustomizations: string[];
  readonly files: string[];
}

/** What lies in a folder and below, sorted. A chart is not looked into, nor what is hidden, nor links to folders. */
function survey(folder: string, into: Survey = { charts: [], kustomizations: [], files: [] }): Survey {
  const names = readdirSync(folder).sort();
  if (names.includes('Chart.yaml')) {
    into.charts.push(folder);
    return into;
  }
  if (kustomizationIn(folder) !== undefined) into.kustomizations.push(folder);
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    if (entry.isDirectory()) survey(path, into);
    else if (
      entry.isFile() ||
      (entry.isSymbolicLink() && statSync(path, { throwIfNoEntry: false })?.isFile() === true)
    )
      into.files.push(path);
  }
  return into;
}

/** `asked`: the user named this very file, so that it is said when nothing is known of it. */
async function findInFile(
  file: string,
  asked: boolean,
  options: FindOptions,
  findings: Findings,
): Promise<void> {
  const name = basename(file);
  if (isPackedChart(name)) {
    const chart = await openChart(file);
    if (chart !== undefined) await findInChartFiles(chart, file, options, findings);
    else if (asked)
      throw new ImgconvError('DOCUMENT_INVALID', `${file}: not a Helm chart: there is no Chart.yaml in it`);
  } else if (isKustomization(file)) findInKustomization(join(file, '..'), findings);
  else if (isListName(name)) findInImageList(readText(file), file, findings);
  else if (asked || /\.(?:ya?ml|json)$/.test(name)) {
    const text = readText(file);
    // Many files in JSON are not for Kubernetes, and have comments or other things of their own.
    if (asked || !name.endsWith('.json') || /"(?:apiVersion|services)"/.test(text))
      findInText(text, file, asked, options, findings);
  }
}

function findInText(
  text: string,
  file: string,
  asked: boolean,
  { environment }: FindOptions,
  findings: Findings,
): void {
  if (asked && !/\.(?:ya?ml|json)$/.test(file) && isImageList(text)) {
    findInImageList(text, file, findings);
    return;
  }
  let known = false;
  const failed = (error: ImgconvError) => {
    findings.failed(error);
    known = true; // Enough is said.
  };
  for (const document of parseYaml(text, file, failed)) {
    const kind = KINDS.find((one) => one.recognises(document.value, file));
    kind?.find(document, file, environment, findings);
    known ||= kind !== undefined;
  }
  if (asked && !known)
    findings.unknown(`neither a list of images nor ${KINDS.map(({ title }) => title).join(' nor ')}`, {
      file,
      line: undefined,
      field: '',
    });
}

async function findInChartAt(folder: string, options: FindOptions, findings: Findings): Promise<void> {
  await findInChartFiles(chartFolder(folder), folder, options, findings);
}

/** With helm as it renders the chart, else as far as it can be told without. */
async function findInChartFiles(
  chart: ChartFiles,
  path: string,
  { environment }: FindOptions,
  findings: Findings,
): Promise<void> {
  const rendered = await renderChart(path, environment);
  if (rendered instanceof Findings) {
    findings.add(rendered);
    return;
  }
  if (rendered !== undefined)
    findings.unknown(`helm cannot render it: ${rendered}`, { file: path, line: undefined, field: '' });
  await findInChart(chart, findings);
}
