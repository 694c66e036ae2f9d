import type { Digest } from '../model/digest.js';
import { asImgconvError } from '../model/errors.js';
import { familiarText, splitReference } from '../model/reference.js';
import { ContainerdLayers } from './containerd-layers.js';
import { contentOf, readRecords, type BrokenRecord, type ImageRecord } from './containerd-store.js';
import type { ListOptions, ReadContext, SourceImage, UnreadableImage } from './format.js';
import { layoutImage, type Files } from './layout.js';
import { wantedMatcher } from './wanted.js';

/** Which names are shown, and how. */
export interface NameStyle {
  /** As Docker shows them: `alpine:latest` for `docker.io/library/alpine:latest`. */
  readonly isFamiliar: boolean;
}

/** Docker's name for an image that has lost its own (moby daemon/containerd/image_delete.go). */
const DANGLING = /^moby-dangling@/;
/** Kubernetes' name for an image by its ID (containerd internal/cri/store/image). */
const BY_ID = /^sha256:[0-9a-f]{64}$/;

const WHY =
  'containerd fetched them for other platforms only, or deleted them after unpacking (discard_unpacked_layers)';
const HINT = `${WHY}: --blobs-from PLACE takes them from elsewhere, --rebuild makes new layers of the unpacked files`;
const HINT_REBUILD = `${WHY}, and their unpacked files are not there: --blobs-from PLACE takes them from elsewhere`;

/** The images of a containerd store. */
export class ContainerdImages {
  readonly #root: string;
  readonly #namespace: string | undefined;
  readonly #style: NameStyle;
  readonly #files: Files;
  readonly #layers: ContainerdLayers;
  readonly #rebuild: boolean;

  /** `namespace`: undefined for all. */
  constructor(root: string, namespace: string | undefined, style: NameStyle, context: ReadContext) {
    this.#root = root;
    this.#namespace = namespace;
    this.#style = style;
    this.#files = contentOf(root);
    this.#layers = new ContainerdLayers(root, this.#files, context);
    this.#rebuild = context.rebuild === true;
  }

  async *images({ wanted }: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const mayBeWanted = wantedMatcher(wanted);
    const records = readRecords(this.#root, this.#namespace);
    const named = new Named();
    for (const record of records.filter(isTagged)) {
      const name = this.#nameOf(record);
      if ('error' in record) yield { name, where: this.#where(record), error: record.error };
      else if (named.add(name, record) && mayBeWanted([name])) yield this.#image(record, name);
      else if (named.isOther(name, record) && mayBeWanted([name])) {
        const byDigest = `${splitReference(name).name}@${record.target.digest}`;
        if (named.add(byDigest, record)) yield this.#otherOf(record, name, byDigest);
      }
    }
    for (const record of records) {
      if (isTagged(record)) continue;
      if ('error' in record) {
        yield { name: undefined, where: this.#where(record), error: record.error };
        continue;
      }
      const name = isNameless(record) ? undefined : this.#nameOf(record);
      // A name by digest, or by ID, beside a tag of the same image, which that digest chooses too.
      if (named.hasImage(record, name) || !named.add(name ?? record.target.digest, record)) continue;
      if (!mayBeWanted(name === undefined ? [] : [name])) continue;
      yield { ...(await this.#image(record, name)), untagged: name === undefined };
    }
  }

  /** An image whose name another one has in the namespace before. */
  async #otherOf(
    record: ImageRecord,
    name: string,
    byDigest: string,
  ): Promise<SourceImage | UnreadableImage> {
    const image = await this.#image(record, byDigest);
    if ('error' in image) return image;
    const warning = `named ${name} in namespace ${record.namespace}: containerd:${this.#root}#${record.namespace} takes it by that name`;
    return { ...image, untagged: true, warnings: [...image.warnings, warning] };
  }

  #where({ namespace, name }: ImageRecord | BrokenRecord): string {
    return `${this.#root}: namespace ${namespace}: ${name}`;
  }

  #nameOf({ name }: ImageRecord | BrokenRecord): string {
    return this.#style.isFamiliar ? familiarText(name) : name;
  }

  async #image(record: ImageRecord, name: string | undefined): Promise<SourceImage | UnreadableImage> {
    const where = this.#where(record);
    const layout = { files: this.#files, ownName: '', provesDiffIds: false };
    const image = {
      ...layoutImage(layout, record.target, name),
      where,
      absentHint: this.#rebuild ? HINT_REBUILD : HINT,
    };
    try {
      const made = await this.#madeOf(record, where);
      if (made === undefined) return image;
      const knownAs = [`${splitReference(name ?? '').name}@${record.target.digest}`];
      return { ...made, name, ...(name !== undefined && { knownAs }) };
    } catch (error) {
      // The image itself says what is wrong with it when it is read; what was asked for besides says so now.
      return this.#rebuild ? { name, where, error: asImgconvError(error, where) } : image;
    }
  }

  /** An image made of what else there is, if it is not whole under any platform. */
  async #madeOf({ target, namespace }: ImageRecord, where: string): Promise<SourceImage | undefined> {
    const manifests = await this.#layers.manifestsUnder(target.digest);
    for (const manifest of manifests) if (await this.#layers.areThere(manifest)) return undefined;
    for (const manifest of manifests) {
      const made = await this.#layers.imageOf(manifest, { namespace, where, root: target.digest });
      if (made !== undefined) return made;
    }
    return undefined;
  }
}

/** True for `NAME:TAG`. */
function isTagged({ name }: ImageRecord | BrokenRecord): boolean {
  return !DANGLING.test(name) && !BY_ID.test(name) && splitReference(name).digest === undefined;
}

function isNameless({ name }: ImageRecord): boolean {
  return DANGLING.test(name) || BY_ID.test(name);
}

/** Names that were given, and to which images. */
class Named {
  readonly #names = new Map<string, Digest>();
  readonly #images = new Set<string>();

  /** False when the name is given already, by another namespace for example. */
  add(name: string, { target: { digest } }: ImageRecord): boolean {
    if (this.#names.has(name)) return false;
    this.#names.set(name, digest);
    this.#images.add(digest);
    this.#images.add(`${splitReference(name).name} ${digest}`);
    return true;
  }

  /** True when another image has this name. */
  isOther(name: string, { target: { digest } }: ImageRecord): boolean {
    return this.#names.get(name) !== digest;
  }

  /** True when this image has another name; one with a repository, another in that. */
  hasImage({ target: { digest } }: ImageRecord, name: string | undefined): boolean {
    return this.#images.has(name === undefined ? digest : `${splitReference(name).name} ${digest}`);
  }
}
