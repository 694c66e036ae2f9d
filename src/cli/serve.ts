import { DEFAULT_ADDRESS, GRACE, serve, type LogEntry, type ServedPlace } from '../serve/serve.js';
import { isLoopback, parseAddress } from '../serve/listen.js';
import { existsSync } from 'node:fs';
import { ImgconvError } from '../model/errors.js';
import { prefixOf } from '../formats/table.js';
import { printable, printableJson } from './exit.js';
import { Interrupt } from './interrupt.js';
import { newStore, sourcePlace } from './places.js';
import { parseSize } from './quantity.js';
import { accessOf, type RegistryArguments } from './registry-options.js';

export interface ServeArguments extends RegistryArguments {
  readonly PLACE?: readonly string[];
  readonly listen?: string;
  readonly writable?: boolean;
  readonly htpasswd?: string;
  readonly htpasswdRead?: string;
  readonly readToken?: string;
  readonly anonymousRead?: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly prefix?: readonly string[];
  readonly maxUpload?: string;
  readonly sparse?: boolean;
  readonly log?: string;
  readonly cache?: string;
  readonly compression?: 'keep' | 'gzip';
}

/** Serves until SIGINT or SIGTERM, which lets requests end; a second one does not. */
export async function serveCommand(args: ServeArguments): Promise<number> {
  const { listen = DEFAULT_ADDRESS, writable = false, log = 'text' } = args;
  const places = placesOf(args);
  using interrupt = new Interrupt();
  const registry = await serve(places, {
    listen,
    writable,
    htpasswd: args.htpasswd,
    readers: args.htpasswdRead,
    readToken: args.readToken,
    anonymousRead: args.anonymousRead,
    tlsCert: args.tlsCert,
    tlsKey: args.tlsKey,
    maxUpload: parseSize('max-upload', args.maxUpload),
    sparse: args.sparse,
    cache: args.cache,
    compression: args.compression,
    access: accessOf(
      args,
      'src',
      places.map(({ place }) => place),
    ),
    log: WRITERS[log],
  });
  for (const { place, prefix } of places)
    say(
      `serving ${printable(place.path)} (${prefixOf(place.format)})${prefix === undefined ? '' : ` as ${prefix}/`}`,
    );
  say(`${writable ? 'takes pushes' : 'read-only'} at ${registry.url}`);
  say(`docker pull ${registry.host}/REPOSITORY:TAG`);
  for (const warning of warningsOf(args, listen, registry.asksAccounts)) say(`warning: ${warning}`);
  await aborted(interrupt.signal);
  say('stopping: requests may end within 30 s; press Ctrl-C again to stop at once');
  // A second signal ends the process.
  await registry.close(GRACE);
  return 0;
}

function say(text: string): void {
  process.stderr.write(`imgconv: ${text}\n`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

/** @throws ImgconvError USAGE, NOT_FOUND, FORMAT_UNKNOWN */
function placesOf({ PLACE = [], prefix = [], writable = false }: ServeArguments): ServedPlace[] {
  const places = PLACE.map((text, i): ServedPlace => {
    // The first place takes the pushes, and may be new.
    const isNew = writable && i === 0 && !existsSync(text.replace(/^(?:reg|oci):/, ''));
    return { place: isNew ? newStore(text) : sourcePlace(text) };
  });
  for (const text of prefix) {
    const [, name, place] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || place === undefined)
      throw new ImgconvError('USAGE', `--prefix ${text}: NAME=PLACE is expected`, {
        hint: 'for example --prefix mirror=./store',
      });
    places.push({ prefix: name, place: sourcePlace(place) });
  }
  const named = places.find(({ place }) => place.reference !== undefined);
  if (named !== undefined)
    throw new ImgconvError(
      'USAGE',
      `${named.place.path}: all of a place is served, not ${named.place.reference ?? ''} alone`,
      {
        hint: 'imgconv copy makes a place of some images',
      },
    );
  if (places.length > 0) return places;
  throw new ImgconvError('USAGE', 'serve: a place is missing', {
    hint: 'imgconv serve ./store, or imgconv serve images.tar',
  });
}

function warningsOf({ tlsCert, writable }: ServeArguments, listen: string, asksAccounts: boolean): string[] {
  if (isLoopback(parseAddress(listen).host)) return [];
  const warnings: string[] = [];
  if (!asksAccounts)
    warnings.push(
      `whoever reaches ${listen} can read ${writable === true ? 'and change ' : ''}these images: --htpasswd FILE asks for an account`,
    );
  if (tlsCert === undefined)
    warnings.push(
      `${asksAccounts ? 'passwords and images' : 'images'} cross the network unencrypted, and docker refuses such a registry: add --tls-cert and --tls-key`,
    );
  return warnings;
}

const WRITERS: Readonly<Record<string, (entry: LogEntry) => void>> = {
  text: ({ time, client, user = '-', method, path, status, received, sent, milliseconds, error }) => {
    const bytes = method === 'GET' || method === 'HEAD' ? sent : received;
    const why = error === undefined ? '' : `  ${error}`;
    process.stdout.write(
      `${printable(`${time} ${client} ${user} ${method} ${path} ${status} ${bytes} B ${milliseconds} ms${why}`)}\n`,
    );
  },
  json: (entry) => {
    process.stdout.write(`${printableJson(entry)}\n`);
  },
  none: () => undefined,
};
