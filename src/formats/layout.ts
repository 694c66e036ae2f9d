import { documentAt } from '../bytes/document.js';
import type { LocalBytes } from '../bytes/region.js';
import type { Descriptor, PartialDescriptor } from '../model/descriptor.js';
import { ImgconvError } from '../model/errors.js';
import type { ProvedManifest } from '../model/tree.js';
import { MAX_LAYOUT_INDEX, MAX_MANIFEST } from '../model/json.js';
import {
  blobName,
  checkLayoutVersion,
  INDEX_FILE,
  LAYOUT_FILE,
  parseLayoutIndex,
} from '../model/oci-layout.js';
import { readManifest } from '../proof/manifest.js';
import type { SourceImage } from './format.js';

/** Files by name: the folder of a layout, or the members of an archive. */
export interface Files {
  /** For messages. */
  readonly path: string;
  get(name: string): LocalBytes | undefined | Promise<LocalBytes | undefined>;
}

/** A document of at most `limit` bytes; undefined when it is not there. */
export async function readDocument(
  files: Files,
  name: string,
  limit: number,
): Promise<Uint8Array | undefined> {
  const at = await files.get(name);
  return at && documentAt(at, `${files.path}: ${name}`, limit);
}

/** The entries of a layout's index.json. @throws ImgconvError NOT_FOUND without one */
export async function readLayout(files: Files): Promise<Descriptor[]> {
  const version = await readDocument(files, LAYOUT_FILE, MAX_MANIFEST);
  if (version !== undefined) checkLayoutVersion(version, `${files.path}: ${LAYOUT_FILE}`);
  const index = await readDocument(files, INDEX_FILE, MAX_LAYOUT_INDEX);
  if (index === undefined)
    throw new ImgconvError('NOT_FOUND', `${files.path}: no ${INDEX_FILE} in it: not an OCI layout`);
  return parseLayoutIndex(index, `${files.path}: ${INDEX_FILE}`);
}

/** A manifest of a layout, proved against its descriptor; undefined when the layout lacks it. */
export async function readLayoutManifest(
  files: Files,
  wanted: PartialDescriptor,
): Promise<ProvedManifest | undefined> {
  const name = blobName(wanted.digest);
  const at = await files.get(name);
  return at && readManifest(at, wanted, `${files.path}: ${name}`);
}

/** A layout, and what its place says of it. */
export interface Layout {
  readonly files: Files;
  /** The repository of images that have only a tag. */
  readonly ownName: string;
  readonly provesDiffIds: boolean;
}

/** An image as its layout has it. */
export function layoutImage(
  { files, provesDiffIds }: Layout,
  { digest, mediaType, size }: Descriptor,
  name: string | undefined,
): SourceImage {
  return {
    name,
    where: `${files.path}: ${name ?? digest}`,
    digest,
    entry: { mediaType, size },
    locate: ({ digest: wanted }) => files.get(blobName(wanted)),
    provesDiffIds,
    signatures: [],
    warnings: [],
  };
}
