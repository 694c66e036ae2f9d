import { existsSync } from 'node:fs';
import { ImgconvError } from '../model/errors.js';
import { dir } from './dir/index.js';
import { dockerArchive } from './docker-archive/index.js';
import type { Format } from './format.js';
import { registry } from './registry/index.js';

/** All formats. Commands, help and the tests over all pairs come from here; plain paths are recognised in this order. */
export const FORMATS: readonly Format[] = [registry, dir, dockerArchive];

export interface Place {
  readonly format: Format;
  readonly path: string;
}

/** `PREFIX:PATH`; undefined without a known prefix. */
function parsePrefixed(text: string): Place | undefined {
  for (const format of FORMATS) {
    if (text.startsWith(`${format.prefix}:`)) return { format, path: text.slice(format.prefix.length + 1) };
  }
  return undefined;
}

/** @throws ImgconvError USAGE without a known prefix */
export function parsePlace(text: string): Place {
  const place = parsePrefixed(text);
  if (place !== undefined && place.path !== '') return place;
  throw new ImgconvError('USAGE', `${text}: give a prefix and a path`, {
    hint: `prefixes: ${FORMATS.map(({ prefix }) => `${prefix}:`).join(' ')}`,
  });
}

/** A prefixed path, or a plain one whose format is recognised. @throws ImgconvError NOT_FOUND, FORMAT_UNKNOWN */
export function findPlace(text: string): Place {
  if (!existsSync(text)) {
    const place = parsePrefixed(text);
    if (place !== undefined) return place;
    throw new ImgconvError('NOT_FOUND', `${text}: no such file or folder`);
  }
  const format = FORMATS.find((one) => one.recognises(text));
  if (format !== undefined) return { format, path: text };
  throw new ImgconvError(
    'FORMAT_UNKNOWN',
    `${text}: neither ${FORMATS.map(({ title }) => title).join(', nor ')}`,
    {
      hint: `say what it is with a prefix: ${FORMATS.map(({ prefix }) => `${prefix}:${text}`).join(', ')}`,
    },
  );
}
