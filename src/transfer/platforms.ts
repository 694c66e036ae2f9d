import type { SourceImage } from '../formats/format.js';
import type { Pool } from '../threads/pool.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { isContainerImage, type ManifestNode } from '../model/manifest.js';
import { platformMatches, platformText, type Platform } from '../model/platform.js';
import { editDescriptors, editManifest } from './edit.js';
import { ATTESTED } from './extras.js';
import { platformOf } from './resolve.js';

export interface Chosen {
  readonly root: ManifestNode;
  readonly notes: readonly string[];
}

/**
 * Keeps the wanted platforms of an image. An index stays as it is when all its members are wanted; one member left
 * is an image of its own; more make a new index, of another digest.
 * @throws ImgconvError PLATFORM_MISSING when none is wanted
 */
export async function choosePlatforms(
  source: SourceImage,
  root: ManifestNode,
  wanted: readonly Platform[],
  pool: Pool,
): Promise<Chosen> {
  if (wanted.length === 0) return { root, notes: [] };
  const have: string[] = [];
  const keep = async (node: ManifestNode): Promise<ManifestNode | undefined> => {
    const { manifest } = node;
    if (manifest.kind !== 'index') {
      const platform = await platformOf(source, node, pool);
      if (platform === undefined) return node;
      have.push(platformText(platform));
      return wanted.some((want) => platformMatches(want, platform)) ? node : undefined;
    }
    const kept = new Map<Digest, ManifestNode>();
    for (const child of node.children) {
      const attested = child.descriptor.annotations?.[ATTESTED];
      const stays =
        attested === undefined ? await keep(child) : kept.has(attested as Digest) ? child : undefined;
      if (stays !== undefined) kept.set(child.descriptor.digest, stays);
    }
    for (const { platform } of node.absent) if (platform !== undefined) have.push(platformText(platform));
    const wantedAbsent = node.absent.filter(
      ({ platform }) => platform === undefined || wanted.some((want) => platformMatches(want, platform)),
    );
    if (kept.size === 0 && wantedAbsent.length === 0) return undefined;
    const whole = node.children.every((child) => kept.get(child.descriptor.digest) === child);
    if (whole && node.absent.length === wantedAbsent.length) return node;
    const [only, ...others] = kept.values();
    if (only !== undefined && others.length === 0 && wantedAbsent.length === 0) return only;
    const absent = new Set(wantedAbsent.map(({ digest }) => digest as string));
    const edited = editManifest(
      node,
      (raw) => ({
        ...raw,
        manifests: editDescriptors(raw['manifests'], (descriptor) => {
          const digest = String(descriptor['digest']);
          const stays = kept.get(digest as Digest);
          if (stays === undefined) return absent.has(digest) ? descriptor : undefined;
          const { mediaType, size } = stays.descriptor;
          return { ...descriptor, mediaType, digest: stays.descriptor.digest, size };
        }),
      }),
      [...kept.values()],
    );
    return { ...edited, absent: wantedAbsent };
  };
  const chosen = await keep(root);
  if (chosen === undefined) {
    const asked = wanted.map(platformText).join(', ');
    throw new ImgconvError(
      'PLATFORM_MISSING',
      `${source.where}: not for ${asked}, only for ${have.join(', ')}`,
    );
  }
  if (chosen.descriptor.digest === root.descriptor.digest) return { root: chosen, notes: [] };
  const what = isContainerImage(chosen) ? 'image' : 'index';
  return {
    root: chosen,
    notes: [
      `of the index ${root.descriptor.digest} the ${what} for ${wanted.map(platformText).join(', ')} was taken`,
    ],
  };
}
