import { basename, dirname, join, resolve } from 'node:path';
import { listFolder } from '../bytes/files.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { chartFolder, isPackedChart, leadsOutside, openChart, type ChartFiles } from './chart-files.js';
import { findInChart } from './chart.js';
import { ComposeFiles, isCompose } from './compose.js';
import type { Variables } from './interpolate.js';
import { Findings } from './findings.js';
import { renderChart } from './helm.js';
import { findInImageList, isImageList, isListName } from './image-list.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { isKustomization, Kustomizations } from './kustomize.js';
import { OUTSIDE, SourceFiles } from './source-files.js';
import { parseYaml } from './yaml.js';

export interface FindOptions {
  /** Where helm is looked for, and what it gets of it. */
  readonly environment: Variables;
  /** Compose's variables, which have precedence over those of `.env` files. None by default: they may be secrets. */
  readonly variables?: Variables | undefined;
  /** Also files outside the paths, which includes and links may lead to. */
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
  // The parts of a kustomization count as it changes them, not by themselves.
  const parts = new Set<string>();
  for (const one of new Set([folder, ...there.kustomizations]))
    for (const part of kustomizations.partsOf(one)) parts.add(resolve(part));
  for (const chart of there.charts)
    await guarded(chart, findings, () => findInChartFiles(chartFolder(chart, run.files), chart, run));
  const isPart = (path: string) => parts.has(resolve(path));
  const tops = there.kustomizations.filter((one) => !isPart(one));
  // Last, those that only include each other.
  for (const one of [...tops, ...there.kustomizations.filter(isPart)])
    await guarded(one, findings, () => {
      if (!isPart(one) || !kustomizations.isResolved(one)) kustomizations.find(one, findings);
    });
  const overrides = new Set(there.files.map((file) => compose.overrideOf(file)));
  for (const file of there.files)
    if (!isPart(file) && !overrides.has(file) && !isKustomization(file))
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

/** Sorts what is in a folder and below. Charts, hidden files and folders, and links to folders are not entered. */
function survey(folder: string, run: Run, into: Survey): void {
  const entries = listFolder(folder);
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
      const refusal = run.files.refusal(path);
      if (refusal !== undefined) run.findings.unknown(refusal, { file: path });
      else if (run.files.entry(path).kind === 'file') into.files.push(path);
    }
  }
}

function isDocument(name: string): boolean {
  return /\.(?:ya?ml|json)$/.test(name);
}

function mayHaveImages(name: string): boolean {
  return isDocument(name) || isListName(name) || isPackedChart(name) || isKustomization(name);
}

/** `asked`: the user named this very file, so it is reported when nothing is known of it. */
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
  const { compose, findings } = run;
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
    if (isKubernetes(document.value)) findInKubernetes(document, file, findings);
    else if (isCompose(document.value, file)) compose.find(document, file, findings);
    else continue;
    known = true;
  }
  if (asked && !known) findings.unknown('neither a list of images nor Kubernetes nor Compose', { file });
}

/** With helm as it renders the chart, else as far as it can be determined without. */
async function findInChartFiles(chart: ChartFiles, file: string, run: Run): Promise<void> {
  const { options, files, findings } = run;
  if (leadsOutside(file, files)) findings.unknown(`it is not rendered: a link in it ${OUTSIDE}`, { file });
  else {
    const rendered = await renderChart(file, options.environment, files);
    if (rendered instanceof Findings) {
      findings.add(rendered);
      return;
    }
    if (rendered !== undefined) findings.unknown(`helm cannot render it: ${rendered}`, { file });
  }
  await findInChart(chart, files.effort, findings);
}
