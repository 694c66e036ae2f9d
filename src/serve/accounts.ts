import { createHash, timingSafeEqual } from 'node:crypto';
import { compare } from 'bcryptjs';
import { readText } from '../bytes/files.js';
import { ImgconvError } from '../model/errors.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

export type Right = 'read' | 'write';

export interface AccountOptions {
  /** A file of `htpasswd -B`: who may read and write. */
  readonly htpasswd?: string | undefined;
  /** The same for accounts that may only read. */
  readonly readers?: string | undefined;
  /** A file with a token that may read, as `Bearer` or as the password of any user. */
  readonly readToken?: string | undefined;
  /** Reading needs no account. */
  readonly anonymousRead?: boolean | undefined;
}

/** A password that was right is not hashed again for so long, in milliseconds: bcrypt takes a tenth of a second. */
const REMEMBERED = 5 * 60_000;
const MAX_REMEMBERED = 1000;

/** Who may do what. */
export class Accounts {
  readonly #writers: ReadonlyMap<string, string>;
  readonly #readers: ReadonlyMap<string, string>;
  readonly #token: string | undefined;
  readonly #anonymous: boolean;
  /** When a user's password was found right, by a hash of both. */
  readonly #known = new Map<string, number>();

  /** @throws ImgconvError for a file that cannot be read or has other hashes than bcrypt's */
  constructor({ htpasswd, readers, readToken, anonymousRead = false }: AccountOptions) {
    this.#writers = htpasswd === undefined ? new Map<string, string>() : accountsIn(htpasswd);
    this.#readers = readers === undefined ? new Map<string, string>() : accountsIn(readers);
    this.#token = readToken === undefined ? undefined : readText(readToken).trim();
    this.#anonymous = anonymousRead;
    if (anonymousRead && !this.areAsked)
      throw new ImgconvError(
        'USAGE',
        '--anonymous-read: everybody may write too, since there are no accounts',
        {
          hint: 'add --htpasswd FILE for those who may write, or leave it out',
        },
      );
    if (this.#token === '')
      throw new ImgconvError('DOCUMENT_INVALID', `${readToken ?? ''}: empty, and a token is expected`);
  }

  /** False when anybody may do anything. */
  get areAsked(): boolean {
    return this.#writers.size > 0 || this.#readers.size > 0 || this.#token !== undefined;
  }

  /** Names the account in `exchange`. @throws Refusal UNAUTHORIZED, DENIED */
  async expect(exchange: Exchange, right: Right): Promise<void> {
    if (!this.areAsked) return;
    const said = exchange.header('authorization');
    if (said === undefined && right === 'read' && this.#anonymous) return;
    const rights = said === undefined ? undefined : await this.#rightsOf(exchange, said);
    if (rights === undefined)
      throw new Refusal(
        'UNAUTHORIZED',
        said === undefined ? 'an account is needed' : 'no such account, or another password',
        { headers: { 'WWW-Authenticate': 'Basic realm="imgconv", charset="UTF-8"' } },
      );
    if (right === 'write' && rights === 'read')
      throw new Refusal('DENIED', `${exchange.user ?? 'this account'} may only read`);
  }

  async #rightsOf(exchange: Exchange, said: string): Promise<Right | undefined> {
    const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(said) ?? [];
    if (scheme.toLowerCase() === 'bearer') return this.#isToken(value) ? 'read' : undefined;
    if (scheme.toLowerCase() !== 'basic') return undefined;
    const text = Buffer.from(value, 'base64').toString();
    const colon = text.indexOf(':');
    const [user, password] = [text.slice(0, colon), text.slice(colon + 1)];
    if (colon < 1) return undefined;
    exchange.user = user;
    if (this.#isToken(password)) return 'read';
    if (await this.#isRight(this.#writers.get(user), user, password)) return 'write';
    return (await this.#isRight(this.#readers.get(user), user, password)) ? 'read' : undefined;
  }

  #isToken(text: string): boolean {
    return this.#token !== undefined && timingSafeEqual(fingerprint(text), fingerprint(this.#token));
  }

  async #isRight(hash: string | undefined, user: string, password: string): Promise<boolean> {
    if (hash === undefined) return false;
    const key = fingerprint(`${hash} ${user} ${password}`).toString('base64');
    if ((this.#known.get(key) ?? 0) > Date.now() - REMEMBERED) return true;
    if (!(await compare(password, hash))) return false;
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    this.#known.set(key, Date.now());
    return true;
  }
}

function fingerprint(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The lines of a file of Apache's htpasswd: `USER:HASH`. */
function accountsIn(path: string): Map<string, string> {
  const accounts = new Map<string, string>();
  for (const [i, line] of readText(path).split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, user = '', hash = ''] = /^([^:]+):(\S+)\s*$/.exec(line) ?? [];
    if (!/^\$2[aby]\$\d\d\$/.test(hash))
      throw new ImgconvError(
        'DOCUMENT_INVALID',
        `${path}, line ${i + 1}: USER:HASH with a bcrypt hash is expected`,
        {
          hint: `make it with: htpasswd -B ${path} USER`,
        },
      );
    accounts.set(user, hash);
  }
  if (accounts.size === 0)
    throw new ImgconvError('DOCUMENT_INVALID', `${path}: no accounts in it`, {
      hint: `add one with: htpasswd -B ${path} USER`,
    });
  return accounts;
}
