import { digestOf } from '../bytes/hash.js';
import { openPlace } from '../formats/open.js';
import type {
  Format,
  ImageReader,
  ListOptions,
  ReadContext,
  SourceImage,
  UnreadableImage,
} from '../formats/format.js';
import type { Place } from '../formats/table.js';
import { OCI_INDEX } from '../model/media-type.js';
import { splitReference } from '../model/reference.js';

/*
 * KubeKey keeps images in one OCI layout, one for each platform of an image, and puts the platform behind the tag
 * (kubesphere/kubekey cmd/kk/pkg/images/tasks.go, `SaveImages` and `CopyImagesToRegistry`):
 * `docker.io/calico/cni:v3.20.0-amd64`, `…:v3.20.0-arm-v7`. In a registry it makes them one index, `…:v3.20.0`.
 */
const ARCHITECTURES = '386|amd64|arm|arm64|loong64|mips64le|ppc64le|riscv64|s390x';
const PLATFORM_TAG = new RegExp(`^(.+?)-(${ARCHITECTURES})(?:-(v\\d+))?$`);

interface ForPlatform {
  /** The name of the image of all platforms. */
  readonly name: string;
  readonly platform: { readonly architecture: string; readonly os: 'linux'; readonly variant?: string };
}

/** What KubeKey's name of an image for one platform says; undefined for another name. */
export function forPlatform(name: string): ForPlatform | undefined {
  const { name: repository, tag = '' } = splitReference(name);
  const [, base, architecture, variant] = PLATFORM_TAG.exec(tag) ?? [];
  if (base === undefined || architecture === undefined) return undefined;
  return {
    name: `${repository}:${base}`,
    platform: { architecture, os: 'linux', ...(variant !== undefined && { variant }) },
  };
}

/** The same place, whose images for single platforms are one index for each name. */
export function joiningPlatforms(place: Place): Place {
  const format: Format = { ...place.format, open: (_, context) => open(place, context) };
  return { ...place, format };
}

async function open(place: Place, context: ReadContext): Promise<ImageReader> {
  const reader = await openPlace(place, context);
  return {
    images: (options) => joined(reader, options),
    attached: (...asked) => reader.attached(...asked),
    audit: reader.audit,
    close: () => reader.close(),
  };
}

async function* joined(
  reader: ImageReader,
  options: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const groups = new Map<string, SourceImage[]>();
  for await (const image of reader.images({ ...options, wanted: undefined })) {
    const known = image.name === undefined || 'error' in image ? undefined : forPlatform(image.name);
    if (known === undefined || 'error' in image) {
      yield image;
      continue;
    }
    const others = groups.get(known.name) ?? [];
    groups.set(known.name, others);
    others.push(image);
  }
  for (const [name, images] of groups) yield indexOf(name, images);
}

/** Always the same bytes for the same images: in the order of their names. */
function indexOf(name: string, images: readonly SourceImage[]): SourceImage {
  const members = [...images].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
  const manifests = members.map(({ name: own = '', digest, entry }) => ({
    mediaType: entry?.mediaType,
    size: entry?.size,
    digest,
    platform: forPlatform(own)?.platform,
  }));
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  const digest = digestOf(bytes);
  const where = members[0]?.where ?? name;
  return {
    name,
    where,
    digest,
    locate: async (wanted, as) => {
      if (wanted.digest === digest)
        return { kind: 'memory', path: `${where}: index`, size: bytes.length, bytes };
      for (const member of members) {
        const at = await member.locate(wanted, as);
        if (at !== undefined) return at;
      }
      return undefined;
    },
    provesDiffIds: members.some(({ provesDiffIds }) => provesDiffIds),
    signatures: [],
    warnings: [`${members.length} images for one platform each are one index`],
  };
}
