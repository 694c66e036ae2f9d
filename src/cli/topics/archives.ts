import type { Topic } from './topic.js';

export const archives: Topic = {
  summary: 'tars of docker save and docker load: versions, pipes, compressed files',
  text: `
# Reading
imgconv reads what all versions of docker save wrote, and archives of podman, skopeo, crane, kaniko, jib, ko, bazel,
buildah and nix.

- Up to Docker 24, an archive has no manifests, and its layers are uncompressed. imgconv compresses the layers and makes
  a manifest, as docker push does. The image IDs stay.
- Archives of Docker 25 and later, and those of imgconv, carry manifests. imgconv keeps them, and every digest.

    $ imgconv tar2reg saved.tar store
    written   demo/app:1.0 sha256:… (from sha256:…)
              note: 4 layers are now gzip, so the digest is a new one
    written   demo/app:2.0 sha256:… (from sha256:…)
              note: 2 layers are now gzip, so the digest is a new one
    written   demo/base:1 sha256:… (from sha256:…)
              note: 1 layer is now gzip, so the digest is a new one
    written   demo/dup:1 sha256:… (from sha256:…)
              note: 3 layers are now gzip, so the digest is a new one
    4 images: 4 written; blobs: 8 copied (…), 7 compressed (25.6 kB)

--compression keep stores the layers uncompressed (imgconv help compression). docker save IMAGE_ID writes no name:
imgconv help names shows how to give one.

Layers in an archive may be compressed. imgconv keeps gzip and zstd. It unpacks bzip2 and xz, for which there is no
media type, and then treats such a layer as an uncompressed one. It ignores zeros after the end of a gzip layer or
archive, as gzip and Docker do; anything else there is damage. It reads manifest.json as Docker does: a key counts in
any case, a key in two spellings is refused, and the config may have any file name.

# Writing
imgconv writes an OCI layout with the original blobs, manifests and indexes, and beside it the manifest.json that
engines read. docker load and podman load take the file, and tar2reg later gives every digest back. An existing file
of that name is replaced.

    $ imgconv reg2tar store images.tar demo/app:1.0 demo/base:1
    written   demo/app:1.0 sha256:…
    written   demo/base:1 sha256:…
    2 images: 2 written; blobs: … copied (…)

--layers uncompressed writes plain layer tars, for tools that need them. docker load takes one platform of an index:
see imgconv help platforms.

# Pipes
The path - is stdin or stdout. imgconv reads an archive from a pipe in one pass without a temporary copy, and gives
  the same images and digests as for the same file. If the archive goes to stdout, the report goes to stderr.

    $ cat saved.tar | imgconv tar2reg - store2 demo/base:1
    written   demo/base:1 sha256:… (from sha256:…)
              note: 1 layer is now gzip, so the digest is a new one
    1 image: 1 written; blobs: 2 copied (…), 1 compressed (8.7 kB)
    $ imgconv dir2tar sync - demo/base:1 --quiet | tar -t
    blobs/sha256/721da6b6…
    blobs/sha256/8e277fc0…
    blobs/sha256/1c36e601…
    oci-layout
    index.json
    manifest.json
    repositories

With an engine, and over the network:

    docker save app:1 db:2 | imgconv tar2reg - ./store
    imgconv reg2tar ./store - 'app:*' | docker load
    imgconv reg2tar ./store - 'app:*' --archive-compression zstd | ssh host docker load

Use set -o pipefail in scripts. Without it, the shell ignores a failure on the left of a pipe.
`,
};
