import pLimit, { type LimitFunction } from 'p-limit';
import { referrersTag } from '../../model/attached.js';
import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { isObject, parseJson } from '../../model/json.js';
import { parseManifest } from '../../model/manifest.js';
import type { ManifestNode } from '../../model/tree.js';
import { OCI_INDEX } from '../../model/media-type.js';
import { repositoryText, type Client, type Repository } from './client.js';

/**
 * Lists the referrers of an image under its referrers tag, for registries without a referrers API (OCI distribution-spec
 * v1.1 "Pushing Manifests with Subject"). Each index has one writer at a time; changes that other clients make at the same
 * moment can be lost, as the specification says.
 */
export class Referrers {
  readonly #client: Client;
  readonly #turns = new Map<string, LimitFunction>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** `recorded`: the registry said `OCI-Subject` when it took the manifest. */
  async expectListed(to: Repository, node: ManifestNode, subject: Digest, recorded: boolean): Promise<void> {
    if (recorded || (await this.#client.referrers(to, subject)) !== undefined) return;
    const key = `${to.repository} ${subject}`;
    const turn = this.#turns.get(key) ?? pLimit(1);
    this.#turns.set(key, turn);
    await turn(() => this.#add(to, node, referrersTag(subject)));
  }

  async #add(to: Repository, node: ManifestNode, tag: string): Promise<void> {
    const where = `${repositoryText(to)}:${tag}`;
    const there = await this.#client.manifest(to, tag);
    const raw = there && parseJson(there.bytes, where);
    if (there !== undefined && parseManifest(there.bytes, where).kind !== 'index')
      throw new ImgconvError('REGISTRY', `${where}: not an index of referrers`);
    const listed: unknown[] = isObject(raw) && Array.isArray(raw['manifests']) ? raw['manifests'] : [];
    if (listed.some((one) => isObject(one) && one['digest'] === node.descriptor.digest)) return;
    const index = isObject(raw) ? raw : { schemaVersion: 2, mediaType: OCI_INDEX };
    const bytes = Buffer.from(JSON.stringify({ ...index, manifests: [...listed, entryOf(node)] }));
    await this.#client.putManifest(to, tag, OCI_INDEX, bytes);
  }
}

function entryOf({ descriptor, manifest }: ManifestNode): object {
  const { mediaType, digest, size } = descriptor;
  const artifactType =
    manifest.kind === 'image'
      ? (manifest.artifactType ?? manifest.config.mediaType)
      : manifest.kind === 'artifact'
        ? manifest.artifactType
        : undefined;
  const annotations = manifest.kind === 'schema1' ? undefined : manifest.annotations;
  return { mediaType, digest, size, artifactType, annotations };
}
