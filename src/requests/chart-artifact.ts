import { digestOf } from '../bytes/hash.js';
import { modifiedAt, streamRegular } from '../bytes/files.js';
import type { MemoryBytes } from '../bytes/region.js';
import { openChart } from '../discover/chart-files.js';
import { SourceFiles } from '../discover/source-files.js';
import { parseYaml } from '../discover/yaml.js';
import { NOTHING_OF_ITS_OWN } from '../formats/audit.js';
import type { Format, SourceImage } from '../formats/format.js';
import { ListingReader } from '../formats/listing.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { elementsOf, goMap, goString, goTypes, membersOf, stringOf, type GoType } from '../model/go-json.js';
import { isObject } from '../model/json.js';

/*
 * What `helm push` makes of a packed chart (helm.sh/helm/v3 pkg/registry/client.go `Push`, pkg/registry/chart.go,
 * pkg/chart/metadata.go; oras.land/oras-go v1 content `GenerateManifest`): an OCI manifest without a media type of its
 * own, the metadata of Chart.yaml as JSON for its config, the archive as its layer. The chart counts as created when its
 * file was last changed.
 */
const CONFIG = 'application/vnd.cncf.helm.config.v1+json';
const LAYER = 'application/vnd.cncf.helm.chart.content.v1.tar+gzip';
const ANNOTATION = 'org.opencontainers.image.';
/** What helm holds in memory, as we do (`MaxDecompressedChartSize`). */
const MAX_CHART = 100 * 1024 * 1024;

const text = goTypes.string;
/** Whatever a field of Go's type `interface{}` holds. */
const anything: GoType = { zero: 'null', empty: ['null'], rewrite: (json) => anyJson(json) };
const maintainer = goTypes.struct([
  ['name', text, 'omitempty'],
  ['email', text, 'omitempty'],
  ['url', text, 'omitempty'],
]);
const dependency = goTypes.struct([
  ['name', text],
  ['version', text, 'omitempty'],
  ['repository', text],
  ['condition', text, 'omitempty'],
  ['tags', goTypes.slice(text), 'omitempty'],
  ['enabled', goTypes.bool, 'omitempty'],
  ['import-values', goTypes.slice(anything), 'omitempty'],
  ['alias', text, 'omitempty'],
]);
const METADATA = goTypes.struct([
  ['name', text, 'omitempty'],
  ['home', text, 'omitempty'],
  ['sources', goTypes.slice(text), 'omitempty'],
  ['version', text, 'omitempty'],
  ['description', text, 'omitempty'],
  ['keywords', goTypes.slice(text), 'omitempty'],
  ['maintainers', goTypes.slice(goTypes.pointer(maintainer)), 'omitempty'],
  ['icon', text, 'omitempty'],
  ['apiVersion', text, 'omitempty'],
  ['condition', text, 'omitempty'],
  ['tags', text, 'omitempty'],
  ['appVersion', text, 'omitempty'],
  ['deprecated', goTypes.bool, 'omitempty'],
  ['annotations', goTypes.map(text), 'omitempty'],
  ['kubeVersion', text, 'omitempty'],
  ['dependencies', goTypes.slice(goTypes.pointer(dependency)), 'omitempty'],
  ['type', text, 'omitempty'],
]);

type Metadata = Readonly<Record<string, unknown>>;

/** Packed charts as the images of a place, by the names that `helm push CHART oci://HOST/BELOW` gives them. */
export async function chartPlace(files: readonly string[], below: string): Promise<Place> {
  const images: SourceImage[] = [];
  for (const file of files)
    images.push(await artifactOf(file, below.replace(/^oci:\/\/[^/]+\//, '').replace(/\/+$/, '')));
  const format: Format = {
    prefix: 'charts',
    title: 'packed Helm charts',
    operand: 'FILE',
    recognises: () => false,
    open: () => Promise.resolve(new ListingReader(() => listed(images), NOTHING_OF_ITS_OWN)),
    blobStore: undefined,
    remove: undefined,
    traits: {
      dropsHost: true,
      takesPort: false,
      holdsSignatures: false,
      uncompressedByNature: false,
      compressesSaved: false,
      remote: true,
      sequential: false,
      takesSparse: false,
    },
  };
  return { format, path: 'charts' };
}

async function* listed(images: readonly SourceImage[]): AsyncGenerator<SourceImage> {
  await Promise.resolve();
  yield* images;
}

async function artifactOf(file: string, below: string): Promise<SourceImage> {
  const sources = new SourceFiles([file], false);
  const chart = await openChart(file, sources);
  const yaml = chart?.read('Chart.yaml');
  if (yaml === undefined)
    throw new ImgconvError('DOCUMENT_INVALID', `${file}: not a Helm chart: there is no Chart.yaml in it`);
  const metadata = metadataOf(yaml, file);
  const layer = memory(file, await bytesOf(file));
  const config = memory(
    `${file}: config`,
    Buffer.from(METADATA.rewrite(JSON.stringify(metadata), `${file}: Chart.yaml`)),
  );
  const parts = [descriptorJson(CONFIG, config), descriptorJson(LAYER, layer)] as const;
  const annotations = annotationsOf(metadata, modifiedAt(file));
  const manifest = memory(
    `${file}: manifest`,
    Buffer.from(
      `{"schemaVersion":2,"config":${parts[0]},"layers":[${parts[1]}],"annotations":${annotations}}`,
    ),
  );
  const located = new Map<Digest, MemoryBytes>(
    [layer, config, manifest].map((at) => [digestOf(at.bytes), at]),
  );
  // A tag has no plus sign (helm.sh/helm/v3 pkg/registry/client.go).
  const name = `${below}/${textIn(metadata, 'name')}:${textIn(metadata, 'version').replaceAll('+', '_')}`;
  return {
    name,
    where: file,
    digest: digestOf(manifest.bytes),
    locate: ({ digest }) => located.get(digest),
    provesDiffIds: false,
    signatures: [],
    warnings: [],
  };
}

function memory(path: string, bytes: Uint8Array): MemoryBytes {
  return { kind: 'memory', path, size: bytes.length, bytes };
}

async function bytesOf(file: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of streamRegular(file, file)) {
    if ((size += chunk.length) > MAX_CHART)
      throw new ImgconvError('ARCHIVE_INVALID', `${file}: more than ${MAX_CHART} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

function metadataOf(yaml: string, file: string): Metadata {
  const failed = (error: ImgconvError) => {
    throw error;
  };
  for (const { value } of parseYaml(yaml, `${file}: Chart.yaml`, failed))
    if (isObject(value) && textIn(value, 'name') !== '' && textIn(value, 'version') !== '') return value;
  throw new ImgconvError('DOCUMENT_INVALID', `${file}: Chart.yaml: no name and version`);
}

function textIn(object: Metadata, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}

/** As Go reads a value into `interface{}` and writes it again. */
function anyJson(json: string): string {
  if (json.startsWith('"')) return goString(stringOf(json));
  if (json.startsWith('[')) return `[${elementsOf(json).map(anyJson).join(',')}]`;
  if (json.startsWith('{')) return goMap(membersOf(json).map(([key, value]) => [key, anyJson(value)]));
  return json;
}

function descriptorJson(mediaType: string, { bytes, size }: MemoryBytes): string {
  return `{"mediaType":${goString(mediaType)},"digest":"${digestOf(bytes)}","size":${size}}`;
}

function annotationsOf(metadata: Metadata, modified: Date): string {
  const list = (key: string) => (Array.isArray(metadata[key]) ? (metadata[key] as unknown[]) : []);
  const own = new Map<string, string>();
  const add = (key: string, value: string) => {
    if (value.trim() !== '') own.set(`${ANNOTATION}${key}`, value);
  };
  add('description', textIn(metadata, 'description'));
  add('title', textIn(metadata, 'name'));
  add('version', textIn(metadata, 'version'));
  add('url', textIn(metadata, 'home'));
  add('created', `${modified.toISOString().slice(0, 19)}Z`);
  const [source] = list('sources');
  add('source', typeof source === 'string' ? source : '');
  const authors = list('maintainers')
    .filter(isObject)
    .map((one) => {
      const [name, email] = [textIn(one, 'name'), textIn(one, 'email')];
      return email === '' ? name : `${name} (${email})`;
    });
  add('authors', authors.join(', '));
  const { annotations } = metadata;
  for (const key of isObject(annotations) ? Object.keys(annotations) : [])
    if (![`${ANNOTATION}version`, `${ANNOTATION}title`].includes(key))
      own.set(key, textIn(isObject(annotations) ? annotations : {}, key));
  return goMap([...own].map(([key, value]) => [key, goString(value)]));
}
