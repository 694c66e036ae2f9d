import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf } from '../../model/graph.js';
import { manifestPayload } from '../../model/manifest.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { VerifiedBlob } from '../../proof/verified-blob.js';
import type { Step, Storage } from '../../storage/driver.js';
import type { ImageToWrite, ImageWriter, WriteContext } from '../format.js';
import { createStore, type Store, type StoreMapping } from '../store-writer.js';
import {
  BLOBS,
  blobPath,
  layerLink,
  repositoryPath,
  revisionLink,
  rootOf,
  tagIndexLink,
  tagLink,
} from './paths.js';
import { readLink } from './walk.js';

export async function createRegistry(storage: Storage, context: WriteContext): Promise<ImageWriter> {
  return createStore(await rootOf(storage), new RegistryMapping(), context);
}

class RegistryMapping implements StoreMapping {
  readonly blobsFolder = BLOBS;
  readonly blobKey = blobPath;
  /** Links of this run: one that fails fails each image that needs it. */
  readonly #links = new Map<string, Promise<boolean>>();
  /** Repositories that this run met, and whether they were there then: in a new one no link needs looking at. */
  readonly #wasThere = new Map<string, Promise<boolean>>();

  async name({ name, root: image, blobs }: ImageToWrite, store: Store) {
    const { repository, tag } = name;
    const notes: string[] = [];
    const isNew = !(await this.#isThere(store.storage, repository));
    let changed = false;
    const link = async (key: string, digest: Digest, step?: Step) => {
      if (await this.#link(store, key, digest, isNew, step)) changed = true;
    };
    for (const node of manifestsOf(image)) {
      const { digest } = node.descriptor;
      for (const blob of blobDigestsOf(node.manifest))
        if (blobs.has(blob)) await link(layerLink(repository, blob), blob);
      if (node.manifest.kind === 'schema1') {
        const payload = payloadOf(node);
        if (payload.length < node.bytes.length)
          notes.push('the signatures of the schema 1 manifest stay behind');
        const blob = VerifiedBlob.of(payload, digest, store.context.pool, `manifest ${digest}`);
        if ((await store.blobs.put(blob)) !== 'present') changed = true;
        store.blobs.keep(digest);
      }
      const step = node.manifest.kind === 'index' ? 'index' : 'content';
      await link(revisionLink(repository, digest), digest, step);
    }
    const { digest } = image.descriptor;
    if (tag === undefined) notes.push('stored without a tag: pull it by its digest');
    else {
      await link(tagIndexLink(repository, tag, digest), digest, 'tag');
      await link(tagLink(repository, tag), digest, 'tag');
    }
    return { changed, notes };
  }

  commit(): Promise<void> {
    return Promise.resolve();
  }

  #isThere(storage: Storage, repository: string): Promise<boolean> {
    const known =
      this.#wasThere.get(repository) ??
      storage.stat(repositoryPath(repository)).then((stat) => stat !== undefined);
    this.#wasThere.set(repository, known);
    return known;
  }

  /** False when the link is there and says this already, or another image of this run needs it too. */
  async #link(store: Store, key: string, digest: Digest, isNew: boolean, step?: Step): Promise<boolean> {
    const id = `${key} ${digest}`;
    const known = this.#links.get(id);
    const link = known ?? putLink(store, key, digest, isNew, step);
    this.#links.set(id, link);
    return (await link) && known === undefined;
  }
}

/** Where the repository is new, no link needs looking at. */
async function putLink(
  { storage, transaction }: Store,
  key: string,
  digest: Digest,
  isNew: boolean,
  step: Step = 'content',
): Promise<boolean> {
  if (!isNew && (await says(storage, key, digest))) return false;
  transaction.put(key, digest, step);
  return true;
}

/** A registry keeps what was signed and no signatures (distribution 2.8 signedmanifesthandler.go Put). */
function payloadOf({ bytes, descriptor }: ManifestNode): Uint8Array {
  return manifestPayload(bytes, descriptor.digest);
}

async function says(storage: Storage, key: string, digest: Digest): Promise<boolean> {
  try {
    return (await readLink(storage, key)) === digest;
  } catch (error) {
    if (error instanceof ImgconvError && error.code === 'DIGEST_INVALID') return false;
    throw error;
  }
}
