import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { projectRoot } from './fixtures.js';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Surroundings {
  readonly stdin?: string | Buffer;
  readonly cwd?: string;
  /** Of stdout: `latin1` keeps every byte of an archive. */
  readonly encoding?: 'utf8' | 'latin1';
}

/** Runs the command as a user does. */
export async function imgconv(
  args: readonly string[],
  { stdin = '', cwd = projectRoot, encoding = 'utf8' }: Surroundings = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...args], { cwd });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  child.stdin.on('error', () => undefined); // It may end without reading.
  child.stdin.end(stdin);
  const [status, stdout, stderr] = await Promise.all([ended, buffer(child.stdout), text(child.stderr)]);
  return { status, stdout: stdout.toString(encoding), stderr };
}

/** Runs one command line after another in a process of its own: `write` is all that is put in their way. */
const EACH = `
  const [main_, package_, commands] = process.argv.slice(1);
  const { main } = await import(main_);
  const outcomes = [];
  for (const args of JSON.parse(commands)) {
    const said = { stdout: '', stderr: '' };
    const writes = { stdout: process.stdout.write, stderr: process.stderr.write };
    for (const name of Object.keys(said)) process[name].write = (text) => ((said[name] += text), true);
    const status = await main(args, new URL(package_));
    for (const name of Object.keys(said)) process[name].write = writes[name];
    outcomes.push({ status, ...said });
  }
  process.stdout.write(JSON.stringify(outcomes));
`;

/** What several command lines give, for a fraction of the time that as many processes take to start. */
export async function imgconvEach(commands: readonly (readonly string[])[]): Promise<readonly Outcome[]> {
  const main = new URL('../../bundle/main.js', import.meta.url).href;
  const about = pathToFileURL(join(projectRoot, 'package.json')).href;
  const child = spawn(
    process.execPath,
    ['--no-warnings', '--input-type=module', '-e', EACH, main, about, JSON.stringify(commands)],
    {
      cwd: projectRoot,
    },
  );
  const [out, problem] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (problem !== '') throw new Error(problem);
  return JSON.parse(out) as Outcome[];
}
