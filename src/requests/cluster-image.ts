import { join, resolve } from 'node:path';
import * as z from 'zod';
import { listFolder, readText, resolved } from '../bytes/files.js';
import { findReferences } from '../discover/find.js';
import { Findings } from '../discover/findings.js';
import { parseYaml } from '../discover/yaml.js';
import { Effort } from '../discover/effort.js';
import { dockerArchive } from '../formats/docker-archive/index.js';
import type { HostAccess } from '../formats/access.js';
import { canonicalHost } from '../formats/docker/paths.js';
import { findPlace, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { parseWith } from '../model/json.js';

/*
 * The root folders of Kubernetes distributions for closed networks, as their tools read them:
 *
 *   images/*.tar                    archives of docker save (sealer)
 *   images/registry.tar             the registry itself, which is started from it
 *   images/shim/*                   lists of references, a line each (sealos pkg/buildimage/images.go)
 *   images/skopeo/tar.txt           docker-archive:FILE@NAME and oci-archive:FILE@NAME, a line each (sealos)
 *   images/{index.json,blobs,…}     an OCI layout with an image for each platform (KubeKey, multi-arch.ts)
 *   manifests/                      YAML, JSON and kustomizations, and lists called imageList
 *   charts/                         Helm charts, folders and archives
 *   imageListWithAuth.yaml          references with the credentials of their registries (sealer build/README.md)
 *   Kubefile                        says what is copied from elsewhere when the folder is built
 *   registry/docker/registry/v2/    the storage that a registry serves
 */

/** An archive or a layout in the folder, and what of it is taken. */
export interface LocalImages {
  readonly place: Place;
  /** Its only image gets this name. */
  readonly name?: string | undefined;
}

export interface ClusterImage {
  readonly local: readonly LocalImages[];
  /** References that its files name; what could not be determined and what failed. */
  readonly findings: Findings;
  /** Credentials of imageListWithAuth.yaml, by registry. */
  readonly hosts: Readonly<Record<string, HostAccess>>;
  /** Charts that are packed. */
  readonly charts: readonly string[];
  readonly notes: readonly string[];
}

const ARCHIVE = /\.(?:tar|tar\.(?:gz|zst|xz|bz2)|tgz)$/;
/** What starts the registry that serves the folder. */
const REGISTRY_ITSELF = /^registry\.tar(?:\.|$)/;

/** @throws ImgconvError NOT_FOUND, USAGE when there is nothing of such a folder */
export async function readClusterImage(
  rootfs: string,
  environment: NodeJS.ProcessEnv,
): Promise<ClusterImage> {
  if (resolved(rootfs)?.kind !== 'folder') throw new ImgconvError('NOT_FOUND', `${rootfs}: no such folder`);
  const at = (...names: string[]) => join(rootfs, ...names);
  const isFolder = (path: string) => resolved(path)?.kind === 'folder';
  const isFile = (path: string) => resolved(path)?.kind === 'file';
  const shim = at('images/shim');
  const lists = isFolder(shim)
    ? listFolder(shim)
        .filter((one) => one.isFile())
        .map(({ name }) => join(shim, name))
    : [];
  const paths = [at('manifests'), at('charts')].filter(isFolder);
  const tops = [at('imageList')].filter(isFile);
  const findings = await findReferences([...paths, ...tops, ...lists], { environment, stdin: () => '' });
  const { hosts, references } = withAuth(
    [at('imageListWithAuth.yaml'), at('manifests/imageListWithAuth.yaml')].filter(isFile),
  );
  findings.add(references);
  if (isFile(at('Kubefile'))) copiesFromElsewhere(rootfs, at('Kubefile'), findings);
  const { local, notes } = localImages(rootfs, findings);
  const charts = isFolder(at('charts'))
    ? listFolder(at('charts'))
        .filter(({ name }) => name.endsWith('.tgz'))
        .map(({ name }) => at('charts', name))
    : [];
  if (local.length === 0 && paths.length + tops.length + lists.length + Object.keys(hosts).length === 0)
    throw new ImgconvError('USAGE', `${rootfs}: no images, manifests or charts in it`, {
      hint: 'give the root folder of a cluster image: that which has images, manifests, charts or an imageList',
    });
  return { local, findings, hosts, charts, notes };
}

function localImages(rootfs: string, findings: Findings): { local: LocalImages[]; notes: string[] } {
  const folder = join(rootfs, 'images');
  const local: LocalImages[] = [];
  const notes: string[] = [];
  if (resolved(folder)?.kind !== 'folder') return { local, notes };
  const entries = listFolder(folder);
  if (entries.some(({ name }) => name === 'index.json')) local.push({ place: findPlace(folder) });
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (!entry.isFile() || !ARCHIVE.test(entry.name)) continue;
    if (REGISTRY_ITSELF.test(entry.name)) notes.push(`${path}: left in place, for the registry itself`);
    else local.push({ place: archiveAt(path, findings) });
  }
  local.push(...skopeoArchives(join(folder, 'skopeo'), findings));
  return { local, notes };
}

function archiveAt(path: string, findings: Findings): Place {
  try {
    return findPlace(path);
  } catch (error) {
    findings.failed(asImgconvError(error, path));
    return { format: dockerArchive, path };
  }
}

/** What sealos' tar.txt lists. */
function* skopeoArchives(folder: string, findings: Findings): Generator<LocalImages> {
  const file = join(folder, 'tar.txt');
  if (resolved(file)?.kind !== 'file') return;
  for (const [i, text] of readText(file).split('\n').entries()) {
    const line = text.trim();
    if (line === '' || line.startsWith('#')) continue;
    const [, archive, name] = /^(?:docker-archive|oci-archive):([^@]+)@(.+)$/.exec(line) ?? [];
    const path = archive === undefined ? undefined : join(folder, archive);
    if (path === undefined || !resolve(path).startsWith(`${resolve(folder)}/`)) {
      findings.unknown('not docker-archive:FILE@NAME with a file of this folder', { file, line: i + 1 });
      continue;
    }
    yield { place: archiveAt(path, findings), name };
  }
}

const sections = z.array(
  z.object({
    registry: z.string().optional(),
    username: z.string().optional(),
    password: z.string().optional(),
    images: z.array(z.string()).optional(),
  }),
);

function withAuth(files: readonly string[]) {
  const references = new Findings();
  const hosts: Record<string, HostAccess> = {};
  for (const file of files) {
    try {
      for (const { value } of parseYaml(readText(file), file, references.failed, { effort: new Effort() }))
        for (const { registry = '', username, password, images = [] } of parseWith(
          sections,
          value,
          file,
          'DOCUMENT_INVALID',
        )) {
          for (const image of images) references.found(withRegistry(image, registry), { file });
          if (username === undefined || password === undefined) continue;
          const creds = `${username}:${password}`;
          for (const host of new Set(images.map((image) => hostOf(withRegistry(image, registry)))))
            hosts[host] = { creds };
        }
    } catch (error) {
      references.failed(asImgconvError(error, file));
    }
  }
  return { hosts, references };
}

/** sealer's `ParseNormalizedNamed` (pkg/image/save/utils.go): a registry is put before names without one. */
function withRegistry(image: string, registry: string): string {
  return registry === '' || hasHost(image) ? image : `${registry}/${image}`;
}

function hasHost(image: string): boolean {
  const [first = ''] = image.split('/');
  return image.includes('/') && (/[.:]/.test(first) || first === 'localhost');
}

function hostOf(image: string): string {
  return canonicalHost(hasHost(image) ? (image.split('/')[0] ?? '') : 'docker.io');
}

/** What is copied into the folder when it is built is not there yet. */
function copiesFromElsewhere(rootfs: string, file: string, findings: Findings): void {
  for (const [i, line] of readText(file).split('\n').entries()) {
    const [, from] = /^\s*COPY\s+(?:--\S+\s+)*(\S+)\s+\S/i.exec(line) ?? [];
    if (from === undefined) continue;
    const isHere =
      !/^[a-z]+:\/\//.test(from) && resolved(join(rootfs, from)) !== undefined && !from.startsWith('/');
    if (!isHere)
      findings.unknown(`${from} is copied from elsewhere when the folder is built, and is not read`, {
        file,
        line: i + 1,
        field: 'COPY',
      });
  }
}
