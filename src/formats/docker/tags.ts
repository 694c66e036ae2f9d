import type { RegistryAccess } from '../access.js';
import { Client } from './client.js';
import { Hosts } from './hosts.js';
import { canonicalName } from './paths.js';

/** Lends a function that lists the tags of a repository, `HOST/REPOSITORY`: undefined where there is no such repository. */
export async function withTags<T>(
  access: RegistryAccess,
  signal: AbortSignal,
  use: (tags: (name: string) => Promise<readonly string[] | undefined>) => Promise<T>,
): Promise<T> {
  const hosts = new Hosts(access, signal);
  const client = new Client(hosts);
  try {
    return await use((name) => client.tags(canonicalName(name)));
  } finally {
    await hosts.close();
  }
}
