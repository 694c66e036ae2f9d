/** What is asked of a file system. */
export type OperationKind =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'look'
  | 'list'
  | 'make'
  | 'rename'
  | 'link'
  | 'copy'
  | 'remove'
  | 'truncate'
  | 'flush'
  | 'close';

export interface Operation {
  readonly name: string;
  readonly kind: OperationKind;
  readonly path: string;
}

const CHANGES = ['create', 'write', 'make', 'rename', 'link', 'copy', 'remove', 'truncate', 'flush'] as const;
const GROWS = ['create', 'write', 'make', 'rename', 'link', 'copy', 'flush'] as const;
const NAMES = ['open', 'create', 'look', 'list', 'make', 'rename', 'link', 'copy', 'remove'] as const;
const READS = ['open', 'read'] as const;
const ALL = [...CHANGES, 'open', 'read', 'look', 'list', 'close'] as const;

/**
 * What can happen, and to which operations: the process dies before one or in the middle of a write, gets a signal,
 * sees an error, gets half of what it asked for; or somebody changes a file that it reads.
 */
export const KINDS_OF = {
  none: [],
  kill: CHANGES,
  tear: CHANGES,
  SIGINT: ALL,
  SIGTERM: ALL,
  EIO: ALL,
  EACCES: NAMES,
  EROFS: CHANGES,
  ENOSPC: GROWS,
  EDQUOT: GROWS,
  EMFILE: ['open', 'create', 'list', 'copy'],
  EXDEV: ['rename', 'link', 'copy'],
  short: ['read', 'write'],
  shrink: READS,
  grow: READS,
  flip: READS,
  swap: READS,
} as const satisfies Record<string, readonly OperationKind[]>;

export const ACTIONS = [
  'none',
  'kill',
  'tear',
  'SIGINT',
  'SIGTERM',
  'EIO',
  'EACCES',
  'EROFS',
  'ENOSPC',
  'EDQUOT',
  'EMFILE',
  'EXDEV',
  'short',
  'shrink',
  'grow',
  'flip',
  'swap',
] as const satisfies readonly (keyof typeof KINDS_OF)[];
export type Action = (typeof ACTIONS)[number];

/** At the operation number `at` (from 1) of those that the action is for, below `root`; `sticky`: and at all after it. */
export interface Plan {
  readonly action: Action;
  readonly at: number;
  readonly sticky?: boolean;
  readonly root: string;
}

/** A plan in words, for the surroundings of a process; without a parser of JSON, so that the process starts quickly. */
export function planText({ action, at, sticky = false, root }: Plan): string {
  return `${action} ${at} ${sticky} ${root}`;
}

export function parsePlan(text: string): Plan {
  const [name, at, sticky, ...root] = text.split(' ');
  const action = ACTIONS.find((one) => one === name);
  if (action === undefined) throw new Error(`no plan: ${text}`);
  return { action, at: Number(at), sticky: sticky === 'true', root: root.join(' ') };
}
