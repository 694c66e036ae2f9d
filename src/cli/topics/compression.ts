import type { Topic } from './topic.js';

export const compression: Topic = {
  summary: 'compression of layers and of archive files, and what it does to digests',
  text: `
# Layers
imgconv changes no layer unless you ask, with one exception: images that come without a manifest (docker save up to
Docker 24) have uncompressed layers, which it compresses with gzip on the way to dir, reg and registries, as docker
push does. A changed layer gives the image a new digest, which the report shows. The image ID stays.

--compression keep :: Keeps all layers unchanged. The default for images that come with a manifest.
--compression gzip :: Compresses uncompressed layers with gzip.
--compression zstd :: Compresses uncompressed layers with zstd. Only for OCI manifests: Docker's have no media type
  for it.
--compression docker :: Compresses uncompressed layers as docker push does, and writes its manifest: the image gets the
  digest that docker push gives it. docker:go1.27 does so for a Docker that is built with Go 1.27 or later.
--compression none :: With --recompress: unpacks compressed layers.
--recompress :: With gzip, zstd or none: also changes layers that are compressed in another way.
--compression-level N :: 1 (fast) to 9 (small), for zstd to 19. The default is 1 for gzip and 3 for zstd.
--layers uncompressed :: Writes a docker-archive with plain layer tars, for tools that need them. The same as
  --compression none --recompress.

    $ imgconv tar2reg saved.tar store demo/base:1
    written   demo/base:1 sha256:… (from sha256:…)
              note: 1 layer is now gzip, so the digest is a new one
    1 image: 1 written; blobs: 2 copied (…), 1 compressed (8.7 kB)
    $ imgconv tar2reg saved.tar store2 demo/base:1 --compression keep
    written   demo/base:1 sha256:…
    1 image: 1 written; blobs: 3 copied (…)

imgconv does not compress a layer again if it finds the compressed form in the target: in the image's repository, or in
other images. In a target of thousands of images it looks at more of the others the more there is to compress. Which of
their manifests have which layers it keeps in ~/.cache/imgconv, or $XDG_CACHE_HOME/imgconv. Deleting these files is
safe: the next run reads the target's manifests again.

# Same input, same bytes
The same input and level give the same bytes, whatever --jobs says. gzip's level 1, the default, comes from an encoder of
imgconv's own, so its bytes are the same on every version of Node and every processor. It takes about half the time of
level 4, for layers of the same size. The bytes of other levels come from the zlib inside Node. Node 20, 22 and
24 on x86-64 give the same. Another major version or another kind of processor may give other bytes, and so another
digest. On Node before 22.15, WebAssembly and JavaScript do the work of zstd: it is slower, and later
Nodes may give other bytes.

# The digest that an image had
docker save and the store of an engine hold layers unpacked, so the digest is lost by which an image is known elsewhere.
Compressed by the same program, and with a manifest in the same form, an image has it again:

    $ imgconv tar2reg saved.tar pool2 demo/app:1.0 --compression docker
    written   demo/app:1.0 sha256:8039ed92… (from sha256:…)
              note: digest of docker push (Go gzip, level 6)
    1 image: 1 written; blobs: …

--expect NAME@DIGEST :: Tries the known programs until the image has this digest, and fails, changing nothing, if none
  gives it. NAME is the image's in the source or in the target, with its tag or without. The programs are those with Go's
  gzip (docker push, BuildKit, crane) before Go 1.27 and since, and skopeo and podman, for what they pull or load and then
  push. An image may have layers of three of them, one above the other. The config has to be unchanged. May be repeated.
  What podman or buildah built on another image can be restored only if it was built with --format docker: OCI manifests,
  their default, name the digest of the base image, which no archive holds. What they built from scratch can be restored
  in both forms (verified with buildah 1.28.2).
--expect known :: Tries the digests that the source remembers: docker-root:, docker-daemon: and containers-storage: do.
  An image that gets none of them keeps its own, and a note says so, as it does when the source remembers none.

Each program that is tried compresses each layer once, also one that several images share. Nothing counts but an equal
digest. An image of more than about 20 layers that three programs made has too many combinations to try all of them: the
search for it ends after about half a minute, and the message says so.

# Archive files
imgconv recognises archives that are compressed with gzip, zstd, xz or bzip2 by their content. It writes a compressed
archive if the file name ends in .gz or .zst, or as --archive-compression says:

    $ imgconv dir2tar sync images.tar.zst demo/base:1
    written   demo/base:1 sha256:721da6b6…
    1 image: 1 written; blobs: 3 copied (3.0 kB)
    $ imgconv ls images.tar.zst
    demo/base:1  sha256:721da6b6…  image  3.0 kB  linux/amd64
`,
};
