import type { TarIndex } from '../codecs/tar-index.js';
import { ImgconvError } from '../model/errors.js';
import { INDEX_FILE, LAYOUT_FILE } from '../model/oci-layout.js';

/** What is packed in a tar one level too deep: its folder, if this member is one that shows it. */
const PACKED: readonly {
  readonly what: string;
  readonly folder: (name: string, index: TarIndex) => string | undefined;
}[] = [
  {
    what: "a registry's storage",
    folder: (name) =>
      /^(.*?)(?:(?:^|\/)docker\/registry\/v2)?(?:^|\/)repositories\/.+\/_manifests\//.exec(name)?.[1],
  },
  {
    what: 'an OCI layout',
    folder: (name, index) => beside(name, INDEX_FILE, LAYOUT_FILE, index),
  },
  {
    what: "skopeo's directories",
    folder: (name, index) => beside(name, 'manifest.json', 'version', index)?.split('/')[0],
  },
  {
    what: 'other archives',
    folder: (name) =>
      /\.(?:tar|tgz|tar\.(?:gz|zst|xz|bz2))$/.test(name) ? (/^(.*)\//.exec(name)?.[1] ?? '') : undefined,
  },
];

/** The folder that holds both of two files. */
function beside(name: string, file: string, other: string, index: TarIndex): string | undefined {
  if (!name.endsWith(`/${file}`)) return undefined;
  const folder = name.slice(0, -file.length - 1);
  return index.has(`${folder}/${other}`) ? folder : undefined;
}

/** A tar that is no archive of images: what it is instead, if that can be told. */
export function noImages(index: TarIndex): ImgconvError {
  const missing = index.absent('neither manifest.json nor index.json in it: no image archive');
  if (missing.code !== 'FORMAT_UNKNOWN') return missing;
  const names = index.names();
  for (const { what, folder } of PACKED)
    for (const name of names) {
      const found = folder(name, index);
      if (found === undefined) continue;
      return new ImgconvError(missing.code, `${index.path}: no image archive, but ${what} in a tar`, {
        hint: `unpack it with tar -x, then give ${found === '' ? 'the folder where that was done' : `the folder ${found}`}`,
      });
    }
  return new ImgconvError(missing.code, missing.message, {
    hint: 'an archive of images is what docker save, podman save, skopeo or imgconv write',
  });
}
