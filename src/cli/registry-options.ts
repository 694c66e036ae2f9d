import type { RegistryAccess } from '../formats/access.js';
import type { Format } from '../formats/format.js';
import { FORMATS, prefixOf } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { parseCount, REPEATABLE, VALUE } from './options.js';
import type { OptionTable } from './usage.js';

/** Which side of a conversion an option of skopeo's speaks of; `ls` and `inspect` have but a source. */
type Side = 'src' | 'dest';

export interface RegistryArguments {
  readonly authfile?: string;
  readonly srcAuthfile?: string;
  readonly destAuthfile?: string;
  readonly srcCreds?: string;
  readonly destCreds?: string;
  readonly srcRegistryToken?: string;
  readonly destRegistryToken?: string;
  readonly srcCertDir?: string;
  readonly destCertDir?: string;
  readonly srcTlsVerify?: boolean;
  readonly destTlsVerify?: boolean;
  readonly retryTimes?: string;
  readonly retryDelay?: string;
  readonly registryMirror?: string[];
}

/** Options of commands that speak to registries, under skopeo's names. */
export function registryOptions(sides: readonly Side[]): OptionTable {
  return {
    authfile: { ...VALUE, describe: 'file of credentials (default: where podman and docker keep theirs)' },
    ...Object.fromEntries(sides.flatMap((side) => Object.entries(optionsOf(side)))),
    'retry-times': { ...VALUE, describe: 'further tries after a failure that may pass (default: 3)' },
    'retry-delay': { ...VALUE, describe: 'the first wait before one, such as 2s or 500ms (default: 1s)' },
    'registry-mirror': { ...REPEATABLE, describe: 'HOST=URL to pull from first' },
  };
}

function optionsOf(side: Side): OptionTable {
  const whose = side === 'src' ? 'of the source' : 'of the target';
  return {
    [`${side}-authfile`]: { ...VALUE, describe: `file of credentials ${whose}` },
    [`${side}-creds`]: { ...VALUE, describe: `USER:PASSWORD ${whose}` },
    [`${side}-registry-token`]: { ...VALUE, describe: `bearer token ${whose}` },
    [`${side}-cert-dir`]: { ...VALUE, describe: `folder of *.crt, *.cert, *.key ${whose}` },
    [`${side}-tls-verify`]: {
      type: 'boolean',
      describe: 'false: take any certificate, and plain HTTP, which is else for this machine alone',
    },
  };
}

/** Of the registry of which side an option speaks; of several, either will do. */
const ABOUT: Readonly<Record<keyof RegistryArguments, readonly Side[]>> = {
  authfile: ['src', 'dest'],
  srcAuthfile: ['src'],
  destAuthfile: ['dest'],
  srcCreds: ['src'],
  destCreds: ['dest'],
  srcRegistryToken: ['src'],
  destRegistryToken: ['dest'],
  srcCertDir: ['src'],
  destCertDir: ['dest'],
  srcTlsVerify: ['src'],
  destTlsVerify: ['dest'],
  retryTimes: ['src', 'dest'],
  retryDelay: ['src', 'dest'],
  registryMirror: ['src'],
};

/** What is wrong with the first of the options given that speaks of a registry where there is none; and what to do. */
export function strayRegistryOption(
  args: RegistryArguments,
  formats: Readonly<Partial<Record<Side, Format>>>,
): readonly [what: string, hint: string] | undefined {
  for (const [name, value] of Object.entries(args)) {
    if (value === undefined || !isAbout(name)) continue;
    const places = ABOUT[name].flatMap((side) => formats[side] ?? []);
    if (places.some(({ traits }) => traits.remote)) continue;
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const prefixes = [...new Set(places.map(prefixOf))];
    const said =
      prefixes.length > 1 ? `neither ${prefixes.join(' nor ')} is a` : `${prefixes.join('')} is no`;
    const registries = FORMATS.filter(({ traits }) => traits.remote).map(prefixOf);
    return [`${option}: ${said} registry`, `leave it out; it is for ${registries.join(' ')}`];
  }
  return undefined;
}

function isAbout(name: string): name is keyof typeof ABOUT {
  return Object.hasOwn(ABOUT, name);
}

/** @throws ImgconvError USAGE */
export function accessOf(args: RegistryArguments, side: Side): RegistryAccess {
  const of =
    side === 'src'
      ? {
          authfile: args.srcAuthfile,
          creds: args.srcCreds,
          registryToken: args.srcRegistryToken,
          certDir: args.srcCertDir,
          tlsVerify: args.srcTlsVerify,
        }
      : {
          authfile: args.destAuthfile,
          creds: args.destCreds,
          registryToken: args.destRegistryToken,
          certDir: args.destCertDir,
          tlsVerify: args.destTlsVerify,
        };
  return {
    ...of,
    authfile: of.authfile ?? args.authfile,
    retryTimes: parseCount('retry-times', args.retryTimes, 100, 0),
    retryDelay: parseDuration('retry-delay', args.retryDelay),
    mirrors: parseMirrors(args.registryMirror ?? []),
  };
}

function parseMirrors(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, host, url] = /^([^=/]+)=(https?:\/\/.+)$/.exec(text) ?? [];
      if (host === undefined || url === undefined || !isPlainUrl(url))
        // Not with the text: URLs can have a password in them.
        throw new ImgconvError('USAGE', '--registry-mirror: not HOST=URL, without user and password', {
          hint: 'for example --registry-mirror docker.io=https://mirror.example.com; docker login or --authfile give credentials',
        });
      return [host, url];
    }),
  );
}

function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, '': 1000, s: 1000, m: 60_000 };

/** In milliseconds, of `2s`, `500ms`, `1m` or seconds. @throws ImgconvError USAGE */
function parseDuration(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|)$/.exec(text) ?? [];
  const factor = UNITS[unit];
  if (number === undefined || factor === undefined)
    throw new ImgconvError('USAGE', `--${option} ${text}: not a time such as 2s or 500ms`);
  return Number(number) * factor;
}
