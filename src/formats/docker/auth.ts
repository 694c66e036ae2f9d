import * as z from 'zod';
import { Transient } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import { parseSecret } from '../../model/json.js';
import { parseChallenges, type Challenge } from './challenge.js';
import type { Credentials, CredentialStore } from './credentials.js';
import { isLoopback } from './tls.js';
import { saidBy, SHOWN } from './said.js';
import { urlText, type Answer, type Transport } from './transport.js';

/** https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/ */
const tokenSchema = z.object({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  refresh_token: z.string().nullish(),
  expires_in: z.number().nullish(),
});
const MAX_TOKEN = 1024 * 1024;
/** What the specification says that a token lasts when nothing else is said, in seconds. */
const LIFETIME = 60;
/** A token is not used in the last part of its life: the request has to get there. */
const SAFE_PART = 0.8;
const CLIENT_ID = 'imgconv';

interface Token {
  readonly value: string;
  /** In milliseconds of the clock of this machine: the server's may be wrong. */
  readonly until: number;
}

/** What the user allows beyond HTTPS and this machine. */
interface Allowed {
  /** A realm in plain HTTP. */
  readonly plainHttp: boolean;
  /** Credentials in plain HTTP. */
  readonly httpCredentials: boolean;
  /** For hints: how else to give some. */
  readonly credentials: string;
}

/**
 * Authenticates the requests to one registry: Basic, or Bearer with tokens from the realm that the registry's challenge
 * names. Secrets go only to the registry and to that realm, and over plain HTTP only if that is allowed.
 */
export class Authenticator {
  readonly #host: string;
  readonly #transport: Transport;
  readonly #credentials: CredentialStore;
  readonly #allowed: Allowed;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();
  readonly #secrets = new Set<string>();
  #tried: Credentials | undefined;

  constructor(host: string, transport: Transport, credentials: CredentialStore, allowed: Allowed) {
    this.#host = host;
    this.#transport = transport;
    this.#credentials = credentials;
    this.#allowed = allowed;
  }

  /** The value of an `Authorization` header; undefined before the registry asks for one. `scopes`: `repository:<name>:pull`. */
  async header(scopes: readonly string[], registry: URL): Promise<string | undefined> {
    const credentials = this.#isSafe(registry) ? await this.#find(repositoryOf(scopes)) : undefined;
    if (credentials?.registryToken !== undefined) return `Bearer ${credentials.registryToken}`;
    const challenge = this.#challenge;
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return this.#basic(credentials);
    const key = keyOf(scopes);
    const known = this.#tokens.get(key);
    const until = await known?.then((token) => token.until).catch(() => 0);
    const fetching =
      known !== undefined && until !== undefined && until > Date.now()
        ? known
        : this.#fetchToken(challenge, scopes, credentials);
    this.#tokens.set(key, fetching);
    return `Bearer ${(await fetching).value}`;
  }

  #basic(credentials: Credentials | undefined): string | undefined {
    if (credentials?.username === undefined) return undefined;
    const pair = Buffer.from(`${credentials.username}:${credentials.password ?? ''}`).toString('base64');
    this.#keepSecret(pair);
    return `Basic ${pair}`;
  }

  /** Others can read plain HTTP, and anyone may answer it. */
  #isSafe(to: URL): boolean {
    return to.protocol === 'https:' || isLoopback(to.hostname) || this.#allowed.httpCredentials;
  }

  /** Which account was refused, and what to do about it; of a 403 the account is known. `said`: the registry's words. */
  refused(status: number, where: string, said: string, sentTo: URL): ImgconvError {
    const answer = `status ${status}${said && `: ${said}`}`;
    const login = `imgconv login ${this.#host}`;
    if (!this.#isSafe(sentTo))
      return new ImgconvError('UNAUTHORIZED', `${where}: ${answer}`, {
        hint: 'credentials are not sent over plain HTTP unless --allow-http-credentials is given',
      });
    const tried = this.#tried;
    if (tried === undefined)
      return new ImgconvError(
        'UNAUTHORIZED',
        `${where}: ${answer}; no credentials for ${this.#host} were found`,
        {
          hint: `${login} (or docker login, podman login), or give ${this.#allowed.credentials}`,
        },
      );
    const who = tried.username === undefined ? 'the token' : `the account ${JSON.stringify(tried.username)}`;
    const account = `${who}${tried.from === undefined ? '' : ` from ${tried.from}`}`;
    return new ImgconvError('UNAUTHORIZED', `${where}: ${answer}; tried ${account}`, {
      hint:
        status === 403
          ? 'the registry knows the account, which lacks the right for this: ask who runs the registry, or use another account'
          : `the registry refuses the account: check its name and password, then ${login}`,
    });
  }

  async #find(repository: string | undefined): Promise<Credentials | undefined> {
    const found = await this.#credentials.find(this.#host, repository);
    for (const secret of [found?.password, found?.identityToken, found?.registryToken])
      if (secret) this.#keepSecret(secret);
    this.#tried = found;
    return found;
  }

  /**
   * Takes the challenge of a refused request. False when there is none that was not tried with these scopes.
   * @throws ImgconvError UNAUTHORIZED for a realm that secrets must not go to
   */
  challenged(answer: Answer, scopes: readonly string[], tried: string | undefined): boolean {
    const challenges = parseChallenges(answer.header('www-authenticate') ?? '');
    const [challenge] = ['bearer', 'basic'].flatMap((known) =>
      challenges.filter(({ scheme }) => scheme === known),
    );
    if (challenge === undefined || tried?.startsWith('Basic ')) return false;
    if (challenge.scheme === 'bearer') {
      this.#realmOf(challenge, answer.url);
      this.#tokens.delete(keyOf(scopes));
    }
    this.#challenge = { ...challenge, parameters: { ...challenge.parameters, registry: answer.url.href } };
    return true;
  }

  /**
   * Where tokens come from. As with Docker, that may be any host over TLS. Plain HTTP is for registries in plain HTTP,
   * and then for realms on this machine, or with --tls-verify=false.
   */
  #realmOf({ parameters }: Challenge, registry: URL): URL {
    let realm: URL;
    try {
      realm = new URL(parameters['realm'] ?? '');
    } catch (cause) {
      throw this.#refusal(`${urlText(registry)}: names no realm to get a token from`, cause);
    }
    const plain =
      registry.protocol === 'http:' &&
      realm.protocol === 'http:' &&
      (this.#allowed.plainHttp || isLoopback(realm.hostname));
    if (realm.username !== '' || realm.password !== '' || (realm.protocol !== 'https:' && !plain))
      throw this.#refusal(
        `${urlText(registry)}: tokens are not asked for at ${this.redact(urlText(realm))}: it is not https`,
      );
    return realm;
  }

  #refusal(message: string, cause?: unknown): ImgconvError {
    return new ImgconvError('UNAUTHORIZED', message, cause === undefined ? {} : { cause });
  }

  async #fetchToken(
    challenge: Challenge,
    scopes: readonly string[],
    credentials: Credentials | undefined,
  ): Promise<Token> {
    const { service, scope, registry = '' } = challenge.parameters;
    const realm = this.#realmOf(challenge, new URL(registry));
    // A registry may have other scopes than the specification's, and then says so.
    const wanted = scopes.length > 0 ? scopes : (scope ?? '').split(' ').filter(Boolean);
    const shown = this.#isSafe(realm) ? credentials : undefined;
    const answer = await this.#ask(realm, service, wanted, shown).catch((error: unknown) => {
      throw this.redacted(error);
    });
    const { where } = answer;
    if (answer.status !== 200) {
      // What is no error may hold a token.
      const isError = answer.status >= 400;
      const words = isError ? this.redact(await saidBy(answer)).slice(0, SHOWN) : '';
      if (!isError) await answer.discard();
      const none = `${where}: gives no token for ${wanted.join(' ') || this.#host}`;
      if (answer.status < 500 && answer.status !== 429) throw this.refused(answer.status, none, words, realm);
      throw new ImgconvError('REGISTRY', `${none}: status ${answer.status}${words && `: ${words}`}`);
    }
    const body = await answer.read(MAX_TOKEN);
    const content = parseSecret(tokenSchema, Object.keys(tokenSchema.shape), body, where, 'REGISTRY');
    const value = content.token || content.access_token;
    if (!value || !/^[\x21-\x7e]+$/.test(value))
      throw new ImgconvError('REGISTRY', `${where}: an answer without a token`);
    this.#keepSecret(value);
    const lifetime = content.expires_in && content.expires_in > 0 ? content.expires_in : LIFETIME;
    return { value, until: Date.now() + lifetime * 1000 * SAFE_PART };
  }

  /**
   * Basic credentials, or none, for a token (distribution "Token Authentication Specification"), or an identity token
   * ("OAuth2 Token Authentication").
   */
  #ask(
    realm: URL,
    service: string | undefined,
    scopes: readonly string[],
    credentials: Credentials | undefined,
  ): Promise<Answer> {
    const where = this.redact(urlText(realm));
    if (credentials?.identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        client_id: CLIENT_ID,
        refresh_token: credentials.identityToken,
        scope: scopes.join(' '),
        ...(service !== undefined && { service }),
      });
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return this.#transport.send(realm, { method: 'POST', headers, body: () => form.toString() }, where);
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const authorization = this.#basic(credentials);
    if (credentials?.username !== undefined) url.searchParams.set('account', credentials.username);
    const headers = authorization === undefined ? {} : { authorization };
    return this.#transport.send(url, { method: 'GET', headers }, where);
  }

  /** A server may repeat it, also in a URL: hosts are lower case there, and paths are escaped. */
  #keepSecret(secret: string): void {
    for (const form of [secret, encodeURIComponent(Buffer.from(secret).toString())])
      this.#secrets.add(form).add(form.toLowerCase());
  }

  /** What a server says, without secrets. */
  redact(text: string): string {
    let redacted = text;
    for (const secret of this.#secrets) redacted = redacted.replaceAll(secret, '***');
    return redacted;
  }

  /** A failure whose message would show a secret is replaced, without its cause. */
  redacted(failure: unknown): unknown {
    const error = failure instanceof Transient ? failure.error : failure;
    if (!(error instanceof ImgconvError)) return failure;
    const texts = [error.message, error.cause instanceof Error ? error.cause.message : ''];
    if (texts.every((text) => this.redact(text) === text)) return failure;
    const { code, message, hint } = error;
    const known = new ImgconvError(code, this.redact(message), hint === undefined ? {} : { hint });
    return failure instanceof Transient ? new Transient(known, failure.afterMs) : known;
  }
}

function keyOf(scopes: readonly string[]): string {
  return [...scopes].sort().join(' ');
}

/** The repository whose credentials are used: the first that a scope names. */
function repositoryOf(scopes: readonly string[]): string | undefined {
  return /^repository:(.+):/.exec(scopes[0] ?? '')?.[1];
}
