import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { projectRoot } from './fixtures.js';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Surroundings {
  readonly stdin?: string | Buffer | undefined;
  readonly cwd?: string;
  /** Laid over this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of stdout: `latin1` keeps every byte of an archive. */
  readonly encoding?: 'utf8' | 'latin1';
}

/** Runs the command as a user does. */
export async function imgconv(
  args: readonly string[],
  { stdin = '', cwd = projectRoot, encoding = 'utf8', env = {} }: Surroundings = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...args], {
    cwd,
    env: { ...process.env, ...env },
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  child.stdin.on('error', () => undefined); // It may end without reading.
  child.stdin.end(stdin);
  const [status, stdout, stderr] = await Promise.all([ended, buffer(child.stdout), text(child.stderr)]);
  return { status, stdout: stdout.toString(encoding), stderr };
}

/** Runs one command line after another in a process of its own: `write` is all that is put in their way. */
const EACH = `(async () => {
  const [load, commands] = process.argv.slice(1);
  const { run } = require(load).load();
  const outcomes = [];
  for (const args of JSON.parse(commands)) {
    const said = { stdout: '', stderr: '' };
    const writes = { stdout: process.stdout.write, stderr: process.stderr.write };
    for (const name of Object.keys(said)) process[name].write = (text) => ((said[name] += text), true);
    const status = await run(args, '0.0.0');
    for (const name of Object.keys(said)) process[name].write = writes[name];
    outcomes.push({ status, ...said });
  }
  process.stdout.write(JSON.stringify(outcomes));
})()`;

/** What several command lines give, for a fraction of the time that as many processes take to start. */
export async function imgconvEach(commands: readonly (readonly string[])[]): Promise<readonly Outcome[]> {
  const load = join(projectRoot, 'bin/load.js');
  const child = spawn(process.execPath, ['--no-warnings', '-e', EACH, load, JSON.stringify(commands)], {
    cwd: projectRoot,
  });
  const [out, problem] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (problem !== '') throw new Error(problem);
  return JSON.parse(out) as Outcome[];
}
