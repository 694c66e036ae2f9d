import { readdirSync } from 'node:fs';
import tseslint from 'typescript-eslint';

/** Each room of src imports from those before it. A room without a place in this list is an error. */
const LAYERS = [
  'page',
  'model',
  'bytes',
  'codecs',
  'threads',
  'proof',
  'storage',
  'formats',
  'transfer',
  'upkeep',
  'discover',
  'requests',
  'serve',
  'cli',
];
for (const { name } of readdirSync(new URL('src', import.meta.url), { withFileTypes: true }).filter((one) =>
  one.isDirectory(),
))
  if (!LAYERS.includes(name)) throw new Error(`src/${name}: no rule says who may import it`);
const WITH_FILES = ['bytes', 'storage', 'cli'];
const NO_FILES = { group: ['node:fs', 'node:fs/*'], message: 'files are read in bytes and storage' };
const layerRules = LAYERS.map((layer, i) => ({
  files: [`src/${layer}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          ...LAYERS.slice(i + 1).map((above) => ({
            group: [`**/${above}/*`],
            message: `${layer} comes before ${above}`,
          })),
          ...(layer === 'model' ? [{ group: ['node:path'], message: 'the model is pure' }] : []),
          ...(WITH_FILES.includes(layer) ? [] : [NO_FILES]),
          ...(layer === 'formats' ? [{ group: ['node:crypto'], message: 'hashing is in bytes' }] : []),
        ],
      },
    ],
  },
}));
const folders = readdirSync(new URL('src/formats', import.meta.url), { withFileTypes: true }).filter((one) =>
  one.isDirectory(),
);
const formats = folders
  .map(({ name }) => name)
  .map((format, _, all) => ({
    files: [`src/formats/${format}/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: LAYERS.slice(LAYERS.indexOf('formats') + 1).map((above) => `**/${above}/*`),
              message: 'formats come before it',
            },
            { group: ['node:crypto'], message: 'hashing is in bytes' },
            NO_FILES,
            {
              group: all.filter((other) => other !== format).map((other) => `**/${other}/*`),
              message: 'what two formats share belongs below them',
            },
          ],
        },
      ],
    },
  }));

export default tseslint.config(
  // AssemblyScript, whose compiler checks types.
  {
    ignores: [
      'src/codecs/deflate/**',
      'src/codecs/go-deflate/**',
      'src/codecs/klauspost-deflate/**',
      'dist/**',
      'node_modules/**',
      'fixtures/**',
      'test/examples/**',
    ],
  },
  {
    files: ['src/**/*.ts', 'test/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_$' }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: { 'max-lines': ['error', 300], 'max-lines-per-function': ['error', 60] },
  },
  // Components are mostly markup.
  { files: ['src/page/*.ts'], rules: { 'max-lines-per-function': ['error', 110] } },
  {
    files: ['test/**/*.ts'],
    // node:test collects what `test` and `describe` return.
    rules: { '@typescript-eslint/no-floating-promises': 'off' },
  },
  ...layerRules,
  ...formats,
);
