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
