import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { homedir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { isObject, parseJson } from '../model/json.js';
import { findProgram } from '../storage/program.js';

export interface Pair {
  readonly username: string;
  readonly password: string;
}

/** Docker's key of Docker Hub, and that of podman. */
const HUB = ['https://index.docker.io/v1/', 'docker.io', 'index.docker.io'];

/** Where logins are kept, the first that counts first: podman's files, then Docker's. */
export function loginFiles(named: string | undefined): readonly string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG } = process.env;
  const only = named ?? (REGISTRY_AUTH_FILE || undefined);
  if (only !== undefined) return [only];
  return [
    join(
      XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'containers') : `/run/containers/${userInfo().uid}`,
      'auth.json',
    ),
    join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'containers/auth.json'),
    join(DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
  ];
}

/**
 * The file that a login goes to: the one that has the registry already, else Docker's if there is one, else podman's.
 */
export function fileFor(host: string, files: readonly string[]): string {
  const [first = ''] = files;
  const known = files.find((path) => keysOf(host).some((key) => hasKey(path, key)));
  const docker = files.length > 1 ? files.at(-1) : undefined;
  return known ?? (docker !== undefined && existsSync(docker) ? docker : first);
}

function keysOf(host: string): readonly string[] {
  return HUB.includes(host) ? HUB : [host];
}

function hasKey(path: string, key: string): boolean {
  return existsSync(path) && Object.hasOwn(fieldOf(readFile(path), 'auths'), key);
}

type Document = Record<string, unknown>;

function readFile(path: string): Document {
  if (!existsSync(path)) return {};
  try {
    const document = parseJson(readFileSync(path), path);
    if (isObject(document)) return document;
  } catch (cause) {
    throw new ImgconvError('UNAUTHORIZED', `${path}: not JSON, so nothing is written into it`, {
      cause: asImgconvError(cause),
      hint: 'fix that file, or move it away and log in again',
    });
  }
  throw new ImgconvError('UNAUTHORIZED', `${path}: not a JSON object, so nothing is written into it`, {
    hint: 'fix that file, or move it away and log in again',
  });
}

function fieldOf(document: Document, name: string): Document {
  const value = document[name];
  return isObject(value) ? value : {};
}

/** The helper that a file names for a registry: `credHelpers`, else `credsStore`. */
function helperOf(document: Document, host: string): string | undefined {
  const own = keysOf(host).map((key) => fieldOf(document, 'credHelpers')[key]);
  const helper = [...own, document['credsStore']].find((one) => typeof one === 'string' && one !== '');
  return typeof helper === 'string' ? helper : undefined;
}

/** Stores a login. Gives where: a file, or a credential helper. @throws ImgconvError */
export function storeLogin(path: string, host: string, { username, password }: Pair): string {
  const document = readFile(path);
  const [key = host] = keysOf(host);
  const helper = helperOf(document, host);
  if (helper !== undefined) {
    askHelper(helper, 'store', JSON.stringify({ ServerURL: key, Username: username, Secret: password }));
    return `docker-credential-${helper}`;
  }
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  writeFile(path, { ...document, auths: { ...fieldOf(document, 'auths'), [key]: { auth } } });
  return path;
}

/** Removes a login. Gives where it was: the file, its helper, or both; nothing where there was none. @throws ImgconvError */
export function removeLogin(path: string, host: string): readonly string[] {
  if (!existsSync(path)) return [];
  const document = readFile(path);
  const removed: string[] = [];
  const helper = helperOf(document, host);
  const [server = host] = keysOf(host);
  if (helper !== undefined && askHelper(helper, 'get', server) !== undefined) {
    askHelper(helper, 'erase', server);
    removed.push(`docker-credential-${helper}`);
  }
  const auths = Object.entries(fieldOf(document, 'auths'));
  const kept = auths.filter(([key]) => !keysOf(host).includes(key));
  if (kept.length < auths.length) writeFile(path, { ...document, auths: Object.fromEntries(kept) });
  return kept.length < auths.length ? [...removed, path] : removed;
}

/** The registries that a file has logins for. */
export function loginsIn(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  const document = readFile(path);
  const own = Object.keys(fieldOf(document, 'credHelpers'));
  const store = document['credsStore'];
  const stored = typeof store === 'string' && store !== '' ? askHelper(store, 'list', '') : undefined;
  const listed = stored === undefined ? {} : parseJson(stored, store as string);
  return [
    ...new Set([
      ...Object.keys(fieldOf(document, 'auths')),
      ...own,
      ...Object.keys(isObject(listed) ? listed : {}),
    ]),
  ];
}

/** In one step, for this user alone; a symbolic link stays one. */
function writeFile(path: string, document: Document): void {
  const target = followed(path);
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  const staged = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(staged, `${JSON.stringify(document, undefined, '\t')}\n`, {
      mode: 0o600,
      flag: 'wx',
      flush: true,
    });
    renameSync(staged, target);
  } catch (error) {
    rmSync(staged, { force: true });
    throw asImgconvError(error, target);
  }
}

/** Where a path leads; a link may lead to what is not there yet. */
function followed(path: string): string {
  const link = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return link ? followed(resolve(dirname(path), readlinkSync(path))) : path;
}

/** docker/docker-credential-helpers: a document or a server on stdin. What it prints may hold secrets, and is not shown. */
function askHelper(
  name: string,
  verb: 'store' | 'get' | 'erase' | 'list',
  input: string,
): Buffer | undefined {
  const program = `docker-credential-${name}`;
  const path = /^\w[\w.-]*$/.test(name) ? findProgram(program) : undefined;
  if (path === undefined)
    throw new ImgconvError(
      'UNAUTHORIZED',
      'the credential helper that the auth file names is not in the search path',
      { hint: 'install docker-credential-NAME, or take the field out of the file' },
    );
  const stdio = ['pipe', 'pipe', 'ignore'] as const;
  const { status, stdout } = spawnSync(path, [verb], { input, stdio: [...stdio], timeout: 30_000 });
  if (status === 0) return stdout;
  if (verb === 'get') return undefined;
  throw new ImgconvError('UNAUTHORIZED', `${program} ${verb}: exit status ${status ?? 'unknown'}`, {
    hint: 'run the helper by hand to see why, or take it out of the auth file',
  });
}
