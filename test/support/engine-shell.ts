import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from './fixtures.js';

/** What ties a docker client to the engine that was started in this folder. */
function environmentIn(scratch: string): NodeJS.ProcessEnv {
  const engine = readdirSync(scratch).find((name) => name.startsWith('engine-'));
  if (engine === undefined) throw new Error(`no engine in ${scratch}`);
  const folder = join(scratch, engine);
  return {
    DOCKER_HOST: `unix://${folder}/docker.sock`,
    DOCKER_CONFIG: join(folder, 'config'),
    DOCKER_CONTEXT: '',
  };
}

/**
 * Runs a line of shell with pipes in it; `imgconv` is the command and `docker` the client of the engine in `scratch`.
 * `$1` and so on are `args`. All parts of a pipe have to succeed. Gives what it wrote to stdout.
 */
export function shell(scratch: string, line: string, ...args: readonly string[]): Promise<string> {
  const script = `set -o pipefail; imgconv() { "$IMGCONV_NODE" "$IMGCONV_BIN" "$@"; }; ${line}`;
  const env = {
    ...process.env,
    ...environmentIn(scratch),
    IMGCONV_NODE: process.execPath,
    IMGCONV_BIN: join(projectRoot, 'bin/imgconv.js'),
  };
  return new Promise((resolve, reject) => {
    execFile(
      'bash',
      ['-c', script, 'bash', ...args],
      { env, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${line}: ${stderr}`, { cause: error }));
      },
    );
  });
}
