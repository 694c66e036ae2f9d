import * as z from 'zod';
import { Transient } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import { parseSecret } from '../../model/json.js';
import { parseChallenges, type Challenge } from './challenge.js';
import type { Credentials, CredentialStore } from './credentials.js';
import { isLoopback } from './tls.js';
import { placeOf, type Answer, type Transport } from './transport.js';

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
}

/**
 * Gets a registry's requests let in: Basic, or Bearer with tokens from where the registry's challenge says. Secrets
 * are only ever given to the registry itself and to that realm, and never over plain HTTP unless that is allowed.
 */
export class Authenticator {
  readonly #host: string;
  readonly #transport: Transport;
  readonly #credentials: CredentialStore;
  readonly #allowed: Allowed;
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();
  readonly #secrets = new Set<string>();

  constructor(host: string, transport: Transport, credentials: CredentialStore, allowed: Allowed) {
    this.#host = host;
    this.#transport = transport;
    this.#credentials = credentials;
    this.#allowed = allowed;
  }

  /** The value of an `Authorization` header; undefined while the registry asked for none. `scopes`: `repository:<name>:pull`. */
  async header(scopes: readonly string[], registry: URL): Promise<string | undefined> {
    const credentials = this.#isSafe(registry) ? await this.#find(repositoryOf(scopes)) : undefined;
    if (credentials?.registryToken !== undefined) return `Bearer ${credentials.registryToken}`;
    const challenge = this.#challenge;
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') {
      if (credentials?.username === undefined) return undefined;
      const pair = Buffer.from(`${credentials.username}:${credentials.password ?? ''}`).toString('base64');
      this.#keepSecret(pair);
      return `Basic ${pair}`;
    }
    const key = [...scopes].sort().join(' ');
    let known = this.#tokens.get(key);
    if (
      known !== undefined &&
      (await known.catch(() => undefined).then((token) => token?.until ?? 0)) <= Date.now()
    )
      known = undefined;
    const fetching = known ?? this.#fetchToken(challenge, scopes, credentials);
    this.#tokens.set(key, fetching);
    return `Bearer ${(await fetching).value}`;
  }

  /** Others on the way can read what is sent in plain HTTP, and whoever answers it may not be who was meant. */
  #isSafe(to: URL): boolean {
    return to.protocol === 'https:' || isLoopback(to.hostname) || this.#allowed.httpCredentials;
  }

  /** How this registry could be given credentials. */
  hint(registry: URL): string {
    return this.#isSafe(registry)
      ? `credentials for ${this.#host}: docker login, --authfile, --src-creds or --dest-creds`
      : `credentials are not sent over plain HTTP unless --allow-http-credentials is given`;
  }

  async #find(repository: string | undefined): Promise<Credentials | undefined> {
    const found = await this.#credentials.find(this.#host, repository);
    for (const secret of [found?.password, found?.identityToken, found?.registryToken])
      if (secret) this.#keepSecret(secret);
    return found;
  }

  /**
   * Takes a refused request's challenge; false when the registry gives no way in that was not tried with these scopes.
   * @throws ImgconvError UNAUTHORIZED for a realm that secrets must not go to
   */
  challenged(answer: Answer, scopes: readonly string[], tried: string | undefined): boolean {
    const challenges = parseChallenges(answer.header('www-authenticate') ?? '');
    const challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic');
    if (challenge === undefined || tried?.startsWith('Basic ')) return false;
    if (challenge.scheme === 'bearer') {
      this.#realmOf(challenge, answer.url);
      this.#tokens.delete([...scopes].sort().join(' '));
    }
    this.#challenge = { ...challenge, parameters: { ...challenge.parameters, registry: answer.url.href } };
    return true;
  }

  /**
   * Where tokens come from. As with Docker, a registry may name any host over TLS; over plain HTTP only one that was
   * itself reached so, and then one on this machine, or where plain HTTP was asked for.
   */
  #realmOf({ parameters }: Challenge, registry: URL): URL {
    let realm: URL;
    try {
      realm = new URL(parameters['realm'] ?? '');
    } catch (cause) {
      throw this.#refusal(`${placeOf(registry)}: names no realm to get a token from`, cause);
    }
    const plain =
      registry.protocol === 'http:' &&
      realm.protocol === 'http:' &&
      (this.#allowed.plainHttp || isLoopback(realm.hostname));
    if (realm.username !== '' || realm.password !== '' || (realm.protocol !== 'https:' && !plain))
      throw this.#refusal(
        `${placeOf(registry)}: tokens are not asked for at ${this.redact(placeOf(realm))}: it is not https`,
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
    // A registry may go by other scopes than the specification's, and then says so.
    const wanted = scopes.length > 0 ? scopes : (scope ?? '').split(' ').filter(Boolean);
    const shown = this.#isSafe(realm) ? credentials : undefined;
    const asking =
      shown?.identityToken === undefined
        ? this.#get(realm, service, wanted, shown)
        : this.#post(realm, service, wanted, shown.identityToken);
    const answer = await asking.catch((error: unknown) => {
      throw this.redacted(error);
    });
    const { where } = answer;
    if (answer.status !== 200) {
      await answer.discard();
      throw new ImgconvError(
        answer.status < 500 && answer.status !== 429 ? 'UNAUTHORIZED' : 'REGISTRY',
        `${where}: gives no token for ${wanted.join(' ') || this.#host}: status ${answer.status}`,
        shown === undefined ? { hint: this.hint(realm) } : {},
      );
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

  /** Basic credentials, or none, for a token (distribution "Token Authentication Specification"). */
  #get(
    realm: URL,
    service: string | undefined,
    scopes: readonly string[],
    credentials: Credentials | undefined,
  ): Promise<Answer> {
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const where = this.redact(placeOf(realm));
    if (credentials?.username === undefined)
      return this.#transport.send(url, { method: 'GET', headers: {} }, where);
    url.searchParams.set('account', credentials.username);
    const pair = Buffer.from(`${credentials.username}:${credentials.password ?? ''}`).toString('base64');
    this.#keepSecret(pair);
    return this.#transport.send(url, { method: 'GET', headers: { authorization: `Basic ${pair}` } }, where);
  }

  /** An identity token for a token (distribution "OAuth2 Token Authentication"). */
  #post(
    realm: URL,
    service: string | undefined,
    scopes: readonly string[],
    identityToken: string,
  ): Promise<Answer> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: CLIENT_ID,
      refresh_token: identityToken,
      scope: scopes.join(' '),
      ...(service !== undefined && { service }),
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const outgoing = { method: 'POST', headers, body: () => form.toString() } as const;
    return this.#transport.send(realm, outgoing, this.redact(placeOf(realm)));
  }

  /** A server may repeat it, also in a URL: hosts are lower case there, and paths are escaped. */
  #keepSecret(secret: string): void {
    for (const form of [secret, encodeURIComponent(Buffer.from(secret).toString())])
      this.#secrets.add(form).add(form.toLowerCase());
  }

  /** What a server says, without what it was sent. */
  redact(text: string): string {
    let redacted = text;
    for (const secret of this.#secrets) redacted = redacted.replaceAll(secret, '***');
    return redacted;
  }

  /** A failure whose message would show what is secret is another one, without its cause. */
  redacted(failure: unknown): unknown {
    const error = failure instanceof Transient ? failure.error : failure;
    if (!(error instanceof ImgconvError)) return failure;
    const texts = [error.message, error.cause instanceof Error ? error.cause.message : ''];
    if (texts.every((text) => this.redact(text) === text)) return failure;
    const { hint } = error;
    const known = new ImgconvError(
      error.code,
      this.redact(error.message),
      hint === undefined ? {} : { hint },
    );
    return failure instanceof Transient ? new Transient(known, failure.afterMs) : known;
  }
}

/** The repository whose credentials count: the first that a scope names. */
function repositoryOf(scopes: readonly string[]): string | undefined {
  return /^repository:(.+):/.exec(scopes[0] ?? '')?.[1];
}
