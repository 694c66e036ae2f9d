import { execSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

/**
 * `npm pack` runs this before and after: the package has no scripts of the checkout in it. npm 11 warns whoever installs a
 * package with a `prepare` script, which a package that is built already has no use for.
 */
const KEPT = '.package.json.kept';
if (process.argv[2] === 'restore') renameSync(KEPT, 'package.json');
else {
  if (!existsSync('dist/lib/index.js') || !existsSync('dist/bundle/main.js'))
    execSync('npm run --silent build', { stdio: 'inherit' });
  // One that was interrupted left the whole one behind.
  if (existsSync(KEPT)) renameSync(KEPT, 'package.json');
  const text = readFileSync('package.json', 'utf8');
  const { scripts: _, devDependencies: __, ...kept } = JSON.parse(text);
  writeFileSync(KEPT, text);
  writeFileSync('package.json', `${JSON.stringify(kept, undefined, 2)}\n`);
}
