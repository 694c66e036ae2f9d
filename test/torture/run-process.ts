import { spawn } from 'node:child_process';
import { createReadStream, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { z } from 'zod';
import { projectRoot } from '../support/fixtures.js';
import type { Run } from './outcome.js';
import { planText } from './plan.js';

const INJECTOR = new URL('./injector.js', import.meta.url).href;
const toldSchema = z.object({ count: z.number(), fired: z.string().optional() });

/** Runs the command in a process of its own, as users do, with real pipes. `scratch` is for files of this module. */
export function inProcess(scratch: string): Run {
  const tell = join(scratch, 'told.json');
  return async (args, stdin, { plan, killAfter } = {}) => {
    rmSync(tell, { force: true });
    const child = spawn(
      process.execPath,
      [...(plan === undefined ? [] : ['--import', INJECTOR]), join(projectRoot, 'bin/imgconv.js'), ...args],
      {
        env: {
          ...process.env,
          ...(plan !== undefined && { TORTURE_PLAN: planText(plan), TORTURE_TELL: tell }),
        },
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    const exited = new Promise<number | undefined>((resolve, reject) => {
      child.on('error', reject).on('close', (status) => {
        resolve(status ?? undefined);
      });
    });
    child.stdin.on('error', () => undefined); // It may die without reading.
    if (stdin === undefined) child.stdin.end();
    else createReadStream(stdin).pipe(child.stdin);
    const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter);
    const [status, stdout, stderr] = await Promise.all([exited, buffer(child.stdout), text(child.stderr)]);
    clearTimeout(timer);
    const told = existsSync(tell) ? toldSchema.parse(JSON.parse(readFileSync(tell, 'utf8'))) : undefined;
    return { status, stdout, stderr, count: told?.count, fired: told?.fired, uncaught: [] };
  };
}
