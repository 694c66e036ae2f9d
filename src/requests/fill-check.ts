import { isAttachedTag } from '../model/attached.js';
import type { Platform } from '../model/platform.js';
import { platformText } from '../model/platform.js';
import { splitReference } from '../model/reference.js';
import { collect, listImages, type ListedImage } from '../upkeep/list.js';
import { verify } from '../upkeep/verify.js';
import type { Findings } from '../discover/findings.js';
import { wholeText } from '../discover/findings.js';
import { storeOf, type Needs } from './fill.js';
import { pathExists } from '../bytes/files.js';

/** How a storage and its folder disagree. */
export interface Difference {
  readonly kind: 'missing' | 'unnamed' | 'platform' | 'damaged';
  /** In the storage; of damage, the file. */
  readonly name: string;
  /** Where it is named, or what is wrong. */
  readonly what: string;
}

/**
 * Compares the storage of a folder with what its files need: what is named but not there, what is there but not named,
 * what lacks a platform that was asked for, and what is damaged. Nothing is written.
 */
export async function checkFilled(
  rootfs: string,
  needs: Needs,
  findings: Findings,
  platforms: readonly Platform[],
): Promise<Difference[]> {
  const store = storeOf(rootfs);
  const usesOf = usesByWhole(findings);
  const all = [...needs.local, ...needs.references];
  if (!pathExists(`${rootfs}/registry`))
    return all.map(({ whole, targets: [name = whole] }) => ({ kind: 'missing', name, what: usesOf(whole) }));
  const there = new Map<string, ListedImage>();
  for (const image of await collect(listImages(store)))
    if (image.name !== undefined) there.set(image.name, image);
  const byDigest = new Set(
    [...there].flatMap(([name, { digest }]) => `${splitReference(name).name}@${digest ?? ''}`),
  );
  const differences: Difference[] = [];
  const named = new Set<string>();
  for (const { whole, targets } of all)
    for (const name of targets) {
      named.add(name);
      const image = there.get(name);
      if (image === undefined && !byDigest.has(name)) {
        if (!differences.some((one) => one.name === name))
          differences.push({ kind: 'missing', name, what: usesOf(whole) });
        continue;
      }
      const lacking =
        image === undefined
          ? []
          : platforms.filter(
              (one) =>
                !image.platforms.includes(platformText(one)) &&
                !image.platforms.some((text) => text.startsWith(`${platformText(one)}/`)),
            );
      if (
        image !== undefined &&
        image.kind !== 'artifact' &&
        lacking.length > 0 &&
        !differences.some((one) => one.name === name)
      )
        differences.push({
          kind: 'platform',
          name,
          what: `is for ${image.platforms.join(', ')}, not for ${lacking.map(platformText).join(', ')}`,
        });
    }
  for (const name of there.keys())
    if (!named.has(name) && !isAttachedTag(splitReference(name).tag))
      differences.push({ kind: 'unnamed', name, what: 'no file of the folder names it' });
  for (const { severity, where, what, images } of (await verify(store)).findings)
    if (severity === 'broken')
      differences.push({
        kind: 'damaged',
        name: where,
        what: `${what}${images.length > 0 ? ` (in ${images.join(', ')})` : ''}`,
      });
  return differences;
}

/** Where files name an image, as people look for it. */
function usesByWhole(findings: Findings): (whole: string) => string {
  const known = new Map<string, string>();
  for (const { reference, uses } of findings.images()) {
    const [first] = uses;
    if (first === undefined) continue;
    const { file, line, field } = first;
    known.set(
      wholeText(reference),
      `named by ${file}${line === undefined ? '' : `:${line}`}${field === '' ? '' : ` ${field}`}`,
    );
  }
  return (whole) => known.get(whole) ?? 'in an archive of the folder';
}
