import { gzipSync } from 'node:zlib';
import { execFileSync } from 'node:child_process';
import type { Random } from '../bench/random.js';
import { digestText, hex } from '../support/images.js';
import { mutateMember } from './fuzz.js';
import { mutateJson } from './mutate-json.js';
import { pick } from './nasty-values.js';
import { pax, rawHeader, rawMember, rawTar, type RawMember } from './raw-tar.js';

/** An entry of manifest.json; what mutations make of it need not be one any more. */
type Entry = Record<string, unknown> & { Config: string; RepoTags: unknown; Layers: string[] };

/** An archive as `docker save` writes it, to be made another, sound or not. */
export interface SavedArchive {
  readonly members: RawMember[];
  readonly entries: Entry[];
}

const DOCUMENT = /(?:\.json|\/json|^repositories|^oci-layout)$/;

function shuffled<T>(all: readonly T[], random: Random): T[] {
  const left = [...all];
  return all.map(() => left.splice(random.below(left.length), 1)).flat();
}

function packedOtherwise(body: Buffer, random: Random): Buffer {
  const packed = pick(random, [
    () => gzipSync(body, { level: 1 }),
    () => Buffer.concat([gzipSync(body), Buffer.alloc(pick(random, [1, 512, 300_000]))]),
    () => Buffer.concat([gzipSync(body), Buffer.from('garbage')]),
    () => Buffer.concat([gzipSync(body.subarray(0, 700)), gzipSync(body.subarray(700))]),
    () => gzipSync(gzipSync(body)),
    ...['bzip2', 'xz', 'zstd'].map((program) => () => execFileSync(program, ['-cq'], { input: body })),
  ])();
  return random.below(4) === 0 ? damaged(packed, random) : packed;
}

function damaged(body: Buffer, random: Random): Buffer {
  const copy = Buffer.from(body);
  const at = random.below(Math.max(body.length, 1));
  return pick(random, [
    () => body.subarray(0, at),
    () => Buffer.concat([body, Buffer.alloc(1 + random.below(2000))]),
    () => Buffer.concat([body, Buffer.from('garbage')]),
    () => Buffer.alloc(0),
    () => {
      if (body.length > 0) copy.writeUInt8((copy[at] ?? 0) ^ (1 << random.below(8)), at);
      return copy;
    },
  ])();
}

/** A tar that may stand for a layer, a config or a document. */
function anyTar(random: Random): Buffer {
  return rawTar([
    { name: pick(random, ['file', '{"a":1}', '[', ' ']), body: Buffer.alloc(random.below(5000), 'x') },
  ]);
}

type Change = (archive: SavedArchive, random: Random) => void;

function replace({ members }: SavedArchive, at: number, ...by: RawMember[]): void {
  members.splice(at, 1, ...by);
}

function memberAt({ members }: SavedArchive, random: Random, wanted: (member: RawMember) => boolean): number {
  const fitting = members.flatMap((member, i) => (wanted(member) ? [i] : []));
  return fitting.length === 0 ? random.below(members.length) : pick(random, fitting);
}

const isLayer = ({ name, body = Buffer.alloc(0) }: RawMember) =>
  body.length > 0 && !DOCUMENT.test(String(name)) && !/^\s*[[{]/.test(body.toString('latin1', 0, 20));
const isConfig = ({ body = Buffer.alloc(0) }: RawMember) => body.includes('"rootfs"');

function changeBody(
  wanted: (member: RawMember) => boolean,
  change: (body: Buffer, random: Random) => Buffer,
): Change {
  return (archive, random) => {
    const at = memberAt(archive, random, wanted);
    const member = archive.members[at];
    if (member !== undefined)
      replace(archive, at, { ...member, body: change(member.body ?? Buffer.alloc(0), random) });
  };
}

function changeEntry(change: (entry: Entry, archive: SavedArchive, random: Random) => object): Change {
  return (archive, random) => {
    if (archive.entries.length === 0) return;
    const at = random.below(archive.entries.length);
    const entry = archive.entries[at];
    // An earlier change may have left no list.
    if (entry !== undefined && Array.isArray(entry.Layers))
      archive.entries[at] = { ...entry, ...change(entry, archive, random) };
  };
}

function anyName({ members }: SavedArchive, random: Random): string {
  return String(pick(random, members).name);
}

/** Where links of hostile archives lead. */
function linkTarget(archive: SavedArchive, own: string, random: Random): string {
  const other = anyName(archive, random);
  return pick(random, [
    other,
    `../${other}`,
    `../../${other}`,
    '../'.repeat(own.split('/').length - 1) + other,
    '../../../../etc/passwd',
    '/etc/passwd',
    `/${other}`,
    own,
    own.split('/').at(-1) ?? '',
    'nowhere',
    '',
  ]);
}

const CHANGES: readonly Change[] = [
  // What manifest.json says.
  changeEntry(({ Layers }) => ({ Layers: Layers.toReversed() })),
  changeEntry(({ Layers }, _, random) => ({ Layers: shuffled(Layers, random) })),
  changeEntry(({ Layers }, archive, random) => ({
    Layers: Layers.map((layer) => (random.below(2) === 0 ? layer : anyName(archive, random))),
  })),
  changeEntry(({ Layers }, _, random) => ({
    Layers: pick(random, [
      Layers.slice(1),
      [...Layers, ...Layers],
      null,
      [],
      [...Layers.slice(1), Layers[0]],
    ]),
  })),
  changeEntry((_, archive, random) => ({ Config: anyName(archive, random) })),
  changeEntry(({ RepoTags }, { entries }, random) => ({
    RepoTags: pick(random, [null, [], ['a:1', 'a:1'], ['Upper:1'], RepoTags, pick(random, entries).RepoTags]),
  })),
  changeEntry(({ Config, RepoTags, Layers }, _, random) =>
    pick<object>(random, [
      { Config: undefined, config: Config },
      {
        Config: undefined,
        RepoTags: undefined,
        Layers: undefined,
        config: Config,
        repotags: RepoTags,
        layers: Layers,
      },
      { LAYERS: Layers },
    ]),
  ),
  ({ entries }, random) => {
    if (entries.length > 0)
      entries.splice(0, entries.length, ...shuffled([...entries, pick(random, entries)], random));
  },
  // What is in members.
  changeBody(isLayer, damaged),
  changeBody(isLayer, packedOtherwise),
  changeBody(isLayer, (_, random) => anyTar(random)),
  changeBody(isConfig, damaged),
  changeBody(isConfig, mutateJson),
  changeBody(isConfig, (_, random) => anyTar(random)),
  changeBody(isConfig, (body) => {
    const text = body.toString();
    const ids = text.match(/"sha256:[0-9a-f]{64}"/g) ?? [];
    return Buffer.from(ids.reduce((now, id, i) => now.replace(id, ids[ids.length - 1 - i] ?? id), text));
  }),
  changeBody(({ name }) => DOCUMENT.test(String(name)), mutateJson),
  changeBody(({ name }) => DOCUMENT.test(String(name)), damaged),
  changeBody(
    ({ name }) => DOCUMENT.test(String(name)),
    (_, random) => anyTar(random),
  ),
  (archive, random) => {
    const [one, other] = [memberAt(archive, random, isLayer), memberAt(archive, random, isLayer)];
    const [a, b] = [archive.members[one], archive.members[other]];
    if (a === undefined || b === undefined) return;
    archive.members[one] = { ...a, body: b.body };
    archive.members[other] = { ...b, body: a.body };
  },
  // Which members there are, and what kind of.
  (archive, random) => {
    const at = memberAt(archive, random, isLayer);
    const name = String(archive.members[at]?.name);
    const link = linkTarget(archive, name, random);
    replace(archive, at, { name, flag: pick(random, ['1', '2']), link });
  },
  (archive, random) => {
    // The content is there, under another name, and the link leads somewhere else or there.
    const at = memberAt(archive, random, isLayer);
    const member = archive.members[at];
    if (member === undefined) return;
    const moved = pick(random, [
      'elsewhere/layer.tar',
      'layer.tar',
      `${hex(digestText(member.body ?? Buffer.alloc(0)))}.tar`,
    ]);
    const name = String(member.name);
    const link = random.below(2) === 0 ? moved : linkTarget(archive, name, random);
    const both = [
      { ...member, name: moved },
      { name, flag: pick(random, ['1', '2']), link },
    ];
    replace(archive, at, ...(random.below(2) === 0 ? both : both.toReversed()));
  },
  (archive, random) => {
    const at = random.below(archive.members.length);
    const member = archive.members[at];
    const other = pick(random, archive.members);
    if (member === undefined) return;
    const body = pick(random, [
      member.body ?? Buffer.alloc(0),
      other.body ?? Buffer.alloc(0),
      anyTar(random),
    ]);
    const twin = { ...member, body };
    replace(archive, at, ...(random.below(2) === 0 ? [member, twin] : [twin, member]));
  },
  (archive, random) => {
    replace(archive, random.below(archive.members.length));
  },
  (archive, random) => {
    replace(archive, memberAt(archive, random, isLayer));
  },
  (archive, random) => {
    const prefix = pick(random, ['./', '/', 'a/../', '././']);
    const all = random.below(2) === 0;
    for (const [i, member] of archive.members.entries())
      if (all || random.below(4) === 0)
        archive.members[i] = { ...member, name: prefix + String(member.name) };
  },
  ({ members }, random) => {
    const order = pick(random, [members.toReversed(), shuffled(members, random)]);
    members.splice(0, members.length, ...order);
  },
  (archive, random) => {
    const at = random.below(archive.members.length);
    const member = archive.members[at];
    if (member === undefined) return;
    const size = String(member.body?.length ?? 0);
    const before = pick(random, [
      pax(['path', String(member.name)]),
      pax(['size', size]),
      pax(['size', String(2 ** 50)]),
      pax(['path', anyName(archive, random)], ['size', size]),
      pax(['linkpath', anyName(archive, random)]),
      pax(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0']),
      { name: 'global', flag: 'g', body: Buffer.from('15 comment=abc\n') },
    ]);
    replace(archive, at, before, member);
  },
  (archive, random) => {
    const at = random.below(archive.members.length);
    const member = archive.members[at];
    if (member !== undefined) replace(archive, at, ...mutateMember(member, archive.members, random));
  },
];

/** The archive's bytes, with what happens to files as a whole. */
function bytesOf({ members, entries }: SavedArchive, random: Random, documented: boolean): Buffer {
  const manifest = { name: 'manifest.json', body: Buffer.from(JSON.stringify(entries)) };
  const others = members.filter(({ name }) => name !== 'manifest.json');
  const there = members.findIndex(({ name }) => name === 'manifest.json');
  const kept = members[there];
  // A change of the document itself is not lost.
  const own = documented && kept?.body !== undefined ? { ...kept } : manifest;
  const all =
    entries.length === 0 && kept === undefined
      ? others
      : pick(random, [
          [own, ...others],
          [...others, own],
          members.map((member) => (member === kept ? own : member)),
        ]);
  const whole = rawTar(all);
  switch (random.below(16)) {
    case 0:
      return Buffer.concat(all.map(rawMember));
    case 1:
      return whole.subarray(0, random.below(whole.length));
    case 2:
      return Buffer.concat([whole, Buffer.alloc(random.below(100_000), pick(random, ['\0', 'garbage ']))]);
    case 3:
      return Buffer.concat([
        ...all.map(rawMember),
        rawHeader({ name: 'last', size: pick(random, [1, 2 ** 40]) }),
      ]);
    default:
      return whole;
  }
}

/** One to three changes of a sound archive. */
export function mutateSaved(sound: SavedArchive, random: Random): Buffer {
  const archive = { members: [...sound.members], entries: sound.entries.map((entry) => ({ ...entry })) };
  const before = archive.members.find(({ name }) => name === 'manifest.json');
  for (let i = pick(random, [1, 1, 1, 2, 3]); i > 0 && archive.members.length > 1; i--)
    pick(random, CHANGES)(archive, random);
  const after = archive.members.find(({ name }) => name === 'manifest.json');
  return bytesOf(archive, random, before !== after);
}
