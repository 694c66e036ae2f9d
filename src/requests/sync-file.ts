import { ImgconvError } from '../model/errors.js';
import { isDigest } from '../model/digest.js';
import { isObject } from '../model/json.js';
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

const FIELDS = [...KEYS, 'username', 'password'];

/**
 * skopeo's YAML (https://github.com/containers/skopeo/blob/main/docs/skopeo-sync.1.md, "YAML file content"), as a table
 * of registries. skopeo passes over what it does not know; here it is an error, as it is a slip of the pen.
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
  if (second !== undefined) throw invalid(file, second, [], 'one document is expected');
  if (document === undefined) throw new ImgconvError('DOCUMENT_INVALID', `${file}: there is nothing in it`);
  const registries = new SyncFile(document, file);
  return Object.keys(registries.map([])).map((host) => registries.registry(host));
}

/** With the line and known fields alone: what stands elsewhere in the file may be a password at the wrong place. */
function invalid(file: string, document: YamlDocument, path: Path, what: string): ImgconvError {
  const known = path.filter((key) => typeof key === 'string' && FIELDS.includes(key));
  const field = known.length === 0 ? '' : `${known.join('.')}: `;
  return new ImgconvError('DOCUMENT_INVALID', `${file}:${document.lineOf(path)}: ${field}${what}`);
}

class SyncFile {
  readonly #document: YamlDocument;
  readonly #file: string;

  constructor(document: YamlDocument, file: string) {
    this.#document = document;
    this.#file = file;
  }

  registry(host: string): SyncRegistry {
    this.#expectKeys([host], KEYS);
    const verify = this.#text([host, 'tls-verify']);
    if (verify !== undefined && !/^(?:true|false)$/i.test(verify))
      throw this.#invalid([host, 'tls-verify'], 'neither true nor false');
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

  /** The map at this path; nothing counts as an empty one. */
  map(path: Path): Record<string, unknown> {
    const value = this.#at(path);
    if (isObject(value)) return value;
    if (isNothing(value)) return {};
    throw this.#invalid(path, 'a map is expected');
  }

  #repositories(
    host: string,
    field: string,
    wanted: (path: Path) => SyncRepository['wanted'],
  ): SyncRepository[] {
    return Object.keys(this.map([host, field])).map((repository) => {
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
      throw this.#invalid(path, 'names an image, not a repository: tags go into its list');
    } catch (error) {
      if (error instanceof ImgconvError && error.code === 'NAME_INVALID')
        throw this.#invalid(path, 'not a repository: it is written in lower case, without a tag');
      throw error;
    }
  }

  #references(path: Path): SyncRepository['wanted'] {
    const value = this.#at(path);
    if (isNothing(value)) return () => true;
    if (!Array.isArray(value)) throw this.#invalid(path, 'a list of tags and digests is expected');
    const wanted = value.map((one: unknown, i) => {
      if (typeof one === 'string' && (isDigest(one) || isTag(one))) return one;
      throw this.#invalid([...path, i], `entry ${i + 1} is neither a tag nor a digest`);
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
      throw this.#invalid(path, 'not a regular expression of Go');
    }
  }

  #constraint(path: Path): SyncRepository['wanted'] {
    const text = this.#text(path) ?? '';
    const fits = parseConstraint(text);
    if (fits === undefined) throw this.#invalid(path, 'not a version constraint');
    return (tag) => {
      const version = versionOfTag(tag);
      return version !== undefined && fits(version);
    };
  }

  #credentials(path: Path): SyncRegistry['credentials'] {
    if (isNothing(this.#at(path))) return undefined;
    this.#expectKeys(path, ['username', 'password']);
    const username = this.#text([...path, 'username']);
    if (username === undefined) throw this.#invalid(path, 'there is no username');
    return { username, password: this.#text([...path, 'password']) ?? '' };
  }

  #expectKeys(path: Path, known: readonly string[]): void {
    const stranger = Object.keys(this.map(path)).find((key) => !known.includes(key));
    if (stranger !== undefined)
      throw this.#invalid([...path, stranger], `a key is not known; there are ${known.join(', ')}`);
  }

  #text(path: Path): string | undefined {
    const value = this.#at(path);
    if (isNothing(value)) return undefined;
    if (typeof value === 'string') return value;
    // The value itself may be a secret.
    throw this.#invalid(path, 'a text is expected');
  }

  #at(path: Path): unknown {
    let value = this.#document.value;
    for (const key of path) value = isObject(value) ? value[key] : undefined;
    return value;
  }

  #invalid(path: Path, what: string): ImgconvError {
    return invalid(this.#file, this.#document, path, what);
  }
}

/** An empty value, read as text. */
function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === '~' || value === 'null';
}

/** The references that a repository's tags come to; `tags` gives those that there are, and is asked only when need be. */
export async function referencesOf(
  { name, wanted }: SyncRepository,
  tags: (repository: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const chosen =
    typeof wanted === 'function' ? (await tags(name)).filter((tag) => isTag(tag) && wanted(tag)) : wanted;
  return chosen.map((one) => `${name}${isDigest(one) ? '@' : ':'}${one}`);
}
