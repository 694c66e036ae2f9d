import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Duplex, Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { pathExists, readBytes } from '../../bytes/files.js';
import { digestOf } from '../../bytes/hash.js';
import { ImgconvError } from '../../model/errors.js';
import { fieldsOf, inOwnCase, parseJson, parseSecret, parseWith } from '../../model/json.js';
import { findProgram } from '../../storage/program.js';

/** Contents of PEM files; without `ca` the CAs of Node.js are trusted. */
export interface EngineTls {
  readonly ca?: Buffer | undefined;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
  /** False accepts any certificate of the server. */
  readonly verify: boolean;
  /** Where the files are looked for. */
  readonly folder: string;
}

export interface SshAddress {
  readonly kind: 'ssh';
  readonly user: string | undefined;
  readonly host: string;
  readonly port: string | undefined;
  /** On that host; undefined for the engine that `docker` uses there. */
  readonly socket: string | undefined;
}

export type EngineAddress =
  | { readonly kind: 'unix'; readonly socketPath: string }
  | {
      readonly kind: 'tcp';
      /** IPv6 without brackets. */
      readonly host: string;
      readonly port: number;
      /** Before the path of each request: empty or `/…`. */
      readonly basePath: string;
      readonly tls: EngineTls | undefined;
    }
  | SshAddress;

/** Where an engine listens, and what says so. */
export type EngineEndpoint = EngineAddress & {
  /** `unix:///var/run/docker.sock` */
  readonly url: string;
  /** For messages: the variable, or the context and what selects it; undefined for the default. */
  readonly from: string | undefined;
};

const DEFAULT_SOCKET = '/var/run/docker.sock';
const configSchema = z.object({ currentContext: z.string().nullish() });
const dockerSchema = z.object({ Host: z.string().nullish(), SkipTLSVerify: z.boolean().nullish() });
const contextSchema = z.object({ Endpoints: z.object({ docker: dockerSchema }) });

/** The address, and where it comes from if it is not the default. */
export function describeEndpoint({ url, from }: Pick<EngineEndpoint, 'url' | 'from'>): string {
  return from === undefined ? url : `${url} (from ${from})`;
}

/**
 * The engine that the `docker` command uses: of DOCKER_HOST, else of the context DOCKER_CONTEXT, else of `currentContext`
 * in `$DOCKER_CONFIG/config.json`, else at the default socket (docker/cli cli/command/cli.go resolveContextName). A
 * context has its own TLS files (cli/context/docker/load.go); otherwise DOCKER_TLS_VERIFY, DOCKER_TLS and
 * DOCKER_CERT_PATH count (cli/flags/options.go).
 * @throws ImgconvError USAGE for an address that cannot be used, NOT_FOUND for a missing context or CA, DOCUMENT_INVALID
 * for a config.json or meta.json that cannot be parsed
 */
export function engineEndpoint(environment: NodeJS.ProcessEnv = process.env): EngineEndpoint {
  const config = environment['DOCKER_CONFIG'] || join(environment['HOME'] || homedir(), '.docker');
  const host = environment['DOCKER_HOST'];
  const [name, by] = host ? ['', ''] : selectedContext(environment['DOCKER_CONTEXT'], config);
  // The name of what is no context.
  if (name !== '' && name !== 'default') return contextEndpoint(config, name, by);
  const readTls = tlsOfEnvironment(environment, config);
  const usual = readTls === undefined ? `unix://${DEFAULT_SOCKET}` : 'tcp://localhost:2376';
  return parseEndpoint(host?.trim() || usual, host ? 'DOCKER_HOST' : undefined, readTls);
}

function selectedContext(variable: string | undefined, config: string): [name: string, by: string] {
  const file = join(config, 'config.json');
  if (variable) return [variable, 'DOCKER_CONTEXT'];
  if (!pathExists(file)) return ['', ''];
  // The file may also hold passwords.
  const fields = Object.keys(configSchema.shape);
  const parsed = parseSecret(configSchema, fields, readBytes(file), file, 'DOCUMENT_INVALID');
  return [parsed.currentContext ?? '', file];
}

/** A context lies in folders named by the SHA-256 of its name (docker/cli cli/context/store/store.go contextdirOf). */
function contextEndpoint(config: string, name: string, by: string): EngineEndpoint {
  const id = digestOf(Buffer.from(name)).slice('sha256:'.length);
  const from = `context ${JSON.stringify(name)}, set by ${by}`;
  const file = join(config, 'contexts/meta', id, 'meta.json');
  if (!pathExists(file))
    throw new ImgconvError('NOT_FOUND', `${from}: there is no such context: no ${file}`, {
      hint: 'set DOCKER_CONTEXT to a context that `docker context ls` lists, or DOCKER_HOST to an address',
    });
  const content = parseJson(readBytes(file), file, 'DOCUMENT_INVALID');
  const json = inOwnCase(content, fieldsOf('Endpoints'), file);
  const { docker } = parseWith(contextSchema, json, file, 'DOCUMENT_INVALID').Endpoints;
  const verify = docker.SkipTLSVerify !== true;
  const folder = join(config, 'contexts/tls', id, 'docker');
  const readTls = verify && !pathExists(folder) ? undefined : () => tlsOf(folder, verify);
  return parseEndpoint(docker.Host?.trim() || `unix://${DEFAULT_SOCKET}`, from, readTls);
}

/** Undefined without TLS. The variables enable it if they are not empty, whatever their value is. */
function tlsOfEnvironment(env: NodeJS.ProcessEnv, config: string): (() => EngineTls) | undefined {
  const verify = Boolean(env['DOCKER_TLS_VERIFY']);
  if (!verify && !env['DOCKER_TLS']) return undefined;
  const folder = env['DOCKER_CERT_PATH'] || config;
  return () => {
    const tls = tlsOf(folder, verify);
    if (tls.ca !== undefined || !verify) return tls;
    throw new ImgconvError(
      'NOT_FOUND',
      `${join(folder, 'ca.pem')}: no such file, and DOCKER_TLS_VERIFY is set`,
      {
        hint: 'set DOCKER_CERT_PATH to the folder that has ca.pem, cert.pem and key.pem',
      },
    );
  };
}

function tlsOf(folder: string, verify: boolean): EngineTls {
  const files = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => join(folder, name));
  const [ca, cert, key] = files.map((file) => (pathExists(file) ? readBytes(file) : undefined));
  return { ca, cert, key, verify, folder };
}

/** Reads what docker/cli opts/hosts.go does, and http:// and https://. TLS files are read for TCP alone. */
function parseEndpoint(
  address: string,
  from: string | undefined,
  readTls: (() => EngineTls) | undefined,
): EngineEndpoint {
  // A password is refused, and must not get into the message.
  const url = address.replace(/^([^/]*:\/\/[^/@:]*):[^/@]*@/, '$1:…@');
  const refuse = (why: string) =>
    new ImgconvError('USAGE', `${describeEndpoint({ url, from })}: ${why}`, {
      hint: 'an engine has an address such as unix:///var/run/docker.sock, tcp://HOST:2376 or ssh://USER@HOST',
    });
  if (address.startsWith('/')) throw refuse('the address of a socket begins with unix://');
  const [, scheme = 'tcp', rest = ''] = /^(?:([^/]*?):\/\/)?(.*)$/s.exec(address) ?? [];
  switch (scheme) {
    case 'unix':
      return { kind: 'unix', socketPath: rest || DEFAULT_SOCKET, url, from };
    case 'tcp':
    case 'http':
    case 'https':
      return { ...parseTcp(scheme, rest, readTls, refuse), url, from };
    case 'ssh':
      return { ...parseSsh(rest, refuse), url, from };
    default:
      throw refuse(`${scheme}:// is not supported`);
  }
}

function parseTcp(
  scheme: 'tcp' | 'http' | 'https',
  rest: string,
  readTls: (() => EngineTls) | undefined,
  refuse: (why: string) => ImgconvError,
): EngineAddress {
  const [all, v6, name, port = '', basePath = ''] =
    /^(?:\[([\w:.%]+)\]|([\w.-]*))(?::(\d*))?(\/[^?#\s]*)?$/.exec(rest) ?? [];
  if (all === undefined || Number(port) > 65_535) throw refuse('it is not HOST:PORT');
  const tls = scheme === 'https' ? { verify: true, folder: 'the folder of DOCKER_CERT_PATH' } : undefined;
  return {
    kind: 'tcp',
    host: v6 ?? (name || 'localhost'),
    port: Number(port) || { tcp: 2375, http: 80, https: 443 }[scheme],
    basePath: basePath.replace(/\/+$/, ''),
    tls: readTls?.() ?? tls,
  };
}

/**
 * User and host become arguments of ssh, and ssh_config(5) may put them into shell commands (CVE-2023-51385): they are
 * plain words, and none begins with `-` as options do.
 */
function parseSsh(rest: string, refuse: (why: string) => ImgconvError): SshAddress {
  const [all, user, v6, name, port, path = ''] =
    /^(?:([^@/]*)@)?(?:\[([^\]/]*)\]|([^:/]*))(?::(\d+))?(\/[^?#\u0000-\u001f\u007f]*)?$/.exec(rest) ?? [];
  const host = v6 ?? name;
  if (all === undefined || host === undefined) throw refuse('it is not ssh://USER@HOST:PORT/SOCKET');
  if (user?.includes(':') === true) throw refuse('an ssh:// address must not have a password');
  if (![host, user ?? 'none'].every((one) => /^[\w.:%+][\w.:%+-]*$/.test(one)))
    throw refuse('the user and the host must be plain names that do not begin with "-"');
  return { kind: 'ssh', user, host, port, socket: /^\/*$/.test(path) ? undefined : path };
}

/** What ssh is run with (docker/cli cli/connhelper/connhelper.go and cli/connhelper/ssh/ssh.go). */
export function sshArguments({ user, host, port, socket }: SshAddress): string[] {
  // One word to the shell of that host, which runs the command.
  const option = socket === undefined ? '' : ` '--host=unix://${socket.replaceAll("'", `'\\''`)}'`;
  return [
    ...(user === undefined ? [] : ['-l', user]),
    ...(port === undefined ? [] : ['-p', port]),
    ...['-o', 'ConnectTimeout=30', '-T', '--', host],
    `docker${option} system dial-stdio`,
  ];
}

/** Opens the connections to an engine; `destroy` ends them. @throws ImgconvError NETWORK if there is no ssh */
export function agentFor(endpoint: EngineEndpoint): Agent {
  if (endpoint.kind === 'ssh') return new SshAgent(endpoint);
  if (endpoint.kind === 'unix' || endpoint.tls === undefined) return new Agent();
  const { ca, cert, key, verify } = endpoint.tls;
  return new TlsAgent({
    ...(ca && { ca }),
    ...(cert && key && { cert, key }),
    ...{ rejectUnauthorized: verify, minVersion: 'TLSv1.2' },
  });
}

/** Each connection is a process of ssh. */
class SshAgent extends Agent {
  readonly #start: () => ChildProcessWithoutNullStreams;

  constructor(endpoint: EngineEndpoint & SshAddress) {
    super({ keepAlive: true });
    const ssh = findProgram('ssh');
    if (ssh === undefined) throw unreachable(endpoint, new Error('there is no ssh in the search path'));
    // Its own session, as in docker/cli: a terminal's Ctrl-C ends us first.
    this.#start = () => spawn(ssh, sshArguments(endpoint), { detached: true });
  }

  override createConnection(): Duplex {
    const child = this.#start();
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (words: string) => (said = (said + words).slice(-4096)));
    const ended = new Promise<number | Error | null>((resolve) =>
      child.on('exit', resolve).on('error', resolve),
    );
    async function* output() {
      yield* child.stdout;
      const status = await ended;
      if (status === 0) return;
      // A master process of ssh (ControlPersist) keeps stderr open.
      await Promise.race([finished(child.stderr), sleep(200)]);
      throw new Error(said.trim().split(/\s*\n/).slice(-3).join('; ') || `it ended with ${String(status)}`);
    }
    // That it ended is said by `output`, with the reason.
    child.stdin.on('error', () => undefined);
    const writable = new Writable({
      write: (chunk, _, done) =>
        void child.stdin.write(chunk, (error) => {
          if (!error) done();
        }),
      final: (done) => void child.stdin.end(done),
    });
    const readable = Readable.from(output(), { objectMode: false });
    const connection = Duplex.from({ readable, writable });
    const ignored = () => connection;
    // What http.Agent calls on connections that are kept.
    Object.assign(connection, { setKeepAlive: ignored, setTimeout: ignored, ref: ignored, unref: ignored });
    return connection.once('close', () => child.kill());
  }
}

const START =
  'start the engine (systemctl start docker), or read the images of a stopped one as docker-root:/var/lib/docker';
const TLS_OFF = 'unset DOCKER_TLS_VERIFY and DOCKER_TLS, or use the port for TLS (usually 2376)';
const TLS_ON = 'for an engine with TLS set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH';
const JOIN = 'run this as root, or join the group of the socket (usermod -aG docker USER) and log in again';
/** By kind of endpoint, code and message of the failure; the first counts. `%` is the message. */
const REASONS: readonly (readonly [failure: RegExp, what: string, hint: string])[] = [
  [/^unix (?:EACCES|EPERM) /, 'permission denied: you may not use the socket', JOIN],
  [/^unix ENOENT /, 'there is no such socket', START],
  [/^unix ECONNREFUSED /, 'nothing listens on the socket', START],
  [/^ssh /, 'ssh failed: %', 'check that this works: ssh HOST docker system dial-stdio'],
  [/wrong version number|packet length too long/, 'the engine speaks plain HTTP, not TLS', TLS_OFF],
  [/^\w+ HPE_/, 'the answer is not HTTP', TLS_ON],
  [
    /CERT|SELF_SIGNED|UNABLE_TO_|ERR_(?:SSL|TLS|OSSL)/,
    'TLS fails: %',
    'check ca.pem, cert.pem and key.pem in ',
  ],
  [/ (?:ECONNRESET|EPIPE) /, 'the connection broke off (%)', 'its log may say why (journalctl -u docker)'],
  [/^/, '%', 'check that the engine runs and listens there, then the network'],
];

/** What a failed connection to the engine means. */
export function unreachable(endpoint: EngineEndpoint, cause: unknown): ImgconvError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const why = (cause instanceof Error && cause.message) || code || String(cause);
  const [, what = '', hint = ''] = REASONS.find(([one]) => one.test(`${endpoint.kind} ${code} ${why}`)) ?? [];
  const folder = endpoint.kind === 'tcp' && hint.endsWith(' in ') ? endpoint.tls?.folder : '';
  return new ImgconvError('NETWORK', `${describeEndpoint(endpoint)}: ${what.replace('%', () => why)}`, {
    ...{ cause, hint: `${hint}${folder ?? ''}` },
  });
}
