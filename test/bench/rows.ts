import type { Row } from './row.js';
import { archiveRows } from './rows-archive.js';
import { manyRows } from './rows-many.js';
import { registryRows } from './rows-registry.js';
import { bigRows, startRows } from './rows-small.js';
import { storeRows } from './rows-store.js';

export const ROWS: readonly Row[] = [
  ...storeRows,
  ...manyRows,
  ...registryRows,
  ...archiveRows,
  ...startRows,
  ...bigRows,
];
/** Those of the README. */
export const README_ROWS: readonly string[] = [
  'pull',
  'pull-crane',
  'saved-gzip',
  'saved-keep',
  'store-tar-plain',
];
