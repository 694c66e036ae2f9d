import { join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { listFolder, streamRegular, textOf } from '../bytes/files.js';
import type { LocalBytes } from '../bytes/region.js';
import { decompress } from '../codecs/decompress.js';
import type { Spool } from '../codecs/tar-pipe.js';
import { ImgconvError } from '../model/errors.js';
import type { SourceFiles } from './source-files.js';

/** The files of a Helm chart, by their paths in it. */
export interface ChartFiles {
  /** The folder or the archive, for messages. */
  readonly where: string;
  readonly names: readonly string[];
  /** @throws ImgconvError DOCUMENT_INVALID when it is not text */
  read(name: string): string | undefined;
  /** An archive in it, such as a subchart. */
  readPacked(name: string): Promise<ChartFiles | undefined>;
}

/** What Helm itself reads of an archive at most (helm.sh/helm/v3 `MaxDecompressedChartSize`). */
const MAX_CHART = 100 * 1024 * 1024;
/** Charts pack their subcharts, whose subcharts are packed in them. */
const MAX_NESTING = 8;

export function isPackedChart(name: string): boolean {
  return /\.(?:tgz|tar\.gz)$/.test(name);
}

export function chartFolder(folder: string, files: SourceFiles): ChartFiles {
  const names = listFolder(folder, true)
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
  const has = new Set(names);
  const spool = new ChartSpool(folder, files);
  return {
    where: folder,
    names,
    read: (name) => (has.has(name) ? files.text(join(folder, name)) : undefined),
    readPacked: (name) => unpackFile(join(folder, name), files, spool),
  };
}

/** True when a link below the folder leads to what must not be read; `helm` would follow it. */
export function leadsOutside(folder: string, files: SourceFiles, seen = new Set<string>()): boolean {
  const root = files.entry(folder);
  if (root.kind !== 'folder' || seen.has(root.real)) return false;
  seen.add(root.real);
  return listFolder(root.real, true).some((entry) => {
    if (!entry.isSymbolicLink()) return false;
    const target = join(entry.parentPath, entry.name);
    return files.refusal(target) !== undefined || leadsOutside(target, files, seen);
  });
}

/** A `.tgz` as `helm package` writes it; undefined when there is no chart in it. */
export function openChart(file: string, files: SourceFiles): Promise<ChartFiles | undefined> {
  return unpackFile(file, files, new ChartSpool(file, files));
}

async function unpackFile(
  file: string,
  files: SourceFiles,
  spool: ChartSpool,
): Promise<ChartFiles | undefined> {
  const entry = files.entry(file);
  return entry.kind === 'file' ? unpackChart(streamRegular(entry.real, file), file, spool, 0) : undefined;
}

async function unpackChart(
  source: AsyncIterable<Uint8Array>,
  where: string,
  spool: ChartSpool,
  depth: number,
): Promise<ChartFiles | undefined> {
  const { indexStream } = await import('../codecs/tar-pipe.js');
  const index = await indexStream(decompress(source, 'gzip', where, 'ARCHIVE_INVALID'), where, spool);
  const root = index
    .names()
    .find((name) => /^[^/]+\/Chart\.yaml$/.test(name))
    ?.slice(0, -'Chart.yaml'.length);
  if (root === undefined) return undefined;
  const bytesOf = (name: string) => {
    const at = index.get(root + name);
    return at?.kind === 'memory' ? at.bytes : undefined;
  };
  return {
    where,
    names: namesBelow(root, index.names()),
    read: (name) => {
      const bytes = bytesOf(name);
      return bytes && textOf(bytes, `${where}: ${name}`);
    },
    readPacked: async (name) => {
      const bytes = bytesOf(name);
      if (bytes === undefined || depth >= MAX_NESTING) return undefined;
      return unpackChart(Readable.from([bytes]), `${where}: ${name}`, spool, depth + 1);
    },
  };
}

/** The chart in this folder of a chart; `folder` ends in a slash. */
export function subchartIn(chart: ChartFiles, folder: string): ChartFiles {
  return {
    where: `${chart.where}/${folder.slice(0, -1)}`,
    names: namesBelow(folder, chart.names),
    read: (name) => chart.read(folder + name),
    readPacked: (name) => chart.readPacked(folder + name),
  };
}

function namesBelow(folder: string, names: readonly string[]): string[] {
  return names.filter((name) => name.startsWith(folder)).map((name) => name.slice(folder.length));
}

/** Holds the members of a chart's archive, and of those that are packed in it, in memory: up to what Helm would of one. */
class ChartSpool implements Spool {
  readonly #where: string;
  readonly #files: SourceFiles;
  #left = MAX_CHART;

  constructor(where: string, files: SourceFiles) {
    this.#where = where;
    this.#files = files;
  }

  async add(path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) {
      this.#left -= chunk.length;
      if (this.#left < 0)
        throw new ImgconvError('ARCHIVE_INVALID', `${this.#where}: unpacks to more than ${MAX_CHART} bytes`);
      parts.push(new Uint8Array(chunk));
    }
    const bytes = Buffer.concat(parts);
    this.#files.effort.allow(bytes.length);
    return { kind: 'memory', path, size: bytes.length, bytes };
  }
}
