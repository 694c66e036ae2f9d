import type { Pool } from '../threads/pool.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { tryConfig, type ImageConfig } from '../model/config.js';
import { MAX_CONFIG } from '../model/json.js';
import { Lately } from './lately.js';

const configs = new Lately<ImageConfig | undefined>(64);

/** As `tryConfig`, once for all names and all members of indexes that have this config. @throws ImgconvError DIGEST_MISMATCH */
export function readConfig(blob: VerifiedBlob, pool: Pool): Promise<ImageConfig | undefined> {
  return configs.of(pool, `${blob.digest} ${blob.origin}`, async () =>
    tryConfig(await blob.read(MAX_CONFIG)),
  );
}
