import { z } from 'zod';
import { descriptorSchema, type Descriptor } from './descriptor.js';
import { parseJson, parseWith } from './json.js';
import { familiarText } from './reference.js';

/** OCI image-spec image-layout.md; also inside the archives that Docker 25 and later write. */
export const LAYOUT_FILE = 'oci-layout';
export const INDEX_FILE = 'index.json';
export const LAYOUT_CONTENT = '{"imageLayoutVersion":"1.0.0"}';
/** A tag (Docker, umoci) or a whole reference (skopeo); image-spec annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The canonical reference (containerd core/images/annotations.go); Docker writes it beside a tag. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

const indexSchema = z.object({ schemaVersion: z.literal(2), manifests: z.array(descriptorSchema) });

/** The images that a layout names, in its order. */
export function parseLayoutIndex(bytes: Uint8Array, where: string): Descriptor[] {
  return parseWith(indexSchema, parseJson(bytes, where), where).manifests;
}

/** The name of an entry of index.json: a whole reference if one of its annotations has it, else the tag. */
export function layoutName(descriptor: Descriptor): { name?: string; tag?: string } {
  const ref = descriptor.annotations?.[REF_NAME];
  if (ref !== undefined && /[:/@]/.test(ref)) return { name: ref };
  const containerd = descriptor.annotations?.[CONTAINERD_NAME];
  if (containerd !== undefined) return { name: familiarText(containerd) };
  return ref === undefined ? {} : { tag: ref };
}
