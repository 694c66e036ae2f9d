import { execSync } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Builds after `npm ci`, and where npm installs from a git URL. There `npm install -g` hands its own settings on to the
 * clone, which then has no compiler: what a build needs is installed here.
 */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
const run = (command) => execSync(command, { env, stdio: ['ignore', 'ignore', 'inherit'] });
if (!existsSync('node_modules/typescript')) run('npm ci --ignore-scripts --loglevel=error');
if (process.env._PACOTE_NO_PREPARE_ === undefined || !existsSync('dist/lib')) run('npm run --silent build');

// npm 11 puts a link to its clone in the place of what it is about to install there, and later deletes the clone.
const place = join(process.env.npm_config_global_prefix ?? '/', 'lib/node_modules/imgconv');
if (process.env.npm_config_global === 'true' && existsSync(place) && realpathSync(place) === process.cwd()) {
  rmSync(place);
  mkdirSync(place);
}
