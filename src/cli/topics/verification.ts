import type { Topic } from './topic.js';

export const verification: Topic = {
  summary: 'what is verified and when; finding and repairing damage',
  text: `
# During a conversion
before anything is written :: The digest of every manifest; that each blob is present with the right size; names; free space.
a blob is copied :: Its digest and size, on the bytes that are written.
a blob is linked :: Its digest and size, by reading it; then that the link is the file that was read.
a blob is already there :: Its digest, by reading it. imgconv does not trust a file for its name.
a layer comes out of a docker-archive :: Also that it unpacks to the diffID of the config.
a layer is compressed or unpacked :: The digest of the input. The new digest is that of the bytes that are written.
an image becomes visible :: All its blobs are in place and flushed to the disk. The tag, folder or file name comes last.
ls, inspect :: Manifests and configs. Layers are not read.
verify :: Everything. With --deep also that layers unpack to their diffIDs, in dir, reg and oci too.
never :: Signatures, and whether a program in the image runs.

A damaged image fails, and the others are written. A store never holds a tag whose image is incomplete, even if imgconv is
killed: run the same command again. It removes unfinished work (.imgconv-… folders) of killed runs.

    $ cp -r sync damaged && printf x >> damaged/demo/base:1/8e277fc08a7283ab4f00ce16142ca7bfdf4e50afea7d8e9bb462a9191d2f8e2b
    $ imgconv dir2reg damaged store demo/base:1 demo/dup:1; echo "exit status $?"
    …
    2 images: 1 written, 1 failed; blobs: 5 linked (4.6 kB)
    imgconv: demo/base:1: damaged/demo/base:1/8e277fc0…: …
      the file is damaged or was cut off: fetch it again, or convert the other images without it
    exit status 1

# imgconv verify
imgconv verify SRC reads all of a place, of any format, and changes nothing. It hashes each blob once. The exit status is
1 if an image is broken, otherwise 0. --json names every image that a finding affects.

broken :: A blob, a manifest or a member of an index is damaged or missing; a link is missing or wrong, so that a registry
  will not serve the image; a name breaks the grammar.
space :: Blobs that no image needs, abandoned uploads, unfinished work of a killed run.
cosmetic :: A tag whose index lacks the tag's manifest, links to nothing, a missing version or oci-layout file, files that
  do not belong to the format.

    $ imgconv verify sync
    11 images checked, 0 broken; … blobs read (…)
    $ imgconv verify damaged; echo "exit status $?"
    broken    damaged/demo/base:1/8e277fc0…: sha256:8e277fc0… has … bytes, the file has …
              in demo/base:1
    11 images checked, 1 broken; … blobs read (…)
    exit status 1

# --repair
--repair FROM fetches what is missing or damaged from another place of any format; repeat it for several places. It
verifies each blob by its digest, and writes links that are missing or wrong. It moves a damaged file to .damaged:
no image needs it, and you may delete it.

    $ imgconv verify damaged --repair sync
    repaired  damaged/demo/base:1/8e277fc0… from sync/demo/base:1/8e277fc0…
              the damaged one is now damaged/.damaged/sha256-8e277fc0…
    space     damaged/.damaged/sha256-8e277fc0…: a damaged file, put here by a repair (…)
    11 images checked, 0 broken; … blobs read (…); 1 of lost space (…)

- SRC and FROM may be registries. The options for a source in imgconv help registries apply to each of them.
- An archive cannot be repaired in place. Write a new one with imgconv copy from a place where the images are whole.
- Files that nothing names by digest cannot be repaired: a tag that holds no digest, the manifest.json of a folder named
  by a tag, index.json. Convert such an image again.
`,
};
