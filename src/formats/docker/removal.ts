import { ImgconvError } from '../../model/errors.js';
import type { Removal, RemovalContext } from '../removal.js';
import { repositoryText } from './client.js';
import { Hosts } from './hosts.js';
import { canonicalName, manifestPath, registryPathOf } from './paths.js';

/** Statuses of registries that do not delete at all, or not by tag (distribution-spec, deleting tags and manifests). */
const UNSUPPORTED = [400, 405];

/** By the delete API. `path`: what follows `docker://`, without a reference. */
export function removeFromDocker(path: string, { access, signal }: RemovalContext): Removal {
  const hosts = new Hosts(access, signal);
  const drop = async (name: string, reference: string): Promise<boolean> => {
    const { host } = registryPathOf(path);
    const to = canonicalName(host === undefined || name.startsWith(`${host}/`) ? name : `${host}/${name}`);
    const answer = await hosts.endpoint(to.host).send({
      path: manifestPath(to.repository, reference),
      method: 'DELETE',
      scopes: [`repository:${to.repository}:delete,pull,push`],
      accept: [200, 202, 204, 404, ...UNSUPPORTED],
    });
    if (!UNSUPPORTED.includes(answer.status)) return answer.status !== 404;
    const isTag = !reference.includes(':');
    throw new ImgconvError(
      'REGISTRY',
      `${repositoryText(to)}: the registry does not delete ${isTag ? 'tags' : 'images'} (status ${answer.status})`,
      {
        hint:
          isTag && answer.status === 400
            ? 'delete the image by its digest, with all its tags: imgconv digest shows it'
            : 'its operator allows it: REGISTRY_STORAGE_DELETE_ENABLED=true for a Distribution registry',
      },
    );
  };
  return { tag: drop, manifest: drop, close: () => hosts.close() };
}
