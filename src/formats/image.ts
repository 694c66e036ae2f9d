import type { Bytes } from '../bytes/region.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { counted, type ImgconvError } from '../model/errors.js';

/** An image in a place, listed but not yet read. */
export interface SourceImage {
  /** As the place has it, unchecked: `demo/app:1.0`, `app@sha256:…`; undefined when it has none. */
  readonly name: string | undefined;
  /** The entries of manifest.json or index.json that are this image, counted from 0, where a place has such a list. */
  readonly entries?: readonly number[] | undefined;
  /** For messages. */
  readonly where: string;
  /** Of the root manifest or index. */
  readonly digest: Digest;
  /** The digest of its config, where engines go by that: it chooses the image too. */
  readonly imageId?: Digest | undefined;
  /** References by digest that engines have for it, `NAME@DIGEST`, though the manifest with that digest may be gone: they choose the image too. */
  readonly knownAs?: readonly string[] | undefined;
  /** What the place itself says of that: it is proved with the manifest. */
  readonly entry?: Pick<Descriptor, 'mediaType' | 'size'> | undefined;
  /** A revision that no tag names: chosen by its digest, or because it is a referrer of an image that is chosen. */
  readonly untagged?: boolean;
  /** What a list shows, where `ListOptions.summary` asked for no more. */
  readonly summary?: ImageSummary | undefined;
  /** Of what it is a referrer, in whatever repository, if the reader knows that without being asked. */
  readonly subject?: Digest | undefined;
  /** Where a manifest or another blob of this image is said to lie; undefined when the place lacks it. */
  locate(wanted: Located, as: 'manifest' | 'blob'): Bytes | undefined | Promise<Bytes | undefined>;
  /** Its layers have to be what its config's diffIDs say, because its manifest may have been made up by a reader. */
  readonly provesDiffIds: boolean;
  /** The place has no manifest of this image: the reader made one, and no digest of it is known elsewhere. */
  readonly isMade?: boolean;
  readonly signatures: readonly Signature[];
  /** Why blobs may be absent and what helps, where the place can tell. */
  readonly absentHint?: string | undefined;
  readonly warnings: readonly string[];
  /** What the user should know of the whole place, once. */
  readonly placeWarning?: string | undefined;
}

export interface ImageSummary {
  /** `os/architecture[/variant]` */
  readonly platforms: readonly string[];
  /** In bytes, as the engine counts it. */
  readonly size: number | undefined;
}

/** What names the bytes: their descriptor, or the digest alone where that is all there is. */
export type Located = Pick<Descriptor, 'digest'> & Partial<Descriptor>;

/** An image that is there but cannot be read; the others can. */
export interface UnreadableImage {
  readonly name: string | undefined;
  readonly entries?: readonly number[] | undefined;
  readonly where: string;
  readonly untagged?: boolean;
  readonly error: ImgconvError;
}

/** What a user types to choose an image that may have no name: its number if it has one, else its ID or digest. */
export function choiceText(image: SourceImage | UnreadableImage): string | undefined {
  const [number] = image.entries ?? [];
  if (number !== undefined) return `@${number}`;
  return 'digest' in image ? (image.imageId ?? image.digest) : undefined;
}

/** skopeo's simple signing files, of the image or of a member of its index; carried, not checked. */
export interface Signature {
  readonly of: Digest;
  readonly bytes: Uint8Array;
}

/** For the report of a writer that has no place for them. */
export function signaturesNote(signatures: readonly Signature[]): string[] {
  if (signatures.length === 0) return [];
  return [
    `${counted(signatures.length, 'signature file')} left out: only skopeo's directories can hold them`,
  ];
}
