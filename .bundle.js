import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import command from './bin/load.js';
import { manPage } from './dist/src/cli/man.js';

/**
 * Makes of the compiled sources one file for the command and one for its worker threads, and keeps beside the first
 * what V8 compiled of it when it was run once: half of a short command's time is else spent on compiling.
 */
const out = fileURLToPath(new URL('dist/bundle', import.meta.url));

await build({
  entryPoints: {
    main: 'dist/src/cli/main.js',
    thread: 'dist/src/threads/thread.js',
    worker: 'dist/src/threads/worker.js',
    undici: 'undici',
  },
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
  // Half of all there is, and needed only to speak to registries; and what runs before the rest is loaded.
  plugins: [
    {
      name: 'apart',
      setup: ({ onResolve }) => {
        onResolve({ filter: /^undici$|\/thread\.js$/ }, ({ kind, path }) =>
          kind === 'entry-point' ? undefined : { path: `./${basename(path, '.js')}.js`, external: true },
        );
      },
    },
  ],
  logLevel: 'warning',
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
});
const main = join(out, 'main.js');
writeFileSync(
  main,
  `(function (module, exports, require, __filename) {${readFileSync(main, 'latin1')}\n})\n`,
  'latin1',
);
writeFileSync(join(out, 'package.json'), '{ "type": "commonjs" }\n');

const work = mkdtempSync(join(tmpdir(), 'imgconv-bundle-'));
try {
  const { script, run } = command.load();
  const [tree, store, tar, packed] = ['tree', 'store', 'images.tar', 'packed'].map((name) =>
    join(work, name),
  );
  for (const words of [
    ['tar2dir', 'fixtures/docker20.tar', tree],
    ['dir2reg', tree, store],
    ['reg2tar', store, tar],
    ['tar2dir', 'fixtures/nix-image.tar.gz', packed],
  ]) {
    const status = await run([...words, '--quiet'], 'at build time');
    if (status !== 0) throw new Error(`${words.join(' ')}: exit status ${status}`);
  }
  writeFileSync(command.cacheFile, script.createCachedData());
} finally {
  rmSync(work, { recursive: true });
}

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
mkdirSync(new URL('dist/man', import.meta.url), { recursive: true });
writeFileSync(new URL('dist/man/imgconv.1', import.meta.url), await manPage(version));
