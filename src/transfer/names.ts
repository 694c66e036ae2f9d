import type { Traits } from '../formats/format.js';
import { isAttachedTag } from '../model/attached.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import {
  isHostName,
  isRepository,
  isTag,
  parseHostless,
  parseReference,
  splitHost,
  splitReference,
  type Reference,
} from '../model/reference.js';

/** How names of a source become names of a target; applied in this order. */
export interface NameOptions {
  /** `FROM=TO`: a repository, or the first components of one; with its host or without. */
  readonly rename?: readonly string[] | undefined;
  readonly stripPrefix?: string | undefined;
  readonly addPrefix?: string | undefined;
  /** Keeps the registry's host in names that would drop it. */
  readonly scoped?: boolean | undefined;
  /** Of names that no `rename` fits only the last component is kept, as `skopeo sync` has it. */
  readonly flat?: boolean | undefined;
  /** Put after tags. Those of attached artifacts name a digest, and stay. */
  readonly appendSuffix?: string | undefined;
}

export interface TargetName {
  readonly reference: Reference;
  readonly notes: readonly string[];
}

/** The rest of `name` after `prefix`, in whole components: '' for all of it, undefined when it does not begin so. */
function after(name: string, prefix: string): string | undefined {
  if (name === prefix) return '';
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : undefined;
}

function isName(text: string): boolean {
  const { host, repository } = splitHost(text);
  return isRepository(repository) && (host === undefined || isHostName(host));
}

/** What a repository can begin with, its host too. */
function isPrefix(text: string): boolean {
  return isName(text) || (/[.:]/.test(text) && isHostName(text));
}

/** @throws ImgconvError USAGE */
export function parseRename(text: string): { from: string; to: string } {
  const [from, to, ...rest] = text.split('=');
  if (!from || !to || rest.length > 0 || !isPrefix(from) || !isName(to))
    throw new ImgconvError('USAGE', `--rename ${text}: not FROM=TO, two repositories`, {
      hint: 'for example --rename demo=team/demo; --tag and --images-file give names with tags',
    });
  return { from, to };
}

/**
 * The options that are names or parts of them, before any image is looked at.
 * @throws ImgconvError USAGE, with what was said
 */
export function expectNames(options: NameOptions & { readonly tag?: string | undefined }): void {
  const { tag, rename = [], stripPrefix, addPrefix, appendSuffix } = options;
  rename.forEach(parseRename);
  for (const [option, text] of [
    ['--strip-prefix', stripPrefix],
    ['--add-prefix', addPrefix],
  ] as const) {
    if (text === undefined || isPrefix(text.replace(/\/+$/, ''))) continue;
    throw new ImgconvError('USAGE', `${option} ${text}: no repository begins so`, {
      hint: 'components are in lower case, with a slash between two: mirror/site-b',
    });
  }
  if (appendSuffix !== undefined && !isTag(`x${appendSuffix}`))
    throw new ImgconvError('USAGE', `--append-suffix ${appendSuffix}: no tag ends so`, {
      hint: 'tags have letters, digits, ., _ and -, 128 at most',
    });
  if (tag !== undefined) expectNewName(tag, 'the new name');
}

/** A name that the user gives an image; `where` it is said, `quoted`: with what it is. @throws ImgconvError USAGE */
export function expectNewName(text: string, where: string, quoted = true): void {
  try {
    parseReference(text);
  } catch (cause) {
    const what = quoted ? asImgconvError(cause).message : 'the new name is not a name of an image';
    throw new ImgconvError('USAGE', `${where}: ${what}`, {
      ...(quoted && { cause }),
      hint: 'a name is REPOSITORY:TAG, such as team/app:1',
    });
  }
}

function renamed(name: string, renames: readonly string[]): string {
  for (const { from, to } of renames.map(parseRename)) {
    for (const candidate of new Set([name, splitHost(name).repository])) {
      const rest = after(candidate, from);
      if (rest !== undefined) return rest === '' ? to : `${to}/${rest}`;
    }
  }
  return name;
}

/**
 * The name that an image gets. `chosen` says that the user wrote it for this very image, so that no mapping applies.
 * @throws ImgconvError NAME_INVALID when what comes out is no reference
 */
export function targetName(
  source: string,
  chosen: boolean,
  options: NameOptions,
  traits: Traits,
): TargetName {
  const { name, tag, digest } = splitReference(source);
  const mapped = chosen ? name : renamed(name, options.rename ?? []);
  const notes: string[] = [];
  let { host, repository } = splitHost(mapped);
  if (host !== undefined && !isHostName(host)) parseReference(mapped); // Which says what is wrong with it.
  if (options.flat && !chosen && mapped === name) {
    host = undefined;
    repository = repository.slice(repository.lastIndexOf('/') + 1);
  }
  if (host !== undefined && traits.dropsHost) {
    if (!options.scoped) host = undefined;
    else if (host.includes(':') && !traits.takesPort) {
      notes.push(`the host ${host} is left out: a repository path in registry storage cannot hold a port`);
      host = undefined;
    }
  }
  if (!chosen && options.stripPrefix !== undefined) {
    const prefix = options.stripPrefix.replace(/\/+$/, '');
    repository = after(repository, prefix) ?? after(repository, splitHost(prefix).repository) ?? repository;
  }
  if (!chosen && options.addPrefix !== undefined)
    repository = `${options.addPrefix.replace(/\/+$/, '')}/${repository}`;
  if (host !== undefined && traits.dropsHost && !traits.takesPort) {
    repository = `${host}/${repository}`;
    host = undefined;
  }
  const more = chosen || isAttachedTag(tag) ? '' : (options.appendSuffix ?? '');
  const suffix =
    tag !== undefined ? `:${tag}${more}` : digest !== undefined ? `@${digest}` : `:latest${more}`;
  const text = `${host === undefined ? '' : `${host}/`}${repository}${suffix}`;
  return {
    reference: traits.dropsHost && host === undefined ? parseHostless(text) : parseReference(text),
    notes,
  };
}
