import type { SourceImage } from '../formats/format.js';
import type { Pool } from '../threads/pool.js';
import { ImgconvError } from '../model/errors.js';
import { isContainerImage } from '../model/manifest.js';
import { fold, type ManifestNode } from '../model/tree.js';
import { platformMatches, platformText, type Platform } from '../model/platform.js';
import { platformOf } from './configs.js';
import { editIndex } from './edit.js';
import { attestedBy } from './extras.js';

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
  const isWanted = (platform: Platform) => wanted.some((want) => platformMatches(want, platform));
  const chosen = await fold<ManifestNode | undefined>(root, async (node, members) => {
    const { manifest, children, descriptor } = node;
    if (node !== root && attestedBy(descriptor) !== undefined) return node;
    if (manifest.kind !== 'index') {
      const platform = await platformOf(source, node, pool);
      if (platform === undefined) return node;
      have.push(platformText(platform));
      return isWanted(platform) ? node : undefined;
    }
    const kept = new Map<string, ManifestNode>();
    for (const [i, child] of children.entries()) {
      const [attested, stays] = [attestedBy(child.descriptor), members[i]];
      if (stays !== undefined && (attested === undefined || kept.has(attested)))
        kept.set(child.descriptor.digest, stays);
    }
    for (const { platform } of node.absent) if (platform !== undefined) have.push(platformText(platform));
    const absent = node.absent.filter(({ platform }) => platform === undefined || isWanted(platform));
    if (kept.size === 0 && absent.length === 0) return undefined;
    const whole = children.every((child) => kept.get(child.descriptor.digest) === child);
    if (whole && node.absent.length === absent.length) return node;
    const [only, ...others] = kept.values();
    if (only !== undefined && others.length === 0 && absent.length === 0) return only;
    return editIndex(node, kept, absent);
  });
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
