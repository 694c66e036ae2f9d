import { spawn } from 'node:child_process';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { pathExists, readBytes } from '../../bytes/files.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { parseJson, parseSecret } from '../../model/json.js';
import { findProgram } from '../../storage/program.js';
import type { RegistryAccess } from '../access.js';

/** What authenticates to a registry; none of it must get into a message. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** An OAuth2 refresh token. */
  readonly identityToken?: string | undefined;
  /** A bearer token, to be used as it is. */
  readonly registryToken?: string | undefined;
  /** For messages: the option, the file, or the helper and the file that names it. */
  readonly from?: string | undefined;
}

const text = z.string().nullish();
const authSchema = z.object({
  auth: text,
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
});
const fileSchema = z.object({
  auths: z.record(z.string(), authSchema).nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: text,
});
/** Fields that messages may name; hosts and values may be misplaced secrets. */
const FIELDS = ['auths', 'credHelpers', 'credsStore', ...Object.keys(authSchema.shape)];
type AuthFile = z.infer<typeof fileSchema>;
const answerSchema = z.object({ Username: z.string(), Secret: z.string() });

/** Limits of a credential helper. */
const HELPER_MS = 60_000;
const HELPER_BYTES = 1024 * 1024;

/** Docker Hub in files of Docker's. */
const HUB = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const HUB_SERVER = 'https://index.docker.io/v1/';

function unusable(message: string, options: { readonly hint?: string; readonly cause?: unknown } = {}) {
  return new ImgconvError('UNAUTHORIZED', message, { hint: 'fix that field, or log in again', ...options });
}

/** Looks credentials up as containers-auth.json(5) says, and in Docker's own file. */
export class CredentialStore {
  readonly #access: RegistryAccess;
  readonly #found = new Map<string, Promise<Credentials | undefined>>();
  #files: readonly { readonly path: string; readonly content: AuthFile }[] | undefined;

  constructor(access: RegistryAccess) {
    this.#access = access;
  }

  /** Those of the most specific namespace that has some: `host/org/app`, `host/org`, `host`. @throws ImgconvError UNAUTHORIZED for an unusable file or helper */
  find(host: string, repository: string | undefined): Promise<Credentials | undefined> {
    const key = repository === undefined ? host : `${host}/${repository}`;
    const known = this.#found.get(key) ?? this.#find(host, key);
    this.#found.set(key, known);
    return known;
  }

  async #find(host: string, key: string): Promise<Credentials | undefined> {
    const { hosts = {}, side, anonymous = false } = this.#access;
    if (anonymous) return undefined;
    const given = (option: string, what: string) => (side === undefined ? what : `--${side}-${option}`);
    const { creds, registryToken } = (Object.hasOwn(hosts, host) && hosts[host]) || {};
    if (registryToken !== undefined) return { registryToken, from: given('registry-token', 'the caller') };
    if (creds !== undefined)
      return { ...(pairOf(creds) ?? { username: creds, password: '' }), from: given('creds', 'the caller') };
    this.#files ??= authFiles(this.#access).map((path) => ({ path, content: readAuthFile(path) }));
    for (const { path, content } of this.#files) {
      const found = await findIn(content, host, key, path);
      if (found !== undefined) return { from: path, ...found };
    }
    return undefined;
  }
}

/** `user:password`; undefined without a colon. */
function pairOf(pair: string): { username: string; password: string } | undefined {
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : { username: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

/** Files in their order of precedence; one that is named has to exist. */
function authFiles({ authfile }: RegistryAccess): string[] {
  const named = authfile ?? (process.env['REGISTRY_AUTH_FILE'] || undefined);
  if (named !== undefined) {
    if (pathExists(named)) return [named];
    throw new ImgconvError('USAGE', `${named}: no such file of credentials`);
  }
  const { XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG } = process.env;
  const runtime = XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'containers') : `/run/containers/${userInfo().uid}`;
  return [
    join(runtime, 'auth.json'),
    join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'containers/auth.json'),
    join(DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
  ].filter(pathExists);
}

function readAuthFile(path: string): AuthFile {
  try {
    return parseSecret(fileSchema, FIELDS, readBytes(path), path, 'UNAUTHORIZED');
  } catch (cause) {
    const { code, message } = asImgconvError(cause, path);
    throw new ImgconvError(code, `credentials cannot be read: ${message}`, {
      cause,
      hint: 'fix that file, or move it away and log in again',
    });
  }
}

async function findIn(
  { auths, credHelpers, credsStore }: AuthFile,
  host: string,
  key: string,
  path: string,
): Promise<Credentials | undefined> {
  const names = HUB.includes(host) ? HUB : [host];
  for (const name of names) {
    const helper = credHelpers?.[name];
    const server = name === 'docker.io' ? HUB_SERVER : name;
    const found = helper && (await askHelper(helper, server, `${path}: credHelpers, for ${name}`));
    if (found) return found;
  }
  const entries = new Map(Object.entries(auths ?? {}).map(([name, auth]) => [normalised(name), auth]));
  for (const wanted of namespaces(names, key.slice(host.length))) {
    const auth = entries.get(wanted);
    const found = auth && credentialsOf(auth, `${path}: auths.${wanted}`);
    if (found) return found;
  }
  if (!credsStore) return undefined;
  return askHelper(credsStore, HUB.includes(host) ? HUB_SERVER : host, `${path}: credsStore`);
}

/** From the most specific to the host alone. */
function* namespaces(hosts: readonly string[], below: string): Generator<string> {
  for (let rest = below; ; rest = rest.slice(0, rest.lastIndexOf('/'))) {
    for (const host of hosts) yield `${host}${rest}`;
    if (rest === '') return;
  }
}

/** `docker login` writes URLs: `https://index.docker.io/v1/`. */
function normalised(name: string): string {
  const [bare = ''] = name.replace(/^https?:\/\//, '').split(/\/v[12]\/?$/);
  return bare.replace(/\/+$/, '');
}

function credentialsOf(entry: z.infer<typeof authSchema>, where: string): Credentials | undefined {
  if (entry.registrytoken) return { registryToken: entry.registrytoken };
  let { username, password } = entry;
  if (entry.auth) {
    const pair = pairOf(Buffer.from(entry.auth, 'base64').toString());
    if (pair === undefined) throw unusable(`${where}.auth: not user:password in base64`);
    ({ username, password } = pair);
    // Docker pads with NULs.
    password = password.replace(/\0+$/, '');
  }
  if (entry.identitytoken) return { username: username ?? undefined, identityToken: entry.identitytoken };
  return username ? { username, password: password ?? '' } : undefined;
}

/**
 * `docker-credential-<name> get`, the host on stdin (docker/docker-credential-helpers); undefined when it has none. Its
 * error output is not passed on: it may hold secrets. Nor is the name of a missing helper, which may be a misplaced secret.
 * `where`: the file and the field.
 */
async function askHelper(name: string, server: string, where: string): Promise<Credentials | undefined> {
  if (!/^\w[\w.-]*$/.test(name)) throw unusable(`${where}: it is no name of a credential helper`);
  const program = `docker-credential-${name}`;
  const path = findProgram(program);
  if (path === undefined)
    throw unusable(`${where}: the credential helper that it names is not in the search path`, {
      hint: 'install docker-credential-NAME, or take the field out of the file',
    });
  const { status, output } = await runHelper(path, server);
  if (status !== 0) {
    if (/credentials not found/i.test(output.toString('latin1'))) return undefined;
    throw unusable(`${program} get, asked for ${server}: exit status ${String(status)}`);
  }
  const parsed = answerSchema.safeParse(tryJson(output));
  if (!parsed.success)
    throw unusable(`${program} get, asked for ${server}: not the JSON that it should print`);
  const { Username, Secret } = parsed.data;
  const from = `${program}, which ${where.replace(/: .*$/s, '')} names`;
  return Username === '<token>'
    ? { identityToken: Secret, from }
    : { username: Username, password: Secret, from };
}

function tryJson(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, '');
  } catch {
    return undefined;
  }
}

function runHelper(program: string, server: string): Promise<{ status: number | null; output: Buffer }> {
  return new Promise((resolve, reject) => {
    // With the whole environment: helpers of clouds take their own credentials from it.
    const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], timeout: HELPER_MS });
    const parts: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (part: Buffer) => {
      if ((size += part.length) > HELPER_BYTES) child.kill();
      else parts.push(part);
    });
    child.on('error', (cause) => {
      reject(unusable(`${program}: cannot be run`, { cause }));
    });
    child.on('close', (status) => {
      resolve({ status, output: Buffer.concat(parts) });
    });
    child.stdin.on('error', () => undefined); // It may end without reading.
    child.stdin.end(server);
  });
}
