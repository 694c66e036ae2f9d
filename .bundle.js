import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { cacheFile, load } from './bin/load.js';

/**
 * Makes of the compiled sources one file for the command and one for its worker threads, and keeps beside the first
 * what V8 compiled of it when it was run once: half of a short command's time is else spent on compiling.
 */
const out = fileURLToPath(new URL('dist/bundle', import.meta.url));

await build({
  entryPoints: { main: 'dist/src/cli/main.js', worker: 'dist/src/io/worker.js' },
  bundle: true,
  // Names stay, for the stack traces of --debug.
  minifyWhitespace: true,
  minifySyntax: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  // What is not in the bundle is required: V8 forgets who imports for a script that it takes out of a cache.
  supported: { 'dynamic-import': false },
  outdir: out,
  alias: { 'string-width': './dist/src/cli/text-width.js' },
  external: ['@bokuweb/zstd-wasm', 'xz-decompress', 'fzstd', 'cli-progress'],
  logLevel: 'warning',
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
});
writeFileSync(join(out, 'package.json'), '{ "type": "commonjs" }\n');

const work = mkdtempSync(join(tmpdir(), 'imgconv-bundle-'));
try {
  const { script, main } = load();
  const [tree, store, tar] = ['tree', 'store', 'images.tar'].map((name) => join(work, name));
  for (const words of [
    ['tar2dir', 'fixtures/docker20.tar', tree],
    ['dir2reg', tree, store],
    ['reg2tar', store, tar],
  ]) {
    const status = await main([...words, '--quiet'], new URL('package.json', import.meta.url));
    if (status !== 0) throw new Error(`${words.join(' ')}: exit status ${status}`);
  }
  writeFileSync(cacheFile, script.createCachedData());
} finally {
  rmSync(work, { recursive: true });
}
