import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';

const file = fileURLToPath(new URL('../dist/bundle/main.js', import.meta.url));
/** What V8 made of the command at build time. V8 itself passes over that of another version or other flags. */
export const cacheFile = join(dirname(file), 'main.cache');

/** The command, and the script it came from. */
export function load() {
  const script = new vm.Script(
    `(function (module, exports, require, __filename) {${readFileSync(file, 'latin1')}\n})`,
    {
      filename: file,
      cachedData: existsSync(cacheFile) ? readFileSync(cacheFile) : undefined,
    },
  );
  const module = { exports: {} };
  script.runInThisContext()(module, module.exports, createRequire(file), file);
  return { script, main: module.exports.main };
}
