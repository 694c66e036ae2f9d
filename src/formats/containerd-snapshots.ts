import { spawn } from 'node:child_process';
import { isFolder } from '../bytes/there.js';
import type { RebuiltBytes } from '../bytes/region.js';
import { createHasher } from '../bytes/hash.js';
import { BoltFile } from '../codecs/bolt.js';
import { layerOfOverlay } from '../codecs/overlay-tar.js';
import type { Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { Pool } from '../threads/pool.js';
import { findProgram } from '../storage/program.js';
import { textOf, uvarint, withMetadata } from './containerd-store.js';
import type { MadeLayer } from './made-image.js';

/*
 * Unpacked layers of containerd (core/metadata/snapshot.go, core/snapshots/storage/bolt.go,
 * plugins/snapshots/overlay/overlay.go):
 *
 *   meta.db          v1/<namespace>/snapshots/overlayfs/<chainID>/name      the snapshotter's own key
 *   io.containerd.snapshotter.v1.overlayfs/
 *     metadata.db    v1/snapshots/<key>/id
 *     snapshots/<id>/fs/                                                    the files, as overlayfs has them
 */
const SNAPSHOTTER = 'overlayfs';
const FOLDER = 'io.containerd.snapshotter.v1.overlayfs';

/** Makes layers out of the files of snapshots: not the bytes that they were unpacked from, but the same files. */
export class Snapshots {
  readonly #root: string;
  readonly #namespace: string;
  readonly #pool: Pool;
  readonly #made = new Map<Digest, Promise<MadeLayer | undefined>>();

  constructor(root: string, namespace: string, pool: Pool) {
    this.#root = root;
    this.#namespace = namespace;
    this.#pool = pool;
  }

  /** The layer on top of a stack that was unpacked; undefined when it was not. @throws ImgconvError */
  layer(chainId: Digest): Promise<MadeLayer | undefined> {
    const made = this.#made.get(chainId) ?? this.#make(chainId);
    this.#made.set(chainId, made);
    return made;
  }

  async #make(chainId: Digest): Promise<MadeLayer | undefined> {
    const folder = this.#folderOf(chainId);
    if (folder === undefined) return undefined;
    const open = () => layerOfOverlay(filesOf(folder), folder);
    const hasher = createHasher('sha256');
    let size = 0;
    for await (const chunk of open()) {
      this.#pool.expectRunning();
      hasher.update(chunk);
      size += chunk.length;
    }
    const at: RebuiltBytes & { readonly size: number } = { kind: 'rebuilt', path: folder, size, open };
    return { digest: hasher.digest(), compression: 'none', at };
  }

  #folderOf(chainId: Digest): string | undefined {
    const key = withMetadata(this.#root, (namespaces) =>
      namespaces
        .bucket(this.#namespace)
        ?.bucket('snapshots')
        ?.bucket(SNAPSHOTTER)
        ?.bucket(chainId)
        ?.value('name'),
    );
    if (key === undefined || !isFolder(`${this.#root}/${FOLDER}`, this.#root)) return undefined;
    using file = BoltFile.open(`${this.#root}/${FOLDER}/metadata.db`, this.#root);
    const id = file.root.bucket('v1')?.bucket('snapshots')?.bucket(textOf(key))?.value('id');
    if (id === undefined) return undefined;
    const folder = `${this.#root}/${FOLDER}/snapshots/${uvarint(id)}/fs`;
    return isFolder(folder, this.#root) ? folder : undefined;
  }
}

/** What Node cannot read, extended attributes, GNU tar can. */
const WORDS = [
  ...['--create', '--format=pax', '--pax-option=delete=atime,delete=ctime', '--sort=name', '--numeric-owner'],
  ...['--xattrs', '--xattrs-include=*', '--atime-preserve=system', '--no-check-device', '--file=-', '.'],
];

async function* filesOf(folder: string): AsyncGenerator<Uint8Array> {
  const tar = findProgram('tar');
  if (tar === undefined)
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${folder}: making a layer of its files needs GNU tar, which is not there`,
    );
  const child = spawn(tar, [`--directory=${folder}`, ...WORDS], {
    env: { LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-1000)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  ended.catch(() => undefined);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const status = await ended;
    if (status !== 0)
      throw new ImgconvError(
        'IO',
        `${folder}: tar could not read all of its files: ${said.trim().split('\n').at(-1) ?? ''}`,
      );
  } catch (error) {
    throw asImgconvError(error, folder);
  } finally {
    child.kill();
    await ended.catch(() => undefined);
  }
}
