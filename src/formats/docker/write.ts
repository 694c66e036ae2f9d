import { tmpdir } from 'node:os';
import { Staging } from '../../storage/staging.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { attachedTo, referrersTag } from '../../model/attached.js';
import { algorithmOf, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf, subjectOf } from '../../model/graph.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { isRepository, type Reference } from '../../model/reference.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from '../format.js';
import { ACCEPT, Client, type Repository } from './client.js';
import type { Endpoint } from './endpoint.js';
import { blobPath, manifestPath, placeOfPath } from './paths.js';
import { Referrers } from './referrers.js';
import { pushes, Upload } from './upload.js';

/** @throws ImgconvError USAGE without a host */
export function createDocker(path: string, context: WriteContext): Promise<ImageWriter> {
  const { host, below } = placeOfPath(path);
  if (host === undefined)
    throw new ImgconvError(
      'USAGE',
      'docker:// is no target: say which registry, docker://HOST or docker://HOST/PREFIX',
    );
  return Promise.resolve(new DockerWriter(host, below, context));
}

class DockerWriter implements ImageWriter {
  /** What is fetched or compressed on its way from one registry to another; a registry has no room for it. */
  readonly staging = new Staging(tmpdir());
  readonly links = false;
  readonly find = undefined;
  readonly #host: string;
  readonly #prefix: string;
  readonly #context: WriteContext;
  readonly #client: Client;
  readonly #endpoint: Endpoint;
  readonly #referrers: Referrers;
  /** By path: whether the registry says that it is there. By repository and digest: what became of it. */
  readonly #there = new Map<string, Promise<boolean>>();
  readonly #put = new Map<string, Promise<'present' | 'uploaded' | 'mounted'>>();
  /** A repository that has the blob, or soon will. */
  readonly #holders = new Map<Digest, Promise<string>>();
  readonly #told = new Set<Digest>();

  constructor(host: string, prefix: string, context: WriteContext) {
    this.#host = host;
    this.#prefix = prefix;
    this.#context = context;
    this.#client = new Client(context.access, context.pool.signal);
    this.#endpoint = this.#client.endpoint(host);
    this.#referrers = new Referrers(this.#client, this.#endpoint);
  }

  #repositoryFor({ repository: own }: Reference): Repository {
    const repository = this.#prefix === '' ? own : `${this.#prefix}/${own}`;
    if (isRepository(repository)) return { host: this.#host, repository };
    throw new ImgconvError(
      'NAME_INVALID',
      `${this.#host}: ${JSON.stringify(repository)} is not a repository path`,
    );
  }

  holds(name: Reference, blob: { digest: Digest; size: number }, as: 'manifest' | 'blob'): Promise<boolean> {
    return this.#isThere(this.#repositoryFor(name), blob, as);
  }

  /** Registries keep manifests apart: none is there as a blob. */
  #isThere(
    to: Repository,
    { digest, size }: { digest: Digest; size: number },
    as: 'manifest' | 'blob',
  ): Promise<boolean> {
    const path = as === 'manifest' ? manifestPath(to.repository, digest) : blobPath(to.repository, digest);
    const known = this.#there.get(path) ?? this.#ask(to, path, size);
    this.#there.set(path, known);
    return known;
  }

  async #ask(to: Repository, path: string, size: number): Promise<boolean> {
    const answer = await this.#endpoint.request({
      path,
      method: 'HEAD',
      headers: { accept: ACCEPT },
      scopes: pushes(to),
      accept: [200, 404],
    });
    await answer.discard();
    return answer.status === 200 && [undefined, String(size)].includes(answer.header('content-length'));
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.staging.claim(signal);
  }

  /** Blobs, then the members of an index, then the index, under its tag: an image that breaks off is not to be seen. */
  async write({ name, root, blobs, signatures }: ImageToWrite): Promise<Written> {
    const to = this.#repositoryFor(name);
    await this.#expectCanonical(to, root, name.tag);
    const manifests = manifestsOf(root);
    // A manifest that another one has as a layer is sent as a blob too: registries keep the two apart.
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

  /** What one repository has, or is being sent, the others mount. */
  async #send(to: Repository, blob: VerifiedBlob): Promise<'uploaded' | 'mounted'> {
    const { digest, holder } = blob;
    const inSource = holder?.host === this.#host ? holder.repository : undefined;
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
    // Of an index that is written under the referrers tag itself nothing is to be added to that.
    const { manifest } = node;
    const subject = subjectOf(manifest)?.digest;
    if (subject !== undefined && attachedTo(tag) !== subject && tag !== referrersTag(subject))
      await this.#referrers.expectListed(to, node, subject, recorded ?? false);
    return !same;
  }

  /**
   * What is pushed by tag gets the sha256 digest of its bytes (distribution registry/handlers/manifests.go, PutManifest).
   * @throws ImgconvError FORMAT_UNSUPPORTED
   */
  async #expectCanonical(to: Repository, node: ManifestNode, tag: string | undefined): Promise<void> {
    const algorithm = algorithmOf(node.descriptor.digest);
    if (tag === undefined || algorithm === 'sha256' || (await this.#isTagged(to, tag, node))) return;
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `docker://${to.host}/${to.repository}:${tag}: its manifest has a ${algorithm} digest, and a registry gives a sha256 one to what is pushed by tag`,
      { hint: 'reg:, oci:, docker-archive: and oci-archive: keep it' },
    );
  }

  async #isTagged(to: Repository, tag: string, { descriptor, manifest }: ManifestNode): Promise<boolean> {
    const there = await this.#endpoint.request({
      path: manifestPath(to.repository, tag),
      method: 'HEAD',
      headers: { accept: manifest.mediaType },
      scopes: pushes(to),
      accept: [200, 404],
    });
    await there.discard();
    return there.status === 200 && there.header('docker-content-digest') === descriptor.digest;
  }

  /** True when the registry says that it lists the manifest with its subject. */
  async #putManifest(
    to: Repository,
    { bytes, descriptor, manifest }: ManifestNode,
    reference: string,
  ): Promise<boolean> {
    const answer = await this.#endpoint.request({
      path: manifestPath(to.repository, reference),
      method: 'PUT',
      headers: { 'content-type': manifest.mediaType, 'content-length': String(bytes.length) },
      body: () => bytes,
      scopes: pushes(to),
      accept: [200, 201, 202],
    });
    await answer.discard();
    const said = answer.header('docker-content-digest');
    if (said !== undefined && said !== descriptor.digest)
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `docker://${to.host}/${to.repository}: sent ${descriptor.digest}, the registry says that it has ${answer.redact(said).slice(0, 160)}`,
      );
    return answer.header('oci-subject') !== undefined;
  }

  /** Each image is there as soon as it is written. */
  publish(): Promise<void> {
    return Promise.resolve();
  }

  finish(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async close(): Promise<void> {
    this.staging[Symbol.dispose]();
    await this.#client.close();
  }
}

/** All results, when all have ended: nothing goes on behind the back of a failure. @throws the first failure */
async function settled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
