import type { ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { sha256, startDaemon, stopDaemon } from './peers.js';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port to be had');
  return address.port;
}

const ManifestSchema = z.object({
  config: z.object({ digest: z.string() }).optional(),
  layers: z.array(z.object({ digest: z.string() })).optional(),
  manifests: z.array(z.object({ digest: z.string() })).optional(),
});

/** A manifest as served, and what it names. */
export interface ServedManifest {
  readonly digest: string;
  readonly bytes: Uint8Array;
  readonly config: string | undefined;
  readonly layers: string[];
  readonly children: string[];
}

const acceptedManifests = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/** Whatever it answers: who is let in is another question, and where TLS is asked for a plain request is told so. */
async function answers(host: string): Promise<boolean> {
  try {
    await fetch(`http://${host}/v2/`);
    return true;
  } catch {
    return false;
  }
}

/** Sections of a registry's configuration. */
interface Sections {
  readonly auth?: object;
  readonly http?: object;
}

/** A docker-registry of one's own on a store, listening on 127.0.0.1. */
export class Registry {
  readonly host: string;
  readonly #process: ChildProcess;

  private constructor(host: string, process: ChildProcess) {
    this.host = host;
    this.#process = process;
  }

  /** `more`: what it is told besides, section by section. */
  static async start(store: string, scratch: string, more: Sections = {}): Promise<Registry> {
    const host = `localhost:${String(await freePort())}`;
    const config = join(scratch, `${host.replace(':', '-')}.yml`);
    const settings = {
      version: '0.1',
      log: { level: 'warn' },
      storage: { filesystem: { rootdirectory: store }, delete: { enabled: true } },
      ...more,
      http: { addr: host.replace('localhost', '127.0.0.1'), ...more.http },
    };
    await writeFile(config, JSON.stringify(settings));
    const daemon = await startDaemon('docker-registry', ['serve', config], `${config}.log`, () =>
      answers(host),
    );
    return new Registry(host, daemon);
  }

  stop(): Promise<void> {
    return stopDaemon(this.#process);
  }

  async #get(path: string): Promise<Response> {
    const response = await fetch(`http://${this.host}/v2/${path}`, {
      headers: { accept: acceptedManifests },
    });
    if (!response.ok) throw new Error(`GET ${path}: ${String(response.status)} ${await response.text()}`);
    return response;
  }

  /** The manifest by `repo:tag` or `repo@digest`; its bytes are proved against the digest that the registry states. */
  async manifest(name: string): Promise<ServedManifest> {
    const [, repository = '', reference = ''] = /^(.*?)(?:@|:)(.*)$/.exec(name) ?? [];
    const response = await this.#get(`${repository}/manifests/${reference}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const digest = sha256(bytes);
    if (response.headers.get('docker-content-digest') !== digest)
      throw new Error(`${name}: served with a wrong digest`);
    const parsed = ManifestSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
    return {
      digest,
      bytes,
      config: parsed.config?.digest,
      layers: (parsed.layers ?? []).map((layer) => layer.digest),
      children: (parsed.manifests ?? []).map((child) => child.digest),
    };
  }

  /** A blob's bytes, proved against the digest it was asked for by. */
  async blob(repository: string, digest: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(await (await this.#get(`${repository}/blobs/${digest}`)).arrayBuffer());
    if (sha256(bytes) !== digest) throw new Error(`${repository}@${digest}: served with other bytes`);
    return bytes;
  }

  /** Gets an image whole, children and blobs too, each by its digest; gives the digest of what the name stands for. */
  async pullWhole(name: string): Promise<string> {
    const repository = name.replace(/[@:].*$/, '');
    const manifest = await this.manifest(name);
    const byDigest = await this.manifest(`${repository}@${manifest.digest}`);
    if (Buffer.compare(byDigest.bytes, manifest.bytes) !== 0)
      throw new Error(`${name}: tag and digest differ`);
    for (const child of manifest.children) await this.pullWhole(`${repository}@${child}`);
    if (manifest.config !== undefined) await this.blob(repository, manifest.config);
    for (const layer of manifest.layers) await this.blob(repository, layer);
    return manifest.digest;
  }

  /** Deletes an image through the API, as a registry's owner would. */
  async deleteImage(name: string): Promise<void> {
    const { digest } = await this.manifest(name);
    const repository = name.slice(0, name.lastIndexOf(':'));
    const path = `${repository}/manifests/${digest}`;
    const response = await fetch(`http://${this.host}/v2/${path}`, { method: 'DELETE' });
    if (response.status !== 202) throw new Error(`DELETE ${path}: ${String(response.status)}`);
  }

  /** Every `repository:tag` it lists, sorted. */
  async names(): Promise<string[]> {
    const catalog = z
      .object({ repositories: z.array(z.string()) })
      .parse(await (await this.#get('_catalog')).json());
    const names: string[] = [];
    for (const repository of catalog.repositories) {
      const list = await (await this.#get(`${repository}/tags/list`)).json();
      const { tags } = z.object({ tags: z.array(z.string()) }).parse(list);
      names.push(...tags.map((tag) => `${repository}:${tag}`));
    }
    return names.sort();
  }
}
