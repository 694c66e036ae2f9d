import type { HostAccess, RegistryAccess } from '../formats/access.js';
import { canonicalHost } from '../formats/docker/paths.js';
import type { Format } from '../formats/format.js';
import { FORMATS, prefixOf, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isHostName, splitHost } from '../model/reference.js';
import type { Selector } from '../transfer/select.js';
import { saidOnStderr } from './progress.js';
import { parseCount, parseDuration } from './quantity.js';
import { camelCase, FLAG, grouped, REPEATABLE, VALUE, type OptionTable } from './syntax.js';

/** Which side of a conversion an option is for, as with skopeo; `ls` and `inspect` have only a source. */
const SIDES = ['src', 'dest'] as const;
type Side = (typeof SIDES)[number];

/** By the kind of their values. */
interface Names {
  text: 'authfile' | 'retryTimes' | 'retryDelay' | `${Side}Authfile` | `${Side}CertDir`;
  list: 'creds' | 'registryMirror' | `${Side}Creds` | `${Side}RegistryToken`;
  flag: 'allowHttpCredentials' | 'tlsVerify' | 'insecure' | 'noCreds' | `${Side}TlsVerify` | `${Side}NoCreds`;
}

export type RegistryArguments = { readonly [Name in Names['text']]?: string } & {
  readonly [Name in Names['list']]?: readonly string[];
} & { readonly [Name in Names['flag']]?: boolean };

/** Options of commands that speak to registries, under skopeo's names. */
export function registryOptions(sides: readonly Side[]): OptionTable {
  return grouped('Registries:', {
    authfile: {
      ...VALUE,
      value: 'file',
      describe: 'credentials (default: the files of podman and docker)',
    },
    ...(sides.length === 1 && {
      creds: { ...REPEATABLE, value: '[host=]user:password', describe: 'credentials' },
    }),
    'no-creds': { ...FLAG, describe: 'use no credentials' },
    'tls-verify': {
      ...FLAG,
      shown: 'tls-verify=false',
      describe: 'accept any certificate, and plain HTTP',
    },
    insecure: { ...FLAG, hidden: true, describe: 'the same, as crane has it' },
    'insecure-policy': { ...FLAG, hidden: true, describe: 'accepted: imgconv has no signature policies' },
    ...Object.fromEntries(sides.flatMap((side) => Object.entries(optionsOf(side)))),
    'retry-times': { ...VALUE, value: 'n', describe: 'retries after a network failure (default: 3)' },
    'retry-delay': {
      ...VALUE,
      value: 'time',
      describe: 'wait before the first retry, such as 2s or 500ms (default: 1s)',
    },
    'registry-mirror': {
      ...REPEATABLE,
      value: 'host=url',
      describe: 'pull from this mirror of a registry first',
    },
    'allow-http-credentials': { ...FLAG, describe: 'send credentials over plain HTTP to other machines' },
  });
}

function optionsOf(side: Side): OptionTable {
  const whose = side === 'src' ? 'of the source' : 'of the target';
  return {
    [`${side}-authfile`]: { ...VALUE, value: 'file', describe: `credentials ${whose}` },
    [`${side}-creds`]: { ...REPEATABLE, value: '[host=]user:password', describe: `credentials ${whose}` },
    [`${side}-no-creds`]: { ...FLAG, describe: `use no credentials ${whose}` },
    [`${side}-registry-token`]: { ...REPEATABLE, value: '[host=]token', describe: `bearer token ${whose}` },
    [`${side}-cert-dir`]: {
      ...VALUE,
      value: 'folder',
      describe: `CAs (*.crt) and client certificate (*.cert, *.key) ${whose}`,
    },
    [`${side}-tls-verify`]: {
      ...FLAG,
      shown: `${side}-tls-verify=false`,
      describe: `accept any certificate, and plain HTTP, ${whose}`,
    },
  };
}

/** The sides that an option of registries is for, by its name in camel case; none for other options. */
function sidesOf(name: string): readonly Side[] {
  if (!REGISTRY_OPTIONS.has(name)) return [];
  if (name === 'registryMirror') return ['src'];
  if (name === 'insecurePolicy') return [];
  const side = SIDES.find((one) => name.startsWith(one));
  return side === undefined ? SIDES : [side];
}

/** What is wrong with the first of the options given that is for a registry where there is none; and what to do. */
export function strayRegistryOption(
  args: RegistryArguments,
  formats: Readonly<Partial<Record<Side, Format>>>,
): readonly [what: string, hint: string] | undefined {
  for (const name of Object.keys(args)) {
    const sides = sidesOf(name);
    const places = sides.flatMap((side) => formats[side] ?? []);
    if (sides.length === 0 || places.some(({ registry }) => registry !== undefined)) continue;
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const prefixes = [...new Set(places.map(prefixOf))];
    const said =
      prefixes.length > 1 ? `neither ${prefixes.join(' nor ')} is a` : `${prefixes.join('')} is no`;
    const registries = FORMATS.filter(({ registry }) => registry !== undefined).map(prefixOf);
    return [`${option}: ${said} registry`, `leave it out; it is for ${registries.join(' ')}`];
  }
  return undefined;
}

const REGISTRY_OPTIONS = new Set(Object.keys(registryOptions(SIDES)).map(camelCase));

/** For one side, its places, and what is wanted of them. @throws ImgconvError USAGE */
export function accessOf(
  args: RegistryArguments,
  side: Side,
  places: Place | readonly Place[],
  wanted: readonly Pick<Selector, 'text'>[] = [],
): RegistryAccess {
  const mirrors = side === 'src' ? parseMirrors(args.registryMirror ?? []) : {};
  const texts = wanted.map(({ text }) => text);
  const hosts = new Set(
    [places].flat().flatMap(({ format, path }) => format.registry?.hostsOf(path, texts) ?? []),
  );
  return {
    authfile: args[`${side}Authfile`] ?? args.authfile,
    certDir: args[`${side}CertDir`],
    tlsVerify: args[`${side}TlsVerify`] ?? args.tlsVerify ?? (args.insecure === true ? false : undefined),
    anonymous: args[`${side}NoCreds`] ?? args.noCreds,
    retryTimes: parseCount('retry-times', args.retryTimes, 100, 0),
    retryDelay: parseDuration('retry-delay', args.retryDelay, { unit: 's', such: '2s or 500ms' }),
    mirrors,
    hosts: credentialsOf(args, side, [...hosts].sort(), Object.values(mirrors)),
    httpCredentials: args.allowHttpCredentials,
    ...saidOnStderr(),
    side,
  };
}

/** By the registry that each is for. @throws ImgconvError USAGE when that is not clear */
function credentialsOf(
  args: RegistryArguments,
  side: Side,
  hosts: readonly string[],
  mirrors: readonly string[],
): Record<string, HostAccess> {
  const known = [
    ...new Set([...hosts, ...mirrors.flatMap((url) => (URL.canParse(url) ? new URL(url).host : []))]),
  ];
  const found: Record<string, HostAccess> = {};
  for (const [option, field, texts] of [
    [`--${side}-creds`, 'creds', [...(args[`${side}Creds`] ?? []), ...(args.creds ?? [])]],
    [`--${side}-registry-token`, 'registryToken', args[`${side}RegistryToken`] ?? []],
  ] as const)
    for (const text of texts) {
      const { host, value } = ownerOf(text, option, hosts, known);
      if (Object.hasOwn(found[host] ?? {}, field))
        throw new ImgconvError('USAGE', `${option}: given twice for ${host}`, { hint: 'give it once' });
      found[host] = { ...found[host], [field]: value };
    }
  return found;
}

/** Whose a credential is: the host's before its `=`, else the only one's. What is wrong is said without it. */
function ownerOf(
  text: string,
  option: string,
  hosts: readonly string[],
  known: readonly string[],
): { readonly host: string; readonly value: string } {
  const what = option.endsWith('creds') ? 'USER:PASSWORD' : 'TOKEN';
  // What looks like a host is never taken for the beginning of a secret; `=` at the end of a token is base64's.
  const [, before = '', value] = /^([^=/@]*)=(=*[^=].*)$/s.exec(text) ?? [];
  const host = canonicalHost(before);
  if (value !== undefined && known.includes(host)) return { host, value };
  const refuse = (why: string): never => {
    throw new ImgconvError('USAGE', `${option}${why}`, {
      hint: `write ${option} HOST=${what}, once for each registry that needs it`,
    });
  };
  const [only, ...others] = hosts;
  if (only === undefined) return refuse(': this command names no registry');
  if (value !== undefined && splitHost(`${before}/`).host !== undefined && isHostName(before))
    return refuse(` HOST=${what}: this command does not use that host, but ${listed(known)}`);
  if (others.length > 0)
    return refuse(`: this command uses several registries, ${listed(hosts)}; name the one that it is for`);
  return { host: only, value: text };
}

/** Lists of references can name very many. */
function listed(hosts: readonly string[]): string {
  const shown = hosts.slice(0, MOST_HOSTS).join(', ');
  return hosts.length > MOST_HOSTS ? `${shown} and ${hosts.length - MOST_HOSTS} more` : shown;
}

const MOST_HOSTS = 10;

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
