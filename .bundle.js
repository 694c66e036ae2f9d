import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { build } from 'esbuild';
import { manPage } from './dist/src/cli/man.js';

/*
 * Makes scripts of the compiled sources and of all packages that they use: what is published needs no other package.
 *   dist/bundle  the command, its worker threads, and apart from them what few runs need
 *   dist/lib     the library, with its worker threads inside, and its types
 *   dist/single  the command as one script, for the single-file build
 */
process.chdir(fileURLToPath(new URL('.', import.meta.url)));

/** Large, and needed by few commands; and what runs before the rest is loaded. */
const APART = [
  'undici',
  'bcryptjs',
  'prom-client',
  'zstd-wasm',
  'xz-decompress',
  'fzstd',
  'thread.js',
  'page-assets.js',
  '@tus/server',
  '@tus/file-store',
];

/** What is not in the same script is required: V8 forgets who imports for a script that it takes out of a cache. */
const apart = {
  name: 'apart',
  setup: ({ onResolve }) => {
    onResolve({ filter: new RegExp(`(?:^|/)(?:${APART.join('|')})$`) }, ({ kind, path }) =>
      kind === 'entry-point' ? undefined : { path: `./${basename(path, '.js')}.js`, external: true },
    );
  },
};

/** The package looks for its WebAssembly in a file beside its own script. */
const wasmInside = {
  name: 'wasm-inside',
  setup: ({ onLoad }) => {
    onLoad({ filter: /zstd-wasm\/dist\/common\/index\.node\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        /yield readFile\([^;]*\);/,
        `Buffer.from('${readFileSync(join(dirname(path), 'zstd.wasm'), 'base64')}', 'base64');`,
      ),
    }));
  },
};

/** Folders by name: a package may lie within another one's folder. */
const packages = new Map();

async function bundle(options) {
  const { metafile, outputFiles } = await build({
    bundle: true,
    // Names stay, for the stack traces of --debug.
    minifyWhitespace: true,
    minifySyntax: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    supported: { 'dynamic-import': false },
    alias: { 'string-width': './dist/src/cli/text-width.js' },
    logLevel: 'warning',
    legalComments: 'none',
    metafile: true,
    ...options,
    plugins: [wasmInside, ...(options.plugins ?? [])],
  });
  for (const input of Object.keys(metafile.inputs)) {
    const [folder, name] = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input) ?? [];
    if (name !== undefined) packages.set(name, folder);
  }
  return outputFiles?.[0]?.text;
}

/** The page of imgconv serve: its script as a browser has it, and its other files, as one module. */
const page = await bundle({
  entryPoints: ['src/page/main.ts'],
  platform: 'browser',
  format: 'esm',
  target: 'es2022',
  minify: true,
  charset: 'utf8',
  alias: {},
  supported: {},
  write: false,
});
const compact = (file) => readFileSync(`src/page/${file}`, 'utf8').replace(/\n\s*/g, '\n');
const assets = { 'page.js': page, 'page.html': compact('page.html'), 'page.css': compact('page.css') };
writeFileSync('dist/src/serve/page-assets.js', `export const ASSETS = ${JSON.stringify(assets)};\n`);

/**
 * Codecs in AssemblyScript, inside the scripts: folders of src/codecs and their memory in pages of 64 KiB.
 * `--memoryBase`: what lies below belongs to the compiler, the rest is laid out in each layout.ts.
 */
const WASM_CODECS = { deflate: 48, 'go-deflate': 48, 'klauspost-deflate': 40 };
for (const [name, pages] of Object.entries(WASM_CODECS)) {
  const words = `src/codecs/${name}/index.ts -o dist/${name}.wasm --runtime stub --noAssert --enable simd -O3 --converge --initialMemory ${pages} --maximumMemory ${pages} --memoryBase 1024`;
  const { error, stderr } = await asc.main(words.split(' '));
  if (error !== null) throw new Error(`asc: ${stderr}`, { cause: error });
  const wasm = readFileSync(`dist/${name}.wasm`, 'base64');
  writeFileSync(`dist/src/codecs/${name}-wasm.js`, `export const WASM = '${wasm}';\n`);
}

await bundle({
  entryPoints: {
    main: 'dist/src/cli/main.js',
    thread: 'dist/src/threads/thread.js',
    worker: 'dist/src/threads/worker.js',
    undici: 'undici',
    bcryptjs: 'bcryptjs',
    'prom-client': 'prom-client',
    'page-assets': 'dist/src/serve/page-assets.js',
    server: '@tus/server',
    'file-store': '@tus/file-store',
    'zstd-wasm': '@bokuweb/zstd-wasm',
    'xz-decompress': 'xz-decompress',
    fzstd: 'fzstd',
  },
  outdir: 'dist/bundle',
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
  plugins: [apart],
});
const main = 'dist/bundle/main.js';
const wrapped = `(function (module, exports, require, __filename) {${readFileSync(main, 'latin1')}\n})\n`;
const hash = createHash('sha256').update(wrapped, 'latin1').digest('hex');
// What V8 compiled is kept under this name, see bin/load.js.
writeFileSync(main, `/*${hash}*/${wrapped}`, 'latin1');
writeFileSync('dist/bundle/package.json', '{ "type": "commonjs" }\n');

const worker = await bundle({ entryPoints: ['dist/src/threads/worker.js'], write: false });
const inside = { WORKER_SCRIPT: JSON.stringify(worker) };
await bundle({
  entryPoints: ['dist/src/index.js'],
  outfile: 'dist/lib/index.js',
  format: 'esm',
  define: inside,
  // Also where a program that uses the library is bundled, as which kind of module does not matter.
  banner: { js: 'const require = (name) => process.getBuiltinModule(name);' },
});
const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
await bundle({
  stdin: {
    contents: `
      const { main } = require('./dist/src/cli/main.js');
      process.exitCode = 1;
      main(process.argv.slice(2), ${JSON.stringify(version)}).then((status) => { process.exitCode = status; });`,
    resolveDir: '.',
  },
  outfile: 'dist/single/imgconv.cjs',
  define: { ...inside, 'import.meta.url': '"file:///imgconv"' },
});

mkdirSync('dist/man', { recursive: true });
writeFileSync('dist/man/imgconv.1', await manPage(version));

/** Copies the types that a file has, and those that they are made of. */
function copyTypes(file, done = new Set()) {
  if (done.has(file)) return;
  done.add(file);
  const [from, to] = [join('dist/src', file), join('dist/lib', file)];
  mkdirSync(dirname(to), { recursive: true });
  const text = readFileSync(from, 'utf8').replace(/\n\/\/# sourceMappingURL=.*/, '');
  writeFileSync(to, text);
  for (const [, path] of text.matchAll(/(?:from |import\()['"](\.[^'"]+)\.js['"]/g))
    copyTypes(join(dirname(file), `${path}.d.ts`), done);
}
copyTypes('index.d.ts');

/** The licences of all packages that are inside. */
const licences = [...packages].sort().map(([name, folder]) => {
  const { version: of, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license', 'LICENCE'].find((one) => {
    try {
      return readFileSync(join(folder, one), 'utf8') !== '';
    } catch {
      return false;
    }
  });
  return `${name} ${of} (${license})\n\n${file === undefined ? '' : readFileSync(join(folder, file), 'utf8').trim()}\n`;
});
writeFileSync('dist/THIRD-PARTY-LICENSES', licences.join(`\n${'-'.repeat(80)}\n\n`));
