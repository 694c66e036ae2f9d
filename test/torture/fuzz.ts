import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FORMATS, parsePlatform, type ConvertOptions } from '../../src/index.js';
import type { Random } from '../bench/random.js';
import { fixture } from '../support/fixtures.js';
import { artifactOf, digestText, imageOf, indexOf, layStore, layTree } from '../support/images.js';
import {
  entriesOf,
  layoutFiles,
  nestedOf,
  referrerOf,
  savedFiles,
  type LayoutFiles,
} from '../support/layouts.js';
import { place } from '../support/places.js';
import { filesIn } from '../support/snapshot.js';
import { readTar } from '../support/tars.js';
import { tempFolder } from '../support/temp.js';
import type { Campaign } from './campaign.js';
import { mutateJson } from './mutate-json.js';
import { NAMES, pick } from './nasty-values.js';
import { pax, rawMember, rawTar, type RawMember } from './raw-tar.js';
import { tryPlace } from './trial.js';

/** A sound place as files by name, to be made unsound. */
interface Base {
  readonly short: string;
  readonly isArchive: boolean;
  readonly members: readonly { readonly name: string; readonly link?: string; readonly body: Buffer }[];
}

function fromFiles(short: string, isArchive: boolean, files: LayoutFiles): Base {
  return { short, isArchive, members: Object.entries(files).map(([name, body]) => ({ name, body })) };
}

async function fromArchive(file: string): Promise<Base> {
  const members = (await readTar(readFileSync(fixture(file))))
    .filter(({ header }) => header.type !== 'directory')
    .map(({ header, body }) => ({
      name: header.name,
      body,
      ...(header.linkname && { link: header.linkname }),
    }));
  return { short: 'tar', isArchive: true, members };
}

function fromFolder(short: string, folder: string): Base {
  return fromFiles(
    short,
    false,
    Object.fromEntries(filesIn(folder).map((name) => [name, readFileSync(join(folder, name))])),
  );
}

async function bases(): Promise<Base[]> {
  const app = await imageOf('app');
  const index = indexOf([
    await imageOf('one'),
    await imageOf('two', { platform: 'linux/arm64', compress: false }),
  ]);
  const images = {
    'demo/app:1': app,
    'demo/multi:1': index,
    'helm/chart:1': artifactOf('chart'),
    'demo/deep:1': nestedOf([index]),
  };
  const referrer = referrerOf(app.root, 'x');
  const attached = { ...images, [`demo/app@${referrer.root.digest}`]: referrer };
  return [
    fromFolder('dir', layTree(tempFolder(), images)),
    fromFolder('reg', layStore(tempFolder(), images)),
    fromFiles('oci', false, layoutFiles(entriesOf(attached))),
    fromFiles('ocitar', true, layoutFiles(entriesOf(attached))),
    fromFiles('tar', true, savedFiles(attached)),
    ...(await Promise.all(
      ['docker20.tar', 'legacy-v1.tar', 'podman.tar', 'containerd28.tar', 'jib.tar', 'nix-stream.tar'].map(
        fromArchive,
      ),
    )),
  ];
}

/** So many digests lead from a layer to the document that names its image. */
const MAX_CHAIN = 12;

/** Gives every file that a changed one's digest names its new name, and says so in what names it. */
function rehash(files: Map<string, Buffer>, changed: string, before: Buffer): void {
  let renamed: { file: string; old: Buffer }[] = [{ file: changed, old: before }];
  for (let i = 0; i < MAX_CHAIN && renamed.length > 0; i++) {
    const next: typeof renamed = [];
    for (const { file, old } of renamed) {
      const now = files.get(file);
      if (now === undefined) continue;
      const [from, to] = [old, now].map((bytes) => digestText(bytes).slice('sha256:'.length));
      if (from === undefined || to === undefined || from === to) continue;
      for (const [name, bytes] of [...files]) {
        const text = bytes.toString('latin1');
        if (
          !text.includes(from) ||
          (!text.startsWith('{') && !text.startsWith('[') && !text.startsWith('sha256:'))
        )
          continue;
        const updated = text
          .replaceAll(new RegExp(`("size":)${old.length}(?=[,}][^{}]*${from})`, 'g'), `$1${now.length}`)
          .replaceAll(new RegExp(`(${from}"[^{}]*"size":)${old.length}(?=[,}])`, 'g'), `$1${now.length}`)
          .replaceAll(from, to);
        files.set(name, Buffer.from(updated, 'latin1'));
        next.push({ file: name, old: bytes });
      }
      for (const [name, bytes] of [...files]) {
        if (!name.includes(from)) continue;
        files.delete(name);
        files.set(
          name.replaceAll(`/${from.slice(0, 2)}/${from}`, `/${to.slice(0, 2)}/${to}`).replaceAll(from, to),
          bytes,
        );
        for (const one of next) if (one.file === name) one.file = name.replaceAll(from, to);
      }
    }
    renamed = next;
  }
}

/** Changes documents, mostly with all digests above them made right again, so that what parses them is reached. */
function mutateFiles(base: Base, random: Random): Map<string, Buffer> {
  const files = new Map(base.members.map(({ name, body }) => [name, body]));
  for (let i = random.below(3); i >= 0; i--) {
    const documents = [...files].filter(([, bytes]) => /^\s*[{[]/.test(bytes.toString('latin1', 0, 10)));
    const others = [...files].filter(([, bytes]) => !/^\s*[{[]/.test(bytes.toString('latin1', 0, 10)));
    const chosen =
      documents.length === 0 || (others.length > 0 && random.below(6) === 0) ? others : documents;
    if (chosen.length === 0) break;
    const [name, bytes] = pick(random, chosen);
    const changed = documents.some(([one]) => one === name)
      ? mutateJson(bytes, random)
      : pick(random, [
          bytes.subarray(0, random.below(bytes.length + 1)),
          Buffer.alloc(random.below(2000)),
          Buffer.concat([bytes, bytes]),
        ]);
    files.set(name, changed);
    if (random.below(4) > 0) rehash(files, name, bytes);
  }
  return files;
}

const FLAGS = [
  '0',
  '\0',
  '1',
  '2',
  '3',
  '4',
  '5',
  '6',
  '7',
  'S',
  'V',
  'x',
  'g',
  'L',
  'K',
  'X',
  'M',
  'D',
  '?',
];
const SIZES = [
  0,
  1,
  511,
  512,
  513,
  4096,
  2 ** 31,
  8 ** 11 - 1,
  8 ** 11,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 62,
  -1,
  -512,
];

/** A member that is not what it should be, with whatever goes before it. */
export function mutateMember(member: RawMember, all: readonly RawMember[], random: Random): RawMember[] {
  const other = pick(random, all);
  switch (random.below(12)) {
    case 0:
      return [{ ...member, flag: pick(random, FLAGS) }];
    case 1:
      return [{ ...member, size: pick(random, SIZES) }];
    case 2:
      return [{ ...member, size: Buffer.from(Array.from({ length: 12 }, () => random.below(256))) }];
    case 3:
      return [{ ...member, name: pick(random, NAMES) }];
    case 4:
      return [
        {
          name: member.name,
          flag: pick(random, ['1', '2']),
          link: pick(random, [...NAMES, String(other.name), `../${String(other.name)}`]),
        },
      ];
    case 5:
      return [
        pax(['size', pick(random, ['0', '-1', '1e3', '9'.repeat(15), '9'.repeat(30), '512', '1.5', ''])]),
        member,
      ];
    case 6:
      return [pax(['path', pick(random, NAMES)], ['linkpath', pick(random, NAMES)]), member];
    case 7:
      return [
        pax([
          pick(random, [
            'GNU.sparse.major',
            'GNU.sparse.size',
            'GNU.sparse.name',
            '__proto__',
            'hdrcharset',
            'SCHILY.xattr.x',
          ]),
          pick(random, ['1', '../../evil', '9'.repeat(20)]),
        ]),
        member,
      ];
    case 8:
      return [
        {
          name: '././@LongLink',
          flag: pick(random, ['L', 'K']),
          body: Buffer.from(`${pick(random, NAMES)}\0`),
        },
        member,
      ];
    case 9:
      return [member, { ...member, body: other.body }];
    case 10:
      return [{ ...member, patch: (header) => header.writeUInt8(random.below(256), random.below(512)) }];
    default:
      return random.below(2) === 0
        ? []
        : [
            {
              name: 'PaxHeader',
              flag: pick(random, ['x', 'g']),
              body: Buffer.from(
                pick(random, [
                  '5 a=\n',
                  '0 a=b\n',
                  '99999 path=x\n',
                  '6 a=b',
                  '\0'.repeat(600),
                  '12 path=a\nb\n',
                ]),
              ),
            },
            member,
          ];
  }
}

function archiveBytes(base: Base, files: ReadonlyMap<string, Buffer>, random: Random): Buffer {
  const links = base.members.filter(({ link }) => link !== undefined);
  let members: RawMember[] = [
    ...[...files]
      .filter(([name]) => !links.some((one) => one.name === name))
      .map(([name, body]) => ({ name, body })),
    ...links.map(({ name, link }) => ({ name, flag: '2', link })),
  ];
  if (random.below(2) === 0)
    for (let i = random.below(3); i >= 0 && members.length > 0; i--) {
      const at = random.below(members.length);
      const chosen = members[at];
      if (chosen !== undefined) members.splice(at, 1, ...mutateMember(chosen, members, random));
    }
  if (random.below(8) === 0) members = members.reverse();
  const whole = random.below(16) === 0 ? Buffer.concat(members.map(rawMember)) : rawTar(members);
  const bytes = random.below(16) === 0 ? whole.subarray(0, random.below(whole.length)) : whole;
  return random.below(10) === 0 ? gzipSync(bytes, { level: 1 }) : bytes;
}

/** Lays files down, some of them as links, pipes or folders. */
function layFolder(folder: string, files: ReadonlyMap<string, Buffer>, random: Random): void {
  const odd = random.below(3) === 0 ? random.below(files.size) : -1;
  let i = 0;
  for (const [name, bytes] of files) {
    const path = join(folder, name);
    if (!path.startsWith(folder) || name.includes('\0')) continue;
    try {
      mkdirSync(dirname(path), { recursive: true });
      if (i++ !== odd) writeFileSync(path, bytes);
      else if (random.below(3) === 0) mkdirSync(path);
      else if (random.below(20) === 0) execFileSync('mkfifo', [path]);
      else
        symlinkSync(
          pick(random, ['/etc/passwd', '../../../../../../etc/passwd', '.', name, '/dev/zero', 'nowhere']),
          path,
        );
    } catch {
      // Two names that cannot be beside each other: one will do.
    }
  }
}

function optionsFor(random: Random, takesSparse: boolean): ConvertOptions {
  return {
    compression: pick(random, ['keep', 'keep', 'keep', 'gzip', 'none'] as const),
    recompress: random.below(4) === 0,
    missing: pick(random, ['refuse', 'prune', takesSparse ? 'sparse' : 'prune'] as const),
    platforms: random.below(4) === 0 ? [parsePlatform('linux/arm64')] : [],
    extras: random.below(4) > 0,
    scoped: random.below(2) === 0,
    failFast: random.below(8) === 0,
  };
}

export const fuzz: Campaign = {
  name: 'fuzz',
  cases: 50_000,
  seconds: 15,
  memory: 500 * 1024 ** 2,
  prepare: async () => {
    const all = await bases();
    return async (random) => {
      const base = pick(random, all);
      const scratch = tempFolder();
      const path = join(scratch, 'place');
      try {
        const files = mutateFiles(base, random);
        if (base.isArchive) writeFileSync(path, archiveBytes(base, files, random));
        else layFolder(path, files, random);
        mkdirSync(dirname(path), { recursive: true });
        const to = pick(
          random,
          FORMATS.filter(({ create, traits }) => create !== undefined && traits.isEngine !== true),
        );
        const { codes, written } = await tryPlace(
          place(base.short, path),
          to,
          optionsFor(random, to.traits.takesSparse),
        );
        const refused = [...new Set(codes)].sort().join(' ');
        return refused === ''
          ? 'all converted'
          : written > 0
            ? `some converted, some ${codes[0] ?? ''}`
            : `refused: ${codes[0] ?? ''}`;
      } finally {
        rmSync(scratch, { recursive: true, force: true });
      }
    };
  },
};
