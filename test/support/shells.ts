import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** What a line of bash prints. @throws when it fails */
export async function run(line: string): Promise<string> {
  const child = spawn('bash', ['-c', `set -o pipefail; ${line}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [out, problem, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (status !== 0) throw new Error(`${line}: ${problem}`);
  return out;
}
