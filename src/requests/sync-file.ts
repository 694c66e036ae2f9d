import { ImgconvError } from '../model/errors.js';
import { isDigest } from '../model/digest.js';
import { isObject, valueAt } from '../model/json.js';
import { canonicalText, isTag, parseReference } from '../model/reference.js';
import { parseTagPattern } from './tag-pattern.js';
import { parseConstraint, versionOfTag } from './version-constraint.js';
import { parseYaml } from '../discover/yaml.js';
import type { Path, YamlDocument } from '../discover/yaml-document.js';

/** What `skopeo sync --src yaml` is to fetch of one repository. */
export interface SyncRepository {
  /** With its host: `quay.io/coreos/etcd`. */
  readonly name: string;
  /** Tags and digests by name; or a test of the tags that there are, which an empty list makes all of them. */
  readonly wanted: readonly string[] | ((tag: string) => boolean);
  /** For messages: file, line and field. */
  readonly where: string;
}

export interface SyncRegistry {
  /** As the file has it; Docker Hub's may be `docker.io`. */
  readonly host: string;
  readonly repositories: readonly SyncRepository[];
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  /** Undefined when the file does not say it: the command line does, then. */
  readonly tlsVerify: boolean | undefined;
  readonly certDir: string | undefined;
}

const KEYS = ['images', 'images-by-tag-regex', 'images-by-semver', 'credentials', 'tls-verify', 'cert-dir'];
const CREDENTIALS = ['username', 'password'];

/**
 * skopeo's YAML (https://github.com/containers/skopeo/blob/main/docs/skopeo-sync.1.md, "YAML file content"), as a table
 * of registries. skopeo ignores unknown keys; here they are errors, since they are likely typos.
 * @throws ImgconvError DOCUMENT_INVALID, naming the line
 */
export function parseSyncFile(text: string, file: string): SyncRegistry[] {
  // As strings: the tag 1.0 is not the number 1.
  const [document, second] = parseYaml(
    text,
    file,
    (error) => {
      throw error;
    },
    { strings: true },
  );
  if (document === undefined) throw new ImgconvError('DOCUMENT_INVALID', `${file}: there is nothing in it`);
  if (second !== undefined) throw new SyncFile(second, file).invalid([], 'one document is expected');
  return new SyncFile(document, file).registries();
}

class SyncFile {
  readonly #document: YamlDocument;
  readonly #file: string;

  constructor(document: YamlDocument, file: string) {
    this.#document = document;
    this.#file = file;
  }

  registries(): SyncRegistry[] {
    return Object.keys(this.#map([])).map((host) => this.#registry(host));
  }

  #registry(host: string): SyncRegistry {
    this.#expectKeys([host], KEYS);
    const verify = this.#text([host, 'tls-verify']);
    if (verify !== undefined && !/^(?:true|false)$/i.test(verify))
      throw this.invalid([host, 'tls-verify'], 'neither true nor false');
    return {
      host,
      repositories: [
        ...this.#repositories(host, 'images', (path) => this.#references(path)),
        ...this.#repositories(host, 'images-by-tag-regex', (path) => this.#pattern(path)),
        ...this.#repositories(host, 'images-by-semver', (path) => this.#constraint(path)),
      ],
      credentials: this.#credentials([host, 'credentials']),
      tlsVerify: verify === undefined ? undefined : verify.toLowerCase() === 'true',
      certDir: this.#text([host, 'cert-dir']),
    };
  }

  /** The map at this path; an empty value counts as an empty one. */
  #map(path: Path): Record<string, unknown> {
    const value = this.#at(path) ?? {};
    if (isObject(value)) return value;
    throw this.invalid(path, 'a map is expected');
  }

  #repositories(
    host: string,
    field: string,
    wanted: (path: Path) => SyncRepository['wanted'],
  ): SyncRepository[] {
    return Object.keys(this.#map([host, field])).map((repository) => {
      const path = [host, field, repository];
      return {
        name: this.#name(host, repository, path),
        wanted: wanted(path),
        where: `${this.#file}:${this.#document.lineOf(path)}: ${path.join('.')}`,
      };
    });
  }

  /** Registry and repository are one name to skopeo, in which Docker Hub's host may be left out. */
  #name(host: string, repository: string, path: Path): string {
    try {
      const reference = parseReference(`${host}/${repository}`);
      if (reference.tag === undefined && reference.digest === undefined) return canonicalText(reference);
      throw this.invalid(path, 'names an image, not a repository: tags go into its list');
    } catch (error) {
      if (error instanceof ImgconvError && error.code === 'NAME_INVALID')
        throw this.invalid(path, 'not a repository: it is written in lower case, without a tag');
      throw error;
    }
  }

  #references(path: Path): SyncRepository['wanted'] {
    const value = this.#at(path);
    if (value === undefined) return () => true;
    if (!Array.isArray(value)) throw this.invalid(path, 'a list of tags and digests is expected');
    const wanted = value.map((one: unknown, i) => {
      if (typeof one === 'string' && (isDigest(one) || isTag(one))) return one;
      throw this.invalid([...path, i], `entry ${i + 1} is neither a tag nor a digest`);
    });
    return wanted.length === 0 ? () => true : [...new Set(wanted)];
  }

  #pattern(path: Path): SyncRepository['wanted'] {
    const text = this.#text(path) ?? '';
    try {
      const pattern = parseTagPattern(text);
      return (tag) => pattern.test(tag);
    } catch {
      // The error has the pattern in it.
      throw this.invalid(path, 'not a regular expression of Go');
    }
  }

  #constraint(path: Path): SyncRepository['wanted'] {
    const text = this.#text(path) ?? '';
    const fits = parseConstraint(text);
    if (fits === undefined) throw this.invalid(path, 'not a version constraint');
    return (tag) => {
      const version = versionOfTag(tag);
      return version !== undefined && fits(version);
    };
  }

  #credentials(path: Path): SyncRegistry['credentials'] {
    if (this.#at(path) === undefined) return undefined;
    this.#expectKeys(path, CREDENTIALS);
    const username = this.#text([...path, 'username']);
    if (username === undefined) throw this.invalid(path, 'there is no username');
    return { username, password: this.#text([...path, 'password']) ?? '' };
  }

  #expectKeys(path: Path, known: readonly string[]): void {
    const stranger = Object.keys(this.#map(path)).find((key) => !known.includes(key));
    if (stranger !== undefined)
      throw this.invalid([...path, stranger], `a key is not known; there are ${known.join(', ')}`);
  }

  #text(path: Path): string | undefined {
    const value = this.#at(path);
    if (value === undefined || typeof value === 'string') return value;
    // The value itself may be a secret.
    throw this.invalid(path, 'a text is expected');
  }

  /** Undefined also for an empty value; it is read as text. */
  #at(path: Path): unknown {
    const value = valueAt(this.#document.value, path);
    return value === null || ['', '~', 'null'].includes(value as string) ? undefined : value;
  }

  /** With the line and the names of known fields only: anything else in the file may be a misplaced password. */
  invalid(path: Path, what: string): ImgconvError {
    const known = path.filter((key) => [...KEYS, ...CREDENTIALS].includes(String(key)));
    const field = known.length === 0 ? '' : `${known.join('.')}: `;
    const where = `${this.#file}:${this.#document.lineOf(path)}`;
    return new ImgconvError('DOCUMENT_INVALID', `${where}: ${field}${what}`);
  }
}

/** References to the wanted images of a repository; `tags` lists its tags, and is called only if that is needed. */
export async function referencesOf(
  { name, wanted }: SyncRepository,
  tags: (repository: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const chosen =
    typeof wanted === 'function' ? (await tags(name)).filter((tag) => isTag(tag) && wanted(tag)) : wanted;
  return chosen.map((one) => `${name}${isDigest(one) ? '@' : ':'}${one}`);
}
