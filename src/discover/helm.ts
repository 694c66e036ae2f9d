import { execFile } from 'node:child_process';
import { resolve as absolute } from 'node:path';
import { MAX_TEXT } from '../bytes/files.js';
import { absoluteEntries, findProgram } from '../storage/program.js';
import { Findings } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import type { SourceFiles } from './source-files.js';
import { parseYaml } from './yaml.js';

/** A chart that calls for what is not there, or loops, must not hang the run. */
const TIMEOUT_MS = 60_000;

/** What helm needs to render a local chart: not the tokens and passwords that an environment holds. */
const PASSED_ON = [
  'HOME',
  'LANG',
  'TMPDIR',
  ...['XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME'],
  ...['HELM_CACHE_HOME', 'HELM_CONFIG_HOME', 'HELM_DATA_HOME', 'HELM_NAMESPACE'],
];

/** What a chart needs with its own values, as `helm template` renders it: undefined without helm, or why helm failed. */
export async function renderChart(
  path: string,
  environment: NodeJS.ProcessEnv,
  files: SourceFiles,
): Promise<Findings | string | undefined> {
  const helm = findProgram('helm', environment['PATH']);
  if (helm === undefined) return undefined;
  const rendered = await template(helm, chartOperand(path, files), environment);
  if ('failure' in rendered) return rendered.failure;
  const { text } = rendered;
  const { effort } = files;
  const findings = new Findings();
  const lines = text.split('\n');
  effort.allow(text.length);
  for (const document of parseYaml(text, `${path} (rendered)`, findings.failed, { effort })) {
    if (!isKubernetes(document.value)) continue;
    const own = new Findings();
    findInKubernetes(document, path, own);
    const source = sourceAbove(lines, document.lineOf([]));
    const file = source === undefined ? path : `${path}: ${source}`;
    findings.add(own.map((use) => ({ ...use, file, line: undefined })));
  }
  return findings;
}

/** Helm writes `# Source: chart/templates/x.yaml` at the beginning of each document. */
function sourceAbove(lines: readonly string[], line: number): string | undefined {
  for (let i = line - 1; i >= 0 && i > line - 20; i--) {
    const source = /^# Source: (.+)$/.exec(lines[i] ?? '')?.[1];
    if (source !== undefined) return source;
    if (lines[i]?.startsWith('---') === true) return undefined;
  }
  return undefined;
}

function template(
  helm: string,
  chart: string,
  env: NodeJS.ProcessEnv,
): Promise<{ text: string } | { failure: string }> {
  const passed = Object.fromEntries(PASSED_ON.map((name) => [name, env[name]]));
  return new Promise((resolve) => {
    execFile(
      helm,
      ['template', '--', 'release-name', chart],
      {
        env: { ...passed, PATH: absoluteEntries(env['PATH']).join(':') },
        timeout: TIMEOUT_MS,
        maxBuffer: MAX_TEXT,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ text: stdout });
        else resolve({ failure: stderr.trim().split('\n').at(-1) || error.message });
      },
    );
  });
}

/**
 * Helm takes words that begin with a dash for options wherever they stand before a `--` (pflag `parseArgs`), and strips
 * white space from the ends of the operand (helm.sh/helm/v3 `LocateChart`): an absolute path, with a slash after a
 * folder's name, means the same to helm and to us.
 */
function chartOperand(path: string, files: SourceFiles): string {
  return files.entry(path).kind === 'folder' ? `${absolute(path)}/` : absolute(path);
}
