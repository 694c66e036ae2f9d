import { readdirSync } from 'node:fs';
import tseslint from 'typescript-eslint';

/** model ← io ← formats ← transfer ← references ← cli: each imports from those before it, formats not from each other. */
const LAYERS = ['model', 'io', 'formats', 'transfer', 'references', 'cli'];
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
          ...(layer === 'model'
            ? [{ group: ['node:fs', 'node:fs/*', 'node:path'], message: 'the model is pure' }]
            : []),
          ...(layer === 'formats' ? [{ group: ['node:crypto'], message: 'hashing is in io' }] : []),
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
            { group: ['**/transfer/*', '**/cli/*'], message: 'formats come before transfer and cli' },
            { group: ['node:crypto'], message: 'hashing is in io' },
            {
              group: all.filter((other) => other !== format).map((other) => `**/${other}/*`),
              message: 'what two formats share belongs in io or model',
            },
          ],
        },
      ],
    },
  }));

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'fixtures/**'] },
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
    files: ['test/**/*.ts'],
    // node:test collects what `test` and `describe` return.
    rules: { '@typescript-eslint/no-floating-promises': 'off' },
  },
  ...layerRules,
  ...formats,
);
