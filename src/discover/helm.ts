import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { resolve as absolute } from 'node:path';
import { absoluteEntries, findProgram } from '../storage/program.js';
import type { Effort } from './effort.js';
import { Findings } from './findings.js';
import { findInKubernetes, isKubernetes } from './kubernetes.js';
import { MAX_FILE, parseYaml } from './yaml.js';

/** A chart that calls for what is not there, or goes round in circles, must not hang the run. */
const TIMEOUT_MS = 60_000;

/**
 * What a chart needs with its own values, as `helm template` renders it. Undefined when there is no helm; when it is
 * there and fails, the findings say why.
 */
export async function renderChart(
  path: string,
  environment: NodeJS.ProcessEnv,
  effort: Effort,
): Promise<Findings | string | undefined> {
  const rendered = await template(path, environment);
  if (rendered === undefined || 'failure' in rendered) return rendered?.failure;
  const findings = new Findings();
  const lines = rendered.text.split('\n');
  effort.allow(rendered.text.length);
  for (const document of parseYaml(rendered.text, `${path} (rendered)`, findings.failed, { effort })) {
    if (!isKubernetes(document.value)) continue;
    const own = new Findings();
    findInKubernetes(document, path, own);
    const source = sourceAbove(lines, document.lineOf([]));
    findings.add(
      own.map((use) => ({
        ...use,
        file: source === undefined ? path : `${path}: ${source}`,
        line: undefined,
      })),
    );
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

/** What helm needs to render a chart of this machine: not the tokens and passwords that an environment holds. */
const PASSED_ON = [
  'HOME',
  'LANG',
  'TMPDIR',
  'XDG_CACHE_HOME',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
  'HELM_CACHE_HOME',
  'HELM_CONFIG_HOME',
  'HELM_DATA_HOME',
  'HELM_NAMESPACE',
];

function template(
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<{ text: string } | { failure: string } | undefined> {
  const helm = findProgram('helm', env['PATH']);
  if (helm === undefined) return Promise.resolve(undefined);
  const passed = Object.fromEntries(PASSED_ON.map((name) => [name, env[name]]));
  return new Promise((resolve) => {
    execFile(
      helm,
      ['template', '--', 'release-name', chartOperand(path)],
      {
        env: { ...passed, PATH: absoluteEntries(env['PATH']).join(':') },
        timeout: TIMEOUT_MS,
        maxBuffer: MAX_FILE,
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
 * folder's name, means the same to it as to us.
 */
function chartOperand(path: string): string {
  return statSync(path).isDirectory() ? `${absolute(path)}/` : absolute(path);
}
