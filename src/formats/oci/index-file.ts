import * as z from 'zod';
import { documentAt } from '../../bytes/document.js';
import { listOf } from '../../model/descriptor.js';
import { MAX_LAYOUT_INDEX, parseJson, parseWith } from '../../model/json.js';
import { INDEX_FILE, INDEX_TEMPLATE } from '../../model/oci-layout.js';
import type { Storage, StorageTransaction } from '../../storage/driver.js';
import { LOCK } from './paths.js';

/** What is not understood stays as it was. */
const indexSchema = z.looseObject({ manifests: listOf(z.looseObject({})) });

export type LayoutIndex = z.infer<typeof indexSchema>;

export async function readIndex(layout: Storage): Promise<LayoutIndex> {
  const at = await layout.bytes(INDEX_FILE);
  if (at === undefined) return { ...INDEX_TEMPLATE, manifests: [] };
  return parseWith(indexSchema, parseJson(documentAt(at, at.path, MAX_LAYOUT_INDEX), at.path), at.path);
}

/**
 * index.json is read, changed and replaced under a lock, so that two writers lose no entry. `change` gives undefined when
 * nothing is to be done, and may put more into the transaction.
 */
export function changeIndex(
  layout: Storage,
  transaction: StorageTransaction,
  change: (index: LayoutIndex) => Promise<LayoutIndex | undefined>,
): Promise<void> {
  return layout.exclusively(LOCK, async () => {
    const index = await change(await readIndex(layout));
    if (index === undefined) return;
    transaction.put(INDEX_FILE, JSON.stringify(index), 'tag');
    await transaction.commit();
  });
}
