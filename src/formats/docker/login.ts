import type { RegistryAccess } from '../access.js';
import { Hosts } from './hosts.js';
import { canonicalHost } from './paths.js';

/** Asks the registry whether it accepts the credentials in `access`. @throws ImgconvError UNAUTHORIZED, NETWORK, REGISTRY */
export async function checkLogin(host: string, access: RegistryAccess, signal: AbortSignal): Promise<void> {
  const hosts = new Hosts(access, signal);
  try {
    await hosts.endpoint(canonicalHost(host)).send({ path: '/v2/', scopes: [], accept: [200] });
  } finally {
    await hosts.close();
  }
}
