import type { HostAccess, RegistryAccess } from '../formats/access.js';
import { docker } from '../formats/docker/index.js';
import { canonicalHost } from '../formats/docker/paths.js';
import { registry } from '../formats/registry/index.js';
import type { Place } from '../formats/table.js';
import type { ImgconvError } from '../model/errors.js';
import type { Platform } from '../model/platform.js';
import { convert } from '../transfer/convert.js';
import type { Progress } from '../transfer/options.js';
import type { ImageReport } from '../transfer/report.js';
import { wholeSelectors } from './wanted.js';

/** References of all registries. */
export const EVERYWHERE: Place = { format: docker, path: '' };

export interface SaveOptions {
  /** None means all platforms that an index has. */
  readonly platforms?: readonly Platform[] | undefined;
  /** By registry, `docker.io` for Docker Hub. For others those of podman's and docker's files are used. */
  readonly credentials?: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
  /** How registries are spoken to besides. */
  readonly access?: RegistryAccess | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/** What became of one reference. */
export interface SavedImage {
  /** As it was given. */
  readonly image: string;
  readonly status: ImageReport['status'];
  /** In the store. */
  readonly name: string | undefined;
  readonly digest: string | undefined;
  readonly notes: readonly string[];
  /** Undefined unless it failed. */
  readonly error: ImgconvError | undefined;
}

/**
 * Saves images and charts from their registries into the storage of a registry, `dir`, which a Distribution registry
 * serves as its root directory. References are written as `docker pull` and `helm pull` take them. What the store holds is
 * not fetched again, and a run that broke off goes on. Each registry has its own token and connections.
 * @returns one result for each reference, in their order
 * @throws ImgconvError NAME_INVALID for what is no reference; NAME_CONFLICT when two registries have different images of
 * one name, before anything is written; NO_SPACE, INTERRUPTED
 */
export async function saveImages(
  images: readonly string[],
  dir: string,
  { platforms, credentials = {}, access, signal, progress }: SaveOptions = {},
): Promise<SavedImage[]> {
  const whole = images.map((text) => wholeSelectors([{ text, rename: undefined, where: text }]));
  const selectors = wholeSelectors(whole.flat());
  if (selectors.length === 0) return [];
  const hosts: Record<string, HostAccess> = { ...access?.hosts };
  for (const [host, { username, password }] of Object.entries(credentials))
    hosts[canonicalHost(host)] = { ...hosts[canonicalHost(host)], creds: `${username}:${password}` };
  const to = { format: registry, path: dir };
  const sourceAccess = { ...access, hosts };
  const report = await convert(EVERYWHERE, to, { selectors, platforms, sourceAccess, signal, progress });
  const bySource = new Map(report.images.map((image) => [image.source, image]));
  return images.map((image, i) => {
    const {
      status = 'skipped',
      name,
      digest,
      notes = [],
      error,
    } = bySource.get(whole[i]?.[0]?.text ?? '') ?? {};
    return { image, status, name, digest, notes, error };
  });
}
