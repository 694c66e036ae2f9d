import { readBytes } from '../bytes/files.js';
import type { RegistryAccess } from '../formats/access.js';
import type { Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isRepository } from '../model/reference.js';
import { Scratch } from '../storage/scratch.js';
import { Pool } from '../threads/pool.js';
import { Accounts, type AccountOptions } from './accounts.js';
import { parseAddress } from './listen.js';
import { openBackend, takesPushes } from './open.js';
import { Server, type LogEntry } from './server.js';
import { UnionBackend, type Part } from './union-backend.js';

export type { LogEntry } from './server.js';

/** A place to serve, whose names get a prefix: `mirror` makes `demo/app` to `mirror/demo/app`. */
export interface ServedPlace {
  readonly place: Place;
  readonly prefix?: string | undefined;
}

export interface ServeOptions extends AccountOptions {
  /** `HOST:PORT`; 127.0.0.1:5000 when it is not said. */
  readonly listen?: string | undefined;
  /** Takes pushes into the first place without a prefix, which is made if it is not there. */
  readonly writable?: boolean | undefined;
  /** PEM files. */
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  /** Of one blob, in bytes. */
  readonly maxUpload?: number | undefined;
  /** Takes manifests some of whose blobs or members are absent. */
  readonly sparse?: boolean | undefined;
  readonly access?: RegistryAccess | undefined;
  /** A folder that keeps what is fetched from other registries and compressed, also for the next run. */
  readonly cache?: string | undefined;
  /** `gzip`: layers that lie uncompressed in archives and directories are compressed once, into the cache. */
  readonly compression?: 'keep' | 'gzip' | undefined;
  readonly log?: ((entry: LogEntry) => void) | undefined;
}

/** A registry that runs. */
export interface RunningRegistry {
  /** With the port that it listens on. */
  readonly url: string;
  /** `HOST:PORT`, as `docker pull` has it. */
  readonly host: string;
  readonly asksAccounts: boolean;
  /** Ends what is under way, for at most `grace` milliseconds. */
  readonly close: (grace?: number) => Promise<void>;
}

export const DEFAULT_ADDRESS = '127.0.0.1:5000';
/** Of a blob. */
const DEFAULT_MAX_UPLOAD = 100 * 1024 ** 3;
export const GRACE = 30_000;

/**
 * Serves places as one registry (OCI distribution-spec v1.1), as they lie.
 * @throws ImgconvError USAGE, NOT_FOUND, DOCUMENT_INVALID; IO when the address is taken
 */
export async function serve(
  places: readonly ServedPlace[],
  options: ServeOptions = {},
): Promise<RunningRegistry> {
  const address = parseAddress(options.listen ?? DEFAULT_ADDRESS);
  const accounts = new Accounts(options);
  const tls = tlsOf(options);
  // This thread answers requests.
  const pool = new Pool(undefined, false);
  const scratch = new Scratch();
  const parts: Part[] = [];
  const release = async () => {
    for (const { backend } of parts) await backend.close();
    await pool.close();
    scratch.close();
  };
  try {
    const written = options.writable === true ? writtenPlace(places) : undefined;
    const context = {
      pool,
      access: options.access ?? {},
      scratch: () => scratch.staging(),
      cache: () => options.cache ?? scratch.folder('cache'),
      compress: options.compression === 'gzip',
    };
    for (const one of places) {
      expectPrefix(one.prefix);
      parts.push({ prefix: one.prefix, backend: await openBackend(one.place, one === written, context) });
    }
    const backend = new UnionBackend(parts);
    const { maxUpload = DEFAULT_MAX_UPLOAD, sparse = false, log = () => undefined } = options;
    // The first blob should not wait for a thread.
    pool.announce([maxUpload]);
    const place = (written ?? places[0])?.place;
    if (place === undefined) throw new ImgconvError('USAGE', 'serve: a place is missing');
    const server = await Server.start({
      backend,
      place,
      accounts,
      pool,
      address,
      tls,
      maxUpload,
      sparse,
      log,
    });
    return {
      url: server.url,
      host: server.host,
      asksAccounts: accounts.areAsked,
      close: async (grace = GRACE) => {
        await server.close(grace);
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** @throws ImgconvError USAGE */
function writtenPlace(places: readonly ServedPlace[]): ServedPlace {
  const found = places.find(({ place, prefix }) => prefix === undefined && takesPushes(place));
  if (found !== undefined) return found;
  throw new ImgconvError('USAGE', '--writable: none of these places takes pushes', {
    hint: 'give a registry storage (reg:./store) or an OCI layout (oci:./layout), without a prefix',
  });
}

/** @throws ImgconvError USAGE */
function expectPrefix(prefix: string | undefined): void {
  if (prefix === undefined || isRepository(prefix)) return;
  throw new ImgconvError('USAGE', `--prefix ${prefix}=…: not a repository path`, {
    hint: 'lower-case letters, digits and single separators, such as --prefix mirror/hub=./store',
  });
}

/** @throws ImgconvError USAGE for one without the other */
function tlsOf({ tlsCert, tlsKey }: ServeOptions): { cert: Uint8Array; key: Uint8Array } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new ImgconvError(
      'USAGE',
      `--tls-${tlsCert === undefined ? 'cert' : 'key'} is missing: TLS needs both files`,
    );
  return { cert: readBytes(tlsCert), key: readBytes(tlsKey) };
}
