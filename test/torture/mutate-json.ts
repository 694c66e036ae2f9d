import type { Random } from '../bench/random.js';
import { nastyValue, pick } from './nasty-values.js';

type Container = unknown[] | Record<string, unknown>;

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

/** So many are enough to choose from. */
const MOST = 5000;

/** Objects and arrays of a document, itself first. */
function containersOf(root: unknown): Container[] {
  const found: Container[] = isContainer(root) ? [root] : [];
  for (let i = 0; i < found.length && found.length < MOST; i++)
    for (const value of Object.values(found[i] ?? [])) if (isContainer(value)) found.push(value);
  return found;
}

const KEYS = [
  '__proto__',
  'constructor',
  'toString',
  'layers',
  'manifests',
  'config',
  'subject',
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'platform',
  'schemaVersion',
  'rootfs',
  'parent',
  'RepoTags',
];

function changeArray(list: unknown[], random: Random): void {
  const at = random.below(list.length + 1);
  const one = list[at];
  switch (random.below(5)) {
    case 0:
      list.splice(at, 1);
      return;
    case 1:
      list.splice(at, 0, nastyValue(random));
      return;
    case 2:
      list.splice(at, 0, ...Array.from({ length: 1 + random.skewed(500) }, () => one));
      return;
    case 3:
      list.reverse();
      return;
    default:
      list[at] = nastyValue(random);
  }
}

function changeObject(object: Record<string, unknown>, random: Random): void {
  const keys = Object.keys(object);
  const key = keys.length > 0 && random.below(4) > 0 ? pick(random, keys) : pick(random, KEYS);
  const set = (name: string, value: unknown) =>
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
  // Its own alone: what every object inherits must not be changed in this very process.
  const own: unknown = Object.getOwnPropertyDescriptor(object, key)?.value;
  switch (random.below(5)) {
    case 0:
      Reflect.deleteProperty(object, key);
      return;
    case 1:
      set(pick(random, [key.toUpperCase(), key.toLowerCase(), `${key} `, key.replace('s', '\u017f')]), own);
      return;
    case 2:
      set(pick(random, KEYS), own);
      return;
    default:
      set(key, nastyValue(random));
  }
}

/** JSON with some part of it other than it should be; mostly still JSON. */
export function mutateJson(bytes: Buffer, random: Random): Buffer {
  const text = bytes.toString();
  let root: unknown;
  try {
    root = JSON.parse(text) as unknown;
  } catch {
    return Buffer.from(JSON.stringify(nastyValue(random)));
  }
  const how = random.below(12);
  if (how === 0) return Buffer.from(JSON.stringify(nastyValue(random)));
  if (how === 1) {
    // A key said twice: JSON.stringify cannot write that.
    const keys = [...text.matchAll(/"[^"]*":/g)].map(({ index, 0: key }) => ({ index, key }));
    if (keys.length === 0) return Buffer.from('{"a":1,"a":2}');
    const colon = pick(random, keys);
    return Buffer.from(
      `${text.slice(0, colon.index)}${colon.key}${JSON.stringify(nastyValue(random))},${text.slice(colon.index)}`,
    );
  }
  if (how === 2)
    return Buffer.concat([
      bytes,
      Buffer.from(pick(random, [' ', '\u0000', '{}', '\ufeff', ']', '\n'.repeat(5000)])),
    ]);
  if (how === 3) {
    const changed = Buffer.from(bytes);
    changed[random.below(changed.length)] = random.below(256);
    return changed;
  }
  for (let i = random.below(3); i >= 0; i--) {
    const containers = containersOf(root);
    if (containers.length === 0) break;
    const chosen = pick(random, containers);
    if (Array.isArray(chosen)) changeArray(chosen, random);
    else changeObject(chosen, random);
  }
  return Buffer.from(JSON.stringify(root));
}
