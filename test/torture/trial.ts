import assert from 'node:assert/strict';
import { EXIT } from '../../src/cli/exit.js';
import {
  convert,
  failedImages,
  ImgconvError,
  listImages,
  type ConvertOptions,
  type Format,
  type Place,
} from '../../src/index.js';
import { Sentinel } from './sentinel.js';

export interface Verdict {
  /** Codes of all that was refused. */
  readonly codes: readonly string[];
  readonly errors: readonly ImgconvError[];
  /** Images that were written. */
  readonly written: number;
}

/** Errors are imgconv's own; what a bug throws is not hidden in one. */
export function expectOwnError(error: unknown): asserts error is ImgconvError {
  assert.ok(
    error instanceof ImgconvError,
    `not an ImgconvError: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
  );
  assert.ok(error.code in EXIT, `no code: ${error.code}`);
  assert.notEqual(error.code, 'USAGE', error.message);
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    const isBug =
      cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError;
    assert.ok(
      !isBug || /damaged (?:xz|zstd) data|not JSON: The encoded data was not valid/.test(error.message),
      `a bug: ${error.message}: ${cause.stack ?? ''}`,
    );
  }
  assert.doesNotMatch(error.message, /\[object Object\]|Cannot read prop|is not a function|\n\s+at /);
}

async function errorsOfListing(from: Place): Promise<unknown[]> {
  const errors: unknown[] = [];
  try {
    for await (const { error } of listImages(from)) if (error !== undefined) errors.push(error);
  } catch (error) {
    errors.push(error);
  }
  return errors;
}

let shared: Sentinel | undefined;

/** Lists a place and converts it, and holds it against all that has to be true whatever the place is. */
export async function tryPlace(from: Place, to: Format, options: ConvertOptions = {}): Promise<Verdict> {
  const sentinel = (shared ??= new Sentinel());
  const errors: ImgconvError[] = [];
  const note = (error: unknown) => {
    expectOwnError(error);
    errors.push(error);
  };
  try {
    for (const error of await errorsOfListing(from)) expectOwnError(error);
    const target = { format: to, path: sentinel.destination };
    let written = 0;
    const outcome = await convert(from, target, { compression: 'keep', ...options }).catch(
      (error: unknown) => ({ thrown: error }),
    );
    if ('thrown' in outcome) note(outcome.thrown);
    else {
      for (const { error } of failedImages(outcome)) note(error);
      written = outcome.images.filter(({ status }) => status === 'written').length;
    }
    sentinel.expectUntouched();
    if (written > 0)
      for await (const { error } of listImages(target)) assert.equal(error, undefined, error?.message);
    return { codes: errors.map(({ code }) => code), errors, written };
  } finally {
    sentinel.clear();
  }
}
