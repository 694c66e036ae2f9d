import { readdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { chartFolder, isPackedChart, leadsOutside, openChart, type ChartFiles } from './chart-files.js';
import { findInChart } from './chart.js';
import { ComposeFiles, isCompose, type Variables } from './compose.js';
import { Findings } from './findings.js';
import { renderChart } from './helm.js';
import { findInImageList, isImageList, isListName } from './image-list.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { isKustomization, Kustomizations } from './kustomize.js';
import { OUTSIDE, SourceFiles } from './source-files.js';
import { parseYaml, type YamlDocument } from './yaml.js';

export interface FindOptions {
  /** Where helm is looked for, and what it gets of it. */
  readonly environment: Variables;
  /** Compose's variables, which go before those of `.env` files. None when it is not said: they may be secrets. */
  readonly variables?: Variables | undefined;
  /** Also files that lie outside the paths, which includes and links may lead to. */
  readonly allowOutside?: boolean | undefined;
  /** What `-` stands for. */
  readonly stdin: () => string;
}

/** One run over some paths. */
interface Run {
  readonly options: FindOptions;
  readonly files: SourceFiles;
  readonly kustomizations: Kustomizations;
  readonly compose: ComposeFiles;
  readonly findings: Findings;
}

interface DocumentKind {
  readonly title: string;
  recognises(value: unknown, file: string): boolean;
  find(document: YamlDocument, file: string, run: Run): void;
}

/** What a document can be, the first that fits; kustomizations, charts and lists are told by their names. */
const KINDS: readonly DocumentKind[] = [
  {
    title: 'Kubernetes',
    recognises: isKubernetes,
    find: (document, file, { findings }) => {
      findInKubernetes(document, file, findings);
    },
  },
  {
    title: 'Compose',
    recognises: isCompose,
    find: (document, file, { compose, findings }) => {
      compose.find(document, file, findings);
    },
  },
];

/** Which images these files and folders need; what cannot be read is in `failures`, and does not stop the others. */
export async function findReferences(paths: readonly string[], options: FindOptions): Promise<Findings> {
  const files = new SourceFiles(
    paths.filter((path) => path !== '-'),
    options.allowOutside === true,
  );
  const findings = new Findings();
  const kustomizations = new Kustomizations(files);
  const compose = new ComposeFiles(files, options.variables ?? {});
  const run = { options, files, kustomizations, compose, findings };
  for (const path of paths)
    await guarded(path, findings, () => {
      if (path === '-') {
        findInText(files.counted('-', options.stdin()), 'stdin', true, run);
        return;
      }
      return files.entry(path).kind === 'folder' ? findInFolder(path, run) : findInFile(path, true, run);
    });
  return findings;
}

async function findInFolder(folder: string, run: Run): Promise<void> {
  const { kustomizations, compose, findings } = run;
  const there: Survey = { charts: [], kustomizations: [], files: [] };
  survey(folder, run, there);
  // What a kustomization takes in is needed as that changes it, not as it stands.
  const parts = new Set<string>();
  for (const one of new Set([folder, ...there.kustomizations]))
    for (const part of kustomizations.partsOf(one)) parts.add(resolve(part));
  for (const chart of there.charts)
    await guarded(chart, findings, () => findInChartFiles(chartFolder(chart, run.files), chart, run));
  const taken = there.kustomizations.filter((one) => parts.has(resolve(one)));
  const tops = there.kustomizations.filter((one) => !parts.has(resolve(one)));
  // At last those that take in each other alone.
  for (const one of [...tops, ...taken])
    await guarded(one, findings, () => {
      if (!parts.has(resolve(one)) || !kustomizations.isResolved(one)) kustomizations.find(one, findings);
    });
  const overrides = new Set(there.files.map((file) => compose.overrideOf(file)));
  for (const file of there.files)
    if (!parts.has(resolve(file)) && !overrides.has(file) && !isKustomization(file))
      await guarded(file, findings, () => findInFile(file, false, run));
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
function survey(folder: string, run: Run, into: Survey): void {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (entries.some(({ name }) => name === 'Chart.yaml')) {
    into.charts.push(folder);
    return;
  }
  if (run.kustomizations.fileIn(folder) !== undefined) into.kustomizations.push(folder);
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    if (entry.isDirectory()) survey(path, run, into);
    else if (entry.isFile()) into.files.push(path);
    else if (mayHaveImages(entry.name)) {
      const { kind } = run.files.entry(path);
      const spot = { file: path, line: undefined, field: '' };
      if (kind === 'file') into.files.push(path);
      else if (kind === 'outside') run.findings.unknown(OUTSIDE, spot);
      else if (kind === 'other') run.findings.unknown('is not a regular file', spot);
    }
  }
}

function isDocument(name: string): boolean {
  return /\.(?:ya?ml|json)$/.test(name);
}

function mayHaveImages(name: string): boolean {
  return isDocument(name) || isListName(name) || isPackedChart(name) || isKustomization(name);
}

/** `asked`: the user named this very file, so that it is said when nothing is known of it. */
async function findInFile(file: string, asked: boolean, run: Run): Promise<void> {
  const { files, kustomizations, findings } = run;
  const name = basename(file);
  const read = () => (asked ? files.operand(file) : files.text(file));
  if (isPackedChart(name)) {
    const chart = await openChart(file, files);
    if (chart !== undefined) await findInChartFiles(chart, file, run);
    else if (asked)
      throw new ImgconvError('DOCUMENT_INVALID', `${file}: not a Helm chart: there is no Chart.yaml in it`);
  } else if (isKustomization(file)) kustomizations.find(dirname(file), findings);
  else if (isListName(name)) findInImageList(read(), file, findings);
  else if (asked || isDocument(name)) {
    const text = read();
    // Many files in JSON are not for Kubernetes, and have comments or other things of their own.
    if (asked || !name.endsWith('.json') || /"(?:apiVersion|services)"/.test(text))
      findInText(text, file, asked, run);
  }
}

function findInText(text: string, file: string, asked: boolean, run: Run): void {
  const { findings } = run;
  if (asked && !isDocument(file) && isImageList(text)) {
    findInImageList(text, file, findings);
    return;
  }
  let known = false;
  const failed = (error: ImgconvError) => {
    findings.failed(error);
    known = true; // Enough is said.
  };
  for (const document of parseYaml(text, file, failed, { effort: run.files.effort })) {
    const kind = KINDS.find((one) => one.recognises(document.value, file));
    kind?.find(document, file, run);
    known ||= kind !== undefined;
  }
  if (asked && !known)
    findings.unknown(`neither a list of images nor ${KINDS.map(({ title }) => title).join(' nor ')}`, {
      file,
      line: undefined,
      field: '',
    });
}

/** With helm as it renders the chart, else as far as it can be told without. */
async function findInChartFiles(chart: ChartFiles, path: string, run: Run): Promise<void> {
  const { options, files, findings } = run;
  const spot = { file: path, line: undefined, field: '' };
  if (leadsOutside(path, files)) findings.unknown(`it is not rendered: a link in it ${OUTSIDE}`, spot);
  else {
    const rendered = await renderChart(path, options.environment, files.effort);
    if (rendered instanceof Findings) {
      findings.add(rendered);
      return;
    }
    if (rendered !== undefined) findings.unknown(`helm cannot render it: ${rendered}`, spot);
  }
  await findInChart(chart, files.effort, findings);
}
