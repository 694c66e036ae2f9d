import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import {
  compactJson,
  elementsOf,
  foldCase,
  goMap,
  goTypes,
  membersOf,
  readStruct,
  stringOf,
  writeStruct,
  type GoField,
} from '../../model/go-json.js';
import { isObject, parseLenientJson } from '../../model/json.js';

/*
 * The JSON that Docker kept of each layer before 1.10, and how Docker 20.10 makes configs of it when it loads an archive
 * of that time (https://github.com/moby/moby/blob/v20.10.24/image/v1/imagev1.go).
 */

/** One v1 JSON: of the image that ends with its layer. */
export interface V1Image {
  /** As it stands in the JSON; empty when there is none. */
  readonly parent: string;
  /** Its entry in the configs of the images built on it, and in its own. */
  readonly history: string;
  /** What configs keep of it, as texts by key. */
  readonly members: ReadonlyMap<string, string>;
}

const { string, bool, int, time, pointer, slice, map, struct } = goTypes;
const set = map(struct([]));
const strings = slice(string);
/** moby api/types/strslice: one string is a list of one. */
const strSlice: typeof strings = {
  ...strings,
  rewrite: (json, where) => strings.rewrite(json.startsWith('"') ? `[${json}]` : json, where),
};

/** moby api/types/container/config.go `HealthConfig`, `Config`. */
const HEALTH_CONFIG: readonly GoField[] = [
  ['Test', strings, 'omitempty'],
  ['Interval', int, 'omitempty'],
  ['Timeout', int, 'omitempty'],
  ['StartPeriod', int, 'omitempty'],
  ['Retries', int, 'omitempty'],
];
const CONTAINER_CONFIG: readonly GoField[] = [
  ['Hostname', string],
  ['Domainname', string],
  ['User', string],
  ['AttachStdin', bool],
  ['AttachStdout', bool],
  ['AttachStderr', bool],
  ['ExposedPorts', set, 'omitempty'],
  ['Tty', bool],
  ['OpenStdin', bool],
  ['StdinOnce', bool],
  ['Env', strings],
  ['Cmd', strSlice],
  ['Healthcheck', pointer(struct(HEALTH_CONFIG)), 'omitempty'],
  ['ArgsEscaped', bool, 'omitempty'],
  ['Image', string],
  ['Volumes', set],
  ['WorkingDir', string],
  ['Entrypoint', strSlice],
  ['NetworkDisabled', bool, 'omitempty'],
  ['MacAddress', string, 'omitempty'],
  ['OnBuild', strings],
  ['Labels', map(string)],
  ['StopSignal', string, 'omitempty'],
  ['StopTimeout', pointer(int), 'omitempty'],
  ['Shell', strSlice, 'omitempty'],
];
/** moby image/image.go `V1Image`, `History`. */
const V1_IMAGE: readonly GoField[] = [
  ['id', string, 'omitempty'],
  ['parent', string, 'omitempty'],
  ['comment', string, 'omitempty'],
  ['created', time],
  ['container', string, 'omitempty'],
  ['container_config', struct(CONTAINER_CONFIG)],
  ['docker_version', string, 'omitempty'],
  ['author', string, 'omitempty'],
  ['config', pointer(struct(CONTAINER_CONFIG)), 'omitempty'],
  ['architecture', string, 'omitempty'],
  ['variant', string, 'omitempty'],
  ['os', string, 'omitempty'],
  ['Size', int, 'omitempty'],
];
const HISTORY: readonly GoField[] = [
  ['created', time],
  ['author', string, 'omitempty'],
  ['created_by', string, 'omitempty'],
  ['comment', string, 'omitempty'],
];
/** What configs do not keep. */
const V1_ONLY = ['id', 'parent', 'Size', 'parent_id', 'layer_id', 'throwaway'];
/** What engines before this one wrote is written anew, without its blank fields (moby `noFallbackMinVersion`). */
const KEPT_SINCE = [1, 8, 3];

/** @throws ImgconvError MANIFEST_INVALID when it is not an object, or a field that Docker knows is of another type */
export function parseV1Image(bytes: Uint8Array, where: string): V1Image {
  if (!isObject(parseLenientJson(bytes, where)))
    throw new ImgconvError('MANIFEST_INVALID', `${where}: not a JSON object`);
  const json = compactJson(Buffer.from(bytes).toString());
  const fields = readStruct(V1_IMAGE, json, `${where}: `);
  const rewritten = isOlder(stringOf(fields.get('docker_version') ?? '""'), KEPT_SINCE);
  const members = new Map(membersOf(rewritten ? writeStruct(V1_IMAGE, fields) : json));
  for (const name of [...V1_ONLY, 'rootfs', 'history']) members.delete(name);
  // Go takes keys in any case: with such a key, who reads the config decides which layers it has.
  const twin = [...members.keys()].find((key) => /^(?:rootfs|history)$/.test(foldCase(key)));
  if (twin !== undefined)
    throw new ImgconvError('MANIFEST_INVALID', `${where}: must not have ${JSON.stringify(twin)}`);
  return { parent: stringOf(fields.get('parent') ?? '""'), history: historyOf(fields), members };
}

/** moby image/v1 `HistoryFromConfig`. */
function historyOf(fields: ReadonlyMap<string, string>): string {
  const containerConfig = readStruct(CONTAINER_CONFIG, fields.get('container_config') ?? '{}', '');
  const cmd = containerConfig.get('Cmd') ?? 'null';
  const words = cmd === 'null' ? [] : elementsOf(cmd);
  // Each character is escaped by itself, so that joined texts are the text of the joined strings.
  const createdBy = `"${words.map((word) => word.slice(1, -1)).join(' ')}"`;
  return writeStruct(HISTORY, new Map([...fields, ['created_by', createdBy]]));
}

/** moby image/v1 `MakeConfigFromV1Config`; `diffIds` and `histories` are those of all layers, lowest first. */
export function makeConfig(
  { members }: V1Image,
  diffIds: readonly Digest[],
  histories: readonly string[],
): Uint8Array {
  const rootfs = JSON.stringify({ type: 'layers', diff_ids: diffIds });
  return Buffer.from(goMap([...members, ['rootfs', rootfs], ['history', `[${histories.join(',')}]`]]));
}

/** moby api/types/versions `LessThan`: parts that are not numbers, and those that are not there, are 0. */
function isOlder(version: string, minimum: readonly number[]): boolean {
  const parts = version.split('.').map((part) => (/^[+-]?\d+$/.test(part) ? Number(part) : 0));
  for (let i = 0; i < Math.max(parts.length, minimum.length); i++) {
    const difference = (parts[i] ?? 0) - (minimum[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
