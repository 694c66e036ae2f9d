const { existsSync, readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join } = require('node:path');
const { Script } = require('node:vm');

const file = join(__dirname, '../dist/bundle/main.js');
/** What V8 made of the command at build time. V8 itself passes over that of another version or other flags. */
const cacheFile = join(__dirname, '../dist/bundle/main.cache');

/** The command, and the script it came from. */
function load() {
  const script = new Script(readFileSync(file, 'latin1'), {
    filename: file,
    cachedData: existsSync(cacheFile) ? readFileSync(cacheFile) : undefined,
  });
  const module = { exports: {} };
  script.runInThisContext()(module, module.exports, createRequire(file), file);
  return { script, run: module.exports.main };
}

exports.cacheFile = cacheFile;
exports.load = load;
