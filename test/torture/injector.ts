import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { constants } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import {
  ACTIONS,
  KINDS_OF,
  parsePlan,
  type Action,
  type Operation,
  type OperationKind,
  type Plan,
} from './plan.js';

/*
 * Stands between this process and its file system, in every thread: with `node --import` it is there before anything
 * else. Operations below the plan's root are counted, and what the plan says happens at one of them.
 */
const SLOTS = ['action', 'at', 'sticky', 'count', 'fired', 'rootLength', 'firedLength'] as const;
const TEXT = 4096;
const KEY = 'imgconv-torture';

/** Shared by all threads: a worker gets it from the thread that starts it. */
function sharedMemory(): SharedArrayBuffer {
  const given: unknown = getEnvironmentData(KEY);
  if (given instanceof SharedArrayBuffer) return given;
  const made = new SharedArrayBuffer(SLOTS.length * 4 + 2 * TEXT);
  setEnvironmentData(KEY, made);
  return made;
}

const memory = sharedMemory();
const slots = new Int32Array(memory, 0, SLOTS.length);
const texts = {
  root: new Uint8Array(memory, slots.byteLength, TEXT),
  fired: new Uint8Array(memory, slots.byteLength + TEXT, TEXT),
};
const slot = (name: (typeof SLOTS)[number]) => SLOTS.indexOf(name);
const valueOf = (name: (typeof SLOTS)[number]) => Atomics.load(slots, slot(name));
const set = (name: (typeof SLOTS)[number], value: number) => void Atomics.store(slots, slot(name), value);

function setText(name: 'root' | 'fired', text: string): void {
  const bytes = Buffer.from(text).subarray(0, TEXT);
  texts[name].set(bytes);
  set(`${name}Length`, bytes.length);
}

function textOf(name: 'root' | 'fired'): string {
  return Buffer.from(texts[name].subarray(0, valueOf(`${name}Length`))).toString();
}

/** From now on, in all threads. */
export function arm({ action, at, sticky = false, root }: Plan): void {
  setText('root', root);
  setText('fired', '');
  for (const name of ['count', 'fired'] as const) set(name, 0);
  set('at', at);
  set('sticky', sticky ? 1 : 0);
  set('action', ACTIONS.indexOf(action));
}

/** How many operations the plan could have meant, and the one that it struck. */
export function disarm(): { readonly count: number; readonly fired: string | undefined } {
  set('action', 0);
  return { count: valueOf('count'), fired: valueOf('fired') > 0 ? textOf('fired') : undefined };
}

const kindsOf = (action: Action): readonly OperationKind[] => KINDS_OF[action];

type Call = (...args: unknown[]) => unknown;

/** Open files of this thread by number, and those of node:fs/promises. */
const paths = new Map<unknown, string>();

const original = {
  writeSync: fs.writeSync,
  truncateSync: fs.truncateSync,
  statSync: fs.statSync,
  appendFileSync: fs.appendFileSync,
  readFileSync: fs.readFileSync,
  writeFileSync: fs.writeFileSync,
  renameSync: fs.renameSync,
};

function failure(code: string, operation: Operation, byPath: boolean): Error {
  const at = byPath ? ` '${operation.path}'` : '';
  return Object.assign(new Error(`${code}: injected, ${operation.name}${at}`), {
    code,
    errno: -(Object.entries(constants.errno).find(([name]) => name === code)?.[1] ?? 1),
    syscall: operation.name,
    ...(byPath && { path: operation.path }),
  });
}

/** Undefined when nothing is to happen to this operation; else what. */
function struck(operation: Operation): Action | undefined {
  const action = ACTIONS[valueOf('action')];
  if (action === undefined || action === 'none') return undefined;
  const root = textOf('root');
  if (!operation.path.startsWith(root) || !kindsOf(action).includes(operation.kind)) return undefined;
  const number = Atomics.add(slots, slot('count'), 1) + 1;
  const at = valueOf('at');
  if (number !== at && !(valueOf('sticky') === 1 && number > at)) return undefined;
  if (Atomics.add(slots, slot('fired'), 1) === 0)
    setText('fired', `${operation.kind} ${operation.name} ${operation.path}`);
  return action;
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
}

/** What others may do to a source that is being read. */
function meddle(action: 'shrink' | 'grow' | 'flip' | 'swap', path: string): void {
  const size = original.statSync(path).size;
  if (action === 'shrink') original.truncateSync(path, Math.floor(size / 2));
  if (action === 'grow') original.appendFileSync(path, 'more');
  if (action !== 'flip' && action !== 'swap') return;
  const bytes = original.readFileSync(path);
  const at = Math.floor(size / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  if (action === 'flip') original.writeFileSync(path, bytes, { flag: 'r+' });
  else {
    const beside = join(dirname(path), `.${basename(path)}.swap`);
    original.writeFileSync(beside, bytes);
    original.renameSync(beside, path);
  }
}

/** Bytes that are read or written by halves; `args` are those of `fs.read` and `fs.write` and their like. */
function halved(args: readonly unknown[]): unknown[] {
  const [fd, bytes, offset, length, ...rest] = args;
  return typeof length === 'number' && length > 1
    ? [fd, bytes, offset, Math.ceil(length / 2), ...rest]
    : [...args];
}

/** What happens instead of the call, or before it. `fail` hands over an error as the call would. */
function strike(
  operation: Operation,
  byPath: boolean,
  args: readonly unknown[],
  call: (args: readonly unknown[]) => unknown,
  fail: (error: Error) => unknown,
): unknown {
  const action = struck(operation);
  switch (action) {
    case undefined:
    case 'none':
      return call(args);
    case 'kill':
      return die();
    case 'tear':
      if (operation.kind === 'write') call(halved(args));
      return die();
    case 'SIGINT':
    case 'SIGTERM':
      process.kill(process.pid, action);
      return call(args);
    case 'short':
      return call(halved(args));
    case 'shrink':
    case 'grow':
    case 'flip':
    case 'swap':
      meddle(action, operation.path);
      return call(args);
    default:
      // The kernel lets go of a file whatever close says of it (close(2)).
      if (operation.kind === 'close') call(args);
      return fail(failure(action, operation, byPath));
  }
}

function isWriting(flags: unknown): boolean {
  if (typeof flags === 'number')
    return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT)) !== 0;
  return typeof flags === 'string' && flags !== 'r';
}

/** A file may be named by the open folder that it lies in (src/bytes/below.ts). */
function realPath(path: string): string {
  const [, fd, rest = ''] = /^\/proc\/self\/fd\/(\d+)(\/.*)?$/.exec(path) ?? [];
  const folder = fd === undefined ? undefined : paths.get(Number(fd));
  return folder === undefined ? path : folder + rest;
}

function operationOf(
  name: string,
  kind: OperationKind,
  byPath: boolean,
  args: readonly unknown[],
): Operation {
  const named = kind === 'rename' || kind === 'link' ? args[1] : args[0];
  const path = byPath ? realPath(String(named)) : (paths.get(args[0]) ?? '');
  return { name, kind: /open(?:Sync)?$/.test(name) && isWriting(args[1]) ? 'create' : kind, path };
}

function replace(
  on: object,
  name: string,
  make: (call: (self: unknown, args: readonly unknown[]) => unknown) => Call,
): void {
  const now: unknown = Reflect.get(on, name);
  if (typeof now !== 'function') throw new Error(`there is no ${name}`);
  const made = make((self, args) => {
    const result: unknown = Reflect.apply(now, self, args);
    return result;
  });
  Reflect.set(on, name, Object.assign(made, now));
}

const BY_PATH: readonly (readonly [string, OperationKind])[] = [
  ['open', 'open'],
  ['readFile', 'open'],
  ['lstat', 'look'],
  ['stat', 'look'],
  ['realpath', 'look'],
  ['statfs', 'look'],
  ['readlink', 'look'],
  ['readdir', 'list'],
  ['writeFile', 'create'],
  ['mkdir', 'make'],
  ['rename', 'rename'],
  ['link', 'link'],
  ['symlink', 'link'],
  ['copyFile', 'copy'],
  ['rm', 'remove'],
  ['rmdir', 'remove'],
  ['unlink', 'remove'],
];
const BY_FILE: readonly (readonly [string, OperationKind])[] = [
  ['read', 'read'],
  ['write', 'write'],
  ['fsync', 'flush'],
  ['fdatasync', 'flush'],
  ['ftruncate', 'truncate'],
  ['fstat', 'look'],
  ['close', 'close'],
];

function note(operation: Operation, args: readonly unknown[], result: unknown): void {
  if (operation.name.startsWith('open')) paths.set(result, operation.path);
  if (operation.kind === 'close') paths.delete(args[0]);
}

for (const [names, byPath] of [
  [BY_PATH, true],
  [BY_FILE, false],
] as const) {
  for (const [name, kind] of names) {
    replace(fs, `${name}Sync`, (call) => (...args) => {
      const operation = operationOf(`${name}Sync`, kind, byPath, args);
      const result = strike(
        operation,
        byPath,
        args,
        (given) => call(fs, given),
        (error) => {
          throw error;
        },
      );
      note(operation, args, result);
      return result;
    });
    replace(fs, name, (call) => (...args) => {
      const operation = operationOf(name, kind, byPath, args);
      const done = args.at(-1);
      if (typeof done !== 'function') return call(fs, args);
      const told = (error: unknown, ...results: unknown[]) => {
        if (error === null || error === undefined) note(operation, args, results[0]);
        Reflect.apply(done, undefined, [error, ...results]);
      };
      return strike(
        operation,
        byPath,
        [...args.slice(0, -1), told],
        (given) => call(fs, given),
        (error) => {
          process.nextTick(told, error);
        },
      );
    });
  }
}

// What cannot be looked at is not there, says existsSync, whatever the reason.
replace(fs, 'existsSync', (call) => (...args) => {
  const operation = { name: 'existsSync', kind: 'look', path: String(args[0]) } as const;
  return strike(
    operation,
    true,
    args,
    (given) => call(fs, given),
    () => false,
  );
});

/** A method of a file handle, which gives a promise. */
function replaceMethod(on: object, name: string, kind: OperationKind): void {
  replace(
    on,
    name,
    (call) =>
      function (this: unknown, ...args: unknown[]) {
        const operation = { name: `handle.${name}`, kind, path: paths.get(this) ?? '' };
        return strike(
          operation,
          false,
          args,
          (given) => call(this, given),
          (error) => Promise.reject(error),
        );
      },
  );
}

replace(fs.promises, 'open', (call) => async (...args) => {
  const operation = operationOf('promises.open', 'open', true, args);
  const opened = await strike(
    operation,
    true,
    args,
    (given) => call(fs.promises, given),
    (error) => Promise.reject(error),
  );
  paths.set(opened, operation.path);
  // Each has a close of its own.
  if (typeof opened === 'object' && opened !== null) replaceMethod(opened, 'close', 'close');
  return opened;
});

const handle = await fs.promises.open('/dev/null');
const prototype: unknown = Object.getPrototypeOf(handle);
await handle.close();
if (typeof prototype !== 'object' || prototype === null) throw new Error('no class of file handles');
replaceMethod(prototype, 'sync', 'flush');
replaceMethod(prototype, 'datasync', 'flush');
syncBuiltinESMExports();

/** A process of its own is told its plan by its surroundings, and says at its end how far it came. */
const { TORTURE_PLAN, TORTURE_TELL } = process.env;
if (isMainThread && TORTURE_PLAN !== undefined) {
  arm(parsePlan(TORTURE_PLAN));
  process.on('exit', () => {
    if (TORTURE_TELL !== undefined) original.writeFileSync(TORTURE_TELL, JSON.stringify(disarm()));
  });
}
