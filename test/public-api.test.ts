import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as api from '../src/index.js';
import type {
  ConvertOptions,
  Digest,
  ErrorCode,
  FindOptions,
  Finding,
  Findings,
  Format,
  GarbageOptions,
  GarbageReport,
  HostAccess,
  ImageDetails,
  ImageReader,
  ImageReport,
  ImageTree,
  ImageWriter,
  ListedImage,
  Place,
  Plan,
  Platform,
  Progress,
  Reference,
  RegistryAccess,
  Report,
  RepositoryUsage,
  Retry,
  Selector,
  SourceImage,
  Spot,
  Tally,
  TreeLayer,
  TreeNode,
  Unknown,
  UnreadableImage,
  UsageReport,
  Use,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
  Waiting,
} from '../src/index.js';
import { fixture } from './support/fixtures.js';

/** Types leave nothing at run time: that this compiles is what pins them. */
export type Pinned = [
  ConvertOptions,
  Digest,
  ErrorCode,
  FindOptions,
  Finding,
  Findings,
  Format,
  GarbageOptions,
  GarbageReport,
  HostAccess,
  ImageDetails,
  ImageReader,
  ImageReport,
  ImageTree,
  ImageWriter,
  ListedImage,
  Place,
  Plan,
  Platform,
  Progress,
  Reference,
  RegistryAccess,
  Report,
  RepositoryUsage,
  Retry,
  Selector,
  SourceImage,
  Spot,
  Tally,
  TreeLayer,
  TreeNode,
  Unknown,
  UnreadableImage,
  UsageReport,
  Use,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
  Waiting,
];

test('the library exports these names and no others', () => {
  assert.deepEqual(Object.keys(api).sort(), [
    'FORMATS',
    'ImgconvError',
    'collectGarbage',
    'convert',
    'diskUsage',
    'failedImages',
    'findPlace',
    'findReferences',
    'imageTrees',
    'inspectImages',
    'listImages',
    'parseDigest',
    'parseImagesFile',
    'parsePlace',
    'parsePlatform',
    'parseReference',
    'referenceText',
    'saveImages',
    'verify',
    'wholeSelectors',
  ]);
});

test('package.json exports the library and itself, types first', () => {
  const { exports, bin } = JSON.parse(readFileSync(fixture('../package.json'), 'utf8')) as {
    exports: Record<string, unknown>;
    bin: unknown;
  };
  assert.deepEqual(Object.keys(exports), ['.', './package.json']);
  assert.deepEqual(Object.keys(exports['.'] as object), ['types', 'default']);
  assert.deepEqual(bin, { imgconv: 'bin/imgconv.js' });
});

test('formats have names that no two share', () => {
  for (const key of ['prefix', 'short', 'title'] as const) {
    const names = api.FORMATS.flatMap((format) => format[key] ?? []);
    assert.equal(new Set(names).size, names.length);
  }
});

test('an error has a code, and keeps its cause and hint', () => {
  const cause = new Error('why');
  const error = new api.ImgconvError('IO', 'what', { cause, hint: 'do this' });
  assert.deepEqual(
    [error.name, error.code, error.message, error.hint, error.cause],
    ['ImgconvError', 'IO', 'what', 'do this', cause],
  );
  assert.ok(error instanceof Error);
});
