import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { convert, type ConvertOptions } from '../../src/index.js';
import { optional } from '../../src/model/descriptor.js';
import type { Random } from '../bench/random.js';
import { fixture } from '../support/fixtures.js';
import { artifactOf, imageOf, indexOf } from '../support/images.js';
import { savedFiles } from '../support/layouts.js';
import { place } from '../support/places.js';
import { contentsOf, stagingIn } from '../support/snapshot.js';
import { readTar } from '../support/tars.js';
import { tempFolder } from '../support/temp.js';
import type { Campaign } from './campaign.js';
import { mutateSaved, type SavedArchive } from './mutate-saved.js';
import { pick } from './nasty-values.js';
import { expectOwnError } from './trial.js';

/** Archives of every tool and vintage among the fixtures. */
export const ARCHIVES = readdirSync(fixture('.'))
  .filter((name) => /\.tar(?:\.gz)?$/.test(name) && !/^(?:registry|sync|oci|oras)/.test(name))
  .sort();

const entriesSchema = z.array(
  z.looseObject({ Config: z.string(), RepoTags: z.unknown(), Layers: optional(z.array(z.string())) }),
);

function savedArchive(members: SavedArchive['members']): SavedArchive {
  const manifest = members.find(({ name }) => name === 'manifest.json')?.body;
  const entries = entriesSchema.parse(JSON.parse(manifest?.toString() ?? '[]'));
  return { members, entries: entries.map((entry) => ({ ...entry, Layers: entry.Layers ?? [] })) };
}

export async function soundArchives(): Promise<SavedArchive[]> {
  const plain = ARCHIVES.filter((name) => name.endsWith('.tar'));
  const saved = savedFiles({
    'demo/app:1': await imageOf('app'),
    'demo/multi:1': indexOf([await imageOf('one', { compress: false }), await imageOf('two')]),
    'demo/chart:1': artifactOf('chart'),
  });
  return [
    savedArchive(Object.entries(saved).map(([name, body]) => ({ name, body }))),
    ...(await Promise.all(
      plain.map(async (name) =>
        savedArchive(
          (await readTar(readFileSync(fixture(name))))
            .filter(({ header }) => header.type !== 'directory')
            .map(({ header, body }) =>
              header.linkname
                ? { name: header.name, flag: header.type === 'link' ? '1' : '2', link: header.linkname }
                : { name: header.name, body },
            ),
        ),
      ),
    )),
  ];
}

/** What came of a conversion, but for what names the source. */
interface Result {
  readonly outcome: unknown;
  readonly files: Record<string, string>;
  readonly code: string;
}

async function resultOf(
  source: string,
  short: string,
  target: string,
  options: ConvertOptions,
): Promise<Result> {
  const code = (error: unknown) => {
    expectOwnError(error);
    return error.code;
  };
  try {
    const { images } = await convert(place('tar', source), place(short, target), options);
    const outcome = images.map(({ name, status, digest, notes, error }) => ({
      name,
      status,
      digest,
      notes,
      code: error && code(error),
    }));
    // Images are written side by side: which comes first does not say anything.
    outcome.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    const failed = outcome.find((one) => one.code !== undefined)?.code;
    return { outcome, files: contentsOf(target), code: failed ?? 'written' };
  } catch (error) {
    return { outcome: code(error), files: contentsOf(target), code: code(error) };
  } finally {
    assert.deepEqual(stagingIn(join(target, '..')), []);
  }
}

async function throughPipe<T>(bytes: Buffer, piece: number, work: () => Promise<T>): Promise<T> {
  const own = process.stdin;
  const pieces = function* () {
    for (let at = 0; at < bytes.length; at += piece) yield bytes.subarray(at, at + piece);
  };
  const value = Readable.from(pieces(), { objectMode: false });
  Object.defineProperty(process, 'stdin', { value, configurable: true, writable: true });
  try {
    return await work();
  } finally {
    Object.defineProperty(process, 'stdin', { value: own, configurable: true, writable: true });
    value.destroy();
  }
}

/**
 * Converts an archive that is a file, and the same bytes out of a pipe: images, digests, codes and all files made have
 * to be the same. Gives a word for what became of it.
 */
export async function expectSameWays(
  bytes: Buffer,
  short: string,
  options: ConvertOptions,
  piece = 64 * 1024,
): Promise<string> {
  const scratch = tempFolder();
  try {
    // An archive's own name may be a repository's; that of a pipe is this.
    const path = join(scratch, '-');
    writeFileSync(path, bytes);
    for (const name of ['file', 'pipe']) mkdirSync(join(scratch, name));
    const file = await resultOf(path, short, join(scratch, 'file', 'place'), options);
    const pipe = await throughPipe(bytes, piece, () =>
      resultOf('-', short, join(scratch, 'pipe', 'place'), options),
    );
    assert.deepEqual(pipe, file, `out of a pipe, and of a file, into ${short}, ${JSON.stringify(options)}`);
    return file.code;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const WAYS: readonly ConvertOptions[] = [
  {},
  {},
  { compression: 'keep' },
  { compression: 'zstd' },
  { compression: 'none', recompress: true },
];

function packed(bytes: Buffer, random: Random): Buffer {
  const program = pick(random, ['', '', '', '', 'gzip', 'zstd', 'xz', 'bzip2']);
  if (program === '') return bytes;
  if (program === 'gzip') return gzipSync(bytes, { level: 1 });
  return execFileSync(program, ['-cq'], { input: bytes });
}

export const pipe: Campaign = {
  name: 'pipe',
  cases: 2000,
  seconds: 15,
  memory: 500 * 1024 ** 2,
  prepare: async () => {
    const all = await soundArchives();
    return async (random) => {
      const bytes = packed(mutateSaved(pick(random, all), random), random);
      const short = pick(random, ['reg', 'reg', 'reg', 'dir', 'oci', 'tar']);
      return expectSameWays(bytes, short, pick(random, WAYS), pick(random, [997, 64 * 1024, 1024 * 1024]));
    };
  },
};
