import { mkdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { OCI, part, put, storedBlob, type Part } from './images.js';
import { blobFile, digestTag, REF } from './layouts.js';

const SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
/** Of files that count as changed lately: nothing else has a time after the test's own. */
const LATER = new Date(Date.now() + 24 * 3_600_000);

/** A manifest and the digests that it names, by role. */
export interface Doc extends Part {
  readonly members: readonly string[];
  /** Config and layers. */
  readonly blobs: readonly string[];
  readonly subject: string | undefined;
}

export interface Link {
  readonly digest: string;
  readonly young: boolean;
}

export interface Repository {
  readonly name: string;
  readonly tags: readonly {
    readonly tag: string;
    readonly digest: string;
    readonly before: readonly Link[];
  }[];
  readonly revisions: readonly Link[];
  readonly layers: readonly Link[];
}

/** Manifests and blobs that name each other in any role, and the repositories that they are in. */
export interface Graph {
  readonly docs: ReadonlyMap<string, Doc>;
  /** What is there: not all that manifests name. */
  readonly present: ReadonlyMap<string, { readonly bytes: Buffer; readonly young: boolean }>;
  readonly repositories: readonly Repository[];
}

const some = fc.array(fc.nat(), { maxLength: 3 });
/** What a graph is made of: short enough to be read when a test fails. */
export const descriptions = fc.record({
  blobs: fc.integer({ min: 1, max: 4 }),
  docs: fc.array(
    fc.record({
      kind: fc.constantFrom('image', 'image', 'index', 'schema1'),
      config: fc.nat(),
      names: some,
      subject: fc.option(fc.nat(), { nil: undefined, freq: 2 }),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  repositories: fc.array(
    fc.record({
      tags: fc.array(
        fc.record({ doc: fc.nat(), of: fc.option(fc.nat(), { nil: undefined, freq: 3 }), before: some }),
        {
          maxLength: 3,
        },
      ),
      untagged: some,
      /** Revisions and layer links that are lost. */
      lost: fc.array(fc.nat(), { maxLength: 1 }),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  absent: fc.array(fc.nat(), { maxLength: 1 }),
  young: fc.array(fc.nat(), { maxLength: 2 }),
});

export type Description = typeof descriptions extends fc.Arbitrary<infer T> ? T : never;

function pick<T>(from: readonly T[], at: number): T | undefined {
  return from.length === 0 ? undefined : from[at % from.length];
}

function docOf(
  { kind, config, names, subject }: Description['docs'][number],
  number: number,
  earlier: Doc[],
  blobs: Part[],
): Doc {
  const all: Part[] = [...blobs, ...earlier];
  const referrer = subject === undefined ? undefined : pick(earlier, subject);
  const descriptor = ({ mediaType, digest, bytes }: Part) => ({ mediaType, digest, size: bytes.length });
  const about = referrer === undefined ? {} : { subject: descriptor(referrer) };
  const annotations = { number: String(number) };
  if (kind === 'index') {
    const members = names.flatMap((at) => pick(earlier, at) ?? []);
    const content = {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: members.map(descriptor),
      annotations,
      ...about,
    };
    return {
      ...part(OCI.index, content),
      members: members.map(({ digest }) => digest),
      blobs: [],
      subject: referrer?.digest,
    };
  }
  const layers = names.flatMap((at) => pick(all, at) ?? []);
  const digests = layers.map(({ digest }) => digest);
  if (kind === 'schema1') {
    const fsLayers = digests.map((blobSum) => ({ blobSum }));
    const content = {
      schemaVersion: 1,
      name: `app${number}`,
      tag: '1',
      architecture: 'amd64',
      fsLayers,
      history: [],
    };
    return { ...part(SCHEMA1, content), members: [], blobs: digests, subject: undefined };
  }
  const own = pick(all, config) ?? blobs[0];
  if (own === undefined) throw new Error('there is always a blob');
  const content = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptor(own),
    layers: layers.map(descriptor),
    annotations,
    ...about,
  };
  return {
    ...part(OCI.manifest, content),
    members: [],
    blobs: [own.digest, ...digests],
    subject: referrer?.digest,
  };
}

/** What a client would have pushed with a manifest: its members and their blobs. */
function pushed(
  docs: ReadonlyMap<string, Doc>,
  roots: readonly string[],
): { revisions: Set<string>; layers: Set<string> } {
  const revisions = new Set(roots);
  for (const digest of revisions) for (const member of docs.get(digest)?.members ?? []) revisions.add(member);
  const layers = new Set([...revisions].flatMap((digest) => docs.get(digest)?.blobs ?? []));
  return { revisions, layers };
}

export function graphOf({ blobs: count, docs: kinds, repositories, absent, young }: Description): Graph {
  const blobs = Array.from({ length: count }, (_, i) =>
    part('application/octet-stream', Buffer.from(`blob ${i}`)),
  );
  const made: Doc[] = [];
  for (const [number, one] of kinds.entries()) made.push(docOf(one, number, made, blobs));
  const docs = new Map(made.map((doc) => [doc.digest, doc]));
  const all = [...blobs, ...made];
  const isYoung = (digest: string, salt: number) =>
    young.some((at) => pick(all, at + salt)?.digest === digest);
  const gone = new Set(absent.map((at) => pick(all, at)?.digest));
  const digestAt = (at: number) => pick(made, at)?.digest ?? '';
  return {
    docs,
    present: new Map(
      all
        .filter(({ digest }) => !gone.has(digest))
        .map(({ digest, bytes }) => [digest, { bytes, young: isYoung(digest, 0) }]),
    ),
    repositories: repositories.map(({ tags, untagged, lost }, i) => {
      const roots = [...tags.flatMap(({ doc, before }) => [doc, ...before]), ...untagged].map(digestAt);
      const { revisions, layers } = pushed(docs, roots);
      const links = (digests: Iterable<string>, salt: number) =>
        [...digests]
          .filter((digest) => roots.includes(digest) || !lost.some((at) => pick(all, at)?.digest === digest))
          .map((digest) => ({ digest, young: isYoung(digest, i + salt) }));
      const named = tags.map(({ doc, of, before }, number) => ({
        tag: of === undefined ? `t${number}` : digestTag(digestAt(of), number === 0 ? '' : '.sig'),
        digest: digestAt(doc),
        before: before.map((at) => ({ digest: digestAt(at), young: false })),
      }));
      return {
        name: `demo/r${i}`,
        tags: [...new Map(named.map((one) => [one.tag, one])).values()],
        revisions: links(revisions, 1),
        layers: links(layers, 2),
      };
    }),
  };
}

function lay(path: string, content: string | Buffer, young: boolean): void {
  put(path, content);
  if (young) utimesSync(path, LATER, LATER);
}

export const paths = {
  revision: (repository: string, digest: string) =>
    `${repository}/_manifests/revisions/${digest.replace(':', '/')}/link`,
  layer: (repository: string, digest: string) => `${repository}/_layers/${digest.replace(':', '/')}/link`,
  index: (repository: string, tag: string, digest: string) =>
    `${repository}/_manifests/tags/${tag}/index/${digest.replace(':', '/')}/link`,
};

export function layGraphAsStore(store: string, { present, repositories }: Graph): string {
  const below = join(store, 'docker/registry/v2/repositories');
  mkdirSync(below, { recursive: true });
  for (const [digest, { bytes, young }] of present) lay(storedBlob(store, digest), bytes, young);
  for (const { name, tags, revisions, layers } of repositories) {
    for (const { digest, young } of revisions) lay(join(below, paths.revision(name, digest)), digest, young);
    for (const { digest, young } of layers) lay(join(below, paths.layer(name, digest)), digest, young);
    for (const { tag, digest, before } of tags) {
      for (const one of [...before, { digest, young: false }])
        lay(join(below, paths.index(name, tag, one.digest)), one.digest, one.young);
      lay(join(below, name, '_manifests/tags', tag, 'current/link'), digest, false);
    }
  }
  return store;
}

/** All is one repository there: its first. Revisions are entries without a name. */
export function layGraphAsLayout(layout: string, { docs, present, repositories }: Graph): string {
  for (const [digest, { bytes, young }] of present) lay(join(layout, blobFile(digest)), bytes, young);
  const [first] = repositories;
  const entry = (digest: string, annotations?: object) => {
    const { mediaType = '', bytes = Buffer.alloc(0) } = docs.get(digest) ?? {};
    return { mediaType, digest, size: bytes.length, ...(annotations && { annotations }) };
  };
  const tagged = first?.tags.map(({ tag, digest }) => entry(digest, { [REF]: `demo/r0:${tag}` })) ?? [];
  const untagged = first?.revisions.map(({ digest }) => entry(digest)) ?? [];
  put(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  put(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [...tagged, ...untagged] }));
  return layout;
}

export function isSchema1({ mediaType }: Part): boolean {
  return mediaType === SCHEMA1;
}
