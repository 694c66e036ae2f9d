import { tmpdir } from 'node:os';
import { Staging } from '../../storage/staging.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { attachedTo, referrersTag } from '../../model/attached.js';
import type { Descriptor } from '../../model/descriptor.js';
import { algorithmOf, isDigest, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf, subjectOf } from '../../model/graph.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { isRepository, referenceText, type Reference } from '../../model/reference.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from '../format.js';
import { ACCEPT, Client, pushes, repositoryText, type Repository } from './client.js';
import type { Endpoint } from './endpoint.js';
import { Hosts } from './hosts.js';
import type { ApiAnswer } from './transport.js';
import { blobPath, manifestPath, registryPathOf } from './paths.js';
import { Referrers } from './referrers.js';
import { expectTaken, Upload } from './upload.js';

/** @throws ImgconvError USAGE without a host */
export function createDocker(path: string, context: WriteContext): Promise<ImageWriter> {
  const { host, below } = registryPathOf(path);
  if (host === undefined)
    throw new ImgconvError(
      'USAGE',
      'docker:// is no target: say which registry, docker://HOST or docker://HOST/PREFIX',
    );
  return Promise.resolve(new DockerWriter(host, below, context));
}

type Sized = Pick<Descriptor, 'digest' | 'size'>;

class DockerWriter implements ImageWriter {
  /** For blobs that are fetched or compressed on their way from one registry to another. */
  readonly staging = new Staging(tmpdir());
  readonly links = false;
  readonly inPlace = false;
  readonly find = undefined;
  readonly kept = undefined;
  readonly host: string;
  readonly #prefix: string;
  readonly #context: WriteContext;
  readonly #hosts: Hosts;
  readonly #client: Client;
  readonly #endpoint: Endpoint;
  readonly #referrers: Referrers;
  /** By path: whether the registry has it. */
  readonly #there = new Map<string, Promise<boolean>>();
  /** By path of a tag: what it stood for before this run. */
  readonly #tags = new Map<string, Promise<Digest | undefined>>();
  /** By repository and digest. */
  readonly #put = new Map<string, Promise<'present' | 'uploaded' | 'mounted'>>();
  /** A repository that has the blob, or soon will. */
  readonly #holders = new Map<Digest, Promise<string>>();
  readonly #told = new Set<Digest>();

  constructor(host: string, prefix: string, context: WriteContext) {
    this.host = host;
    this.#prefix = prefix;
    this.#context = context;
    this.#hosts = new Hosts(context.access, context.pool.signal);
    this.#client = new Client(this.#hosts);
    this.#endpoint = this.#hosts.endpoint(host);
    this.#referrers = new Referrers(this.#client);
  }

  #repositoryFor({ repository: own }: Reference): Repository {
    const repository = this.#prefix === '' ? own : `${this.#prefix}/${own}`;
    if (isRepository(repository)) return { host: this.host, repository };
    throw new ImgconvError(
      'NAME_INVALID',
      `${this.host}: ${JSON.stringify(repository)} is not a repository path`,
    );
  }

  holds(name: Reference, blob: Sized, as: 'manifest' | 'blob'): Promise<boolean> {
    return this.#isThere(this.#repositoryFor(name), blob, as);
  }

  #isThere(to: Repository, { digest, size }: Sized, as: 'manifest' | 'blob'): Promise<boolean> {
    const path = as === 'manifest' ? manifestPath(to.repository, digest) : blobPath(to.repository, digest);
    const known =
      this.#there.get(path) ??
      this.#head(to, path, ACCEPT).then(
        (answer) =>
          answer.status === 200 && [undefined, String(size)].includes(answer.header('content-length')),
      );
    this.#there.set(path, known);
    return known;
  }

  #head(to: Repository, path: string, accept: string): Promise<ApiAnswer> {
    const headers = { accept };
    return this.#endpoint.send({ path, method: 'HEAD', headers, scopes: pushes(to), accept: [200, 404] });
  }

  async tagged(name: Reference): Promise<Digest | undefined> {
    const { tag } = name;
    return tag === undefined ? undefined : this.#taggedIn(this.#repositoryFor(name), tag);
  }

  referenceOf(name: Reference): string {
    const { host, repository } = this.#repositoryFor(name);
    return referenceText({ ...name, host, repository });
  }

  #taggedIn(to: Repository, tag: string): Promise<Digest | undefined> {
    const path = manifestPath(to.repository, tag);
    const known = this.#tags.get(path) ?? this.#headTag(to, path);
    this.#tags.set(path, known);
    return known;
  }

  async #headTag(to: Repository, path: string): Promise<Digest | undefined> {
    const there = await this.#head(to, path, ACCEPT);
    const digest = there.status === 200 ? (there.header('docker-content-digest') ?? '') : '';
    return isDigest(digest) ? digest : undefined;
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.staging.claim(signal);
  }

  /** Blobs, then the members of an index, then the index under its tag: an image that is incomplete has no tag. */
  async write({ name, root, blobs, signatures }: ImageToWrite): Promise<Written> {
    const to = this.#repositoryFor(name);
    await this.#expectCanonical(to, root, name.tag);
    const manifests = manifestsOf(root);
    // A manifest that is also a layer is sent as a blob too: registries keep manifests and blobs apart.
    const parts = new Set(manifests.flatMap(({ manifest }) => blobDigestsOf(manifest)));
    const puts = await settled(
      [...blobs.values()].filter(({ digest }) => parts.has(digest)).map((blob) => this.#blob(to, blob)),
    );
    let changed = puts.some((how) => how !== 'present');
    const put = async (node: ManifestNode, reference: string) => {
      if (await this.#manifest(to, node, reference, name.tag)) changed = true;
    };
    const members = manifests.filter((node) => node !== root);
    const isIndex = ({ manifest }: ManifestNode) => manifest.kind === 'index';
    await settled(members.filter((node) => !isIndex(node)).map((node) => put(node, node.descriptor.digest)));
    for (const node of members.filter(isIndex)) await put(node, node.descriptor.digest);
    await put(root, name.tag ?? root.descriptor.digest);
    const untagged = name.tag === undefined ? ['pushed without a tag: pull it by its digest'] : [];
    return { changed, notes: [...untagged, ...signaturesNote(signatures)] };
  }

  #blob(to: Repository, blob: VerifiedBlob): Promise<'present' | 'uploaded' | 'mounted'> {
    const key = `${to.repository} ${blob.digest}`;
    const known = this.#put.get(key) ?? this.#putBlob(to, blob);
    this.#put.set(key, known);
    known.catch(() => this.#put.delete(key));
    return known;
  }

  async #putBlob(to: Repository, blob: VerifiedBlob): Promise<'present' | 'uploaded' | 'mounted'> {
    const how = (await this.#isThere(to, blob, 'blob')) ? 'present' : await this.#send(to, blob);
    if (how === 'present') this.#holders.set(blob.digest, Promise.resolve(to.repository));
    if (!this.#told.has(blob.digest)) this.#context.onPut(how, blob.size);
    this.#told.add(blob.digest);
    return how;
  }

  /** Mounts the blob if another repository has it, or is being sent it. */
  async #send(to: Repository, blob: VerifiedBlob): Promise<'uploaded' | 'mounted'> {
    const { digest, holder } = blob;
    const inSource = holder?.host === this.host ? holder.repository : undefined;
    const from = (await this.#holders.get(digest)?.catch(() => undefined)) ?? inSource;
    const sending = new Upload(this.#endpoint, to, blob).run(from);
    const held = sending.then(() => to.repository);
    held.catch(() => this.#holders.delete(digest));
    this.#holders.set(digest, held);
    return sending;
  }

  /** False when the registry has this manifest under this reference. */
  async #manifest(
    to: Repository,
    node: ManifestNode,
    reference: string,
    tag: string | undefined,
  ): Promise<boolean> {
    const { digest } = node.descriptor;
    const same =
      reference === digest
        ? await this.#isThere(to, node.descriptor, 'manifest')
        : await this.#isTagged(to, reference, node);
    const recorded = same ? undefined : await this.#putManifest(to, node, reference);
    this.#there.set(manifestPath(to.repository, digest), Promise.resolve(true));
    // An index under the referrers tag is not listed in itself.
    const { manifest } = node;
    const subject = subjectOf(manifest)?.digest;
    if (subject !== undefined && attachedTo(tag) !== subject && tag !== referrersTag(subject))
      await this.#referrers.expectListed(to, node, subject, recorded ?? false);
    return !same;
  }

  /**
   * A registry computes a sha256 digest for what is pushed by tag (distribution registry/handlers/manifests.go, PutManifest).
   * @throws ImgconvError FORMAT_UNSUPPORTED
   */
  async #expectCanonical(to: Repository, node: ManifestNode, tag: string | undefined): Promise<void> {
    const algorithm = algorithmOf(node.descriptor.digest);
    if (tag === undefined || algorithm === 'sha256' || (await this.#isTagged(to, tag, node))) return;
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${repositoryText(to)}:${tag}: its manifest has a ${algorithm} digest, and a registry gives a sha256 one to what is pushed by tag`,
      { hint: 'reg:, oci:, docker-archive: and oci-archive: keep it' },
    );
  }

  async #isTagged(to: Repository, tag: string, { descriptor }: ManifestNode): Promise<boolean> {
    return (await this.#taggedIn(to, tag)) === descriptor.digest;
  }

  /** True when the registry says that it lists the manifest as a referrer of its subject. */
  async #putManifest(
    to: Repository,
    { bytes, descriptor, manifest }: ManifestNode,
    reference: string,
  ): Promise<boolean> {
    const answer = await this.#client.putManifest(to, reference, manifest.mediaType, bytes);
    expectTaken(answer, descriptor.digest, to);
    return answer.header('oci-subject') !== undefined;
  }

  /** Each image is visible as soon as it is written. */
  publish(): Promise<void> {
    return Promise.resolve();
  }

  finish(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async close(): Promise<void> {
    this.staging[Symbol.dispose]();
    await this.#hosts.close();
  }
}

/** Waits until all have ended, even after a failure. @throws the first failure */
async function settled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
