import type { Topic } from './topic.js';

export const names: Topic = {
  summary: 'how to choose images, and which names they get in the target',
  text: `
# Choosing images
References after the places choose images. Without references, imgconv takes all tagged images.

demo/app:1.0 :: The image with this name. Without a tag, :latest is meant.
demo/app@sha256:… :: The image with this digest in this repository, with or without a tag.
'demo/*:1.*' :: All images that match. Put globs in quotes. * matches within one component, **/ any components.
'demo/*@*' :: All manifests in these repositories by digest, also untagged ones and members of indexes.
sha256:… :: The image with this digest. 12 digits are enough.
@0 :: The first image of an archive or layout. Like skopeo's @N, it counts the entries of manifest.json or
  index.json from 0.

ls shows what can be chosen:

    $ imgconv ls sync 'demo/*:1*'
    demo/app:1.0 …
    demo/base:1 …
    demo/dup:1 …
    demo/empty:1 …
    demo/list:1 …
    demo/multi:1 …

alpine, library/alpine and docker.io/library/alpine are the same name. A name without a host matches any host.
A reference may also follow a path in copy: reg:store:demo/app:1.0 at the source chooses an image, and at the target it
is the new name. In an OCI layout that has only tags, the repository is the name of the folder or file.

# Names in the target
The formats dir and reg hold repository paths without the host: quay.io/org/app:1 becomes org/app:1, and
docker.io/library/alpine:3 becomes library/alpine:3. tar, ocitar and oci keep names unchanged.

-t, --tag NAME:TAG :: Names a single image.
--scoped :: Keeps the host. The storage of a registry cannot hold a port: a host with a port is dropped, and the
  report says so.
--rename FROM=TO :: Replaces a repository, or its first components. Repeatable.
--strip-prefix PATH :: Removes these first components, after --rename.
--add-prefix PATH :: Puts these components first, after --strip-prefix.

    $ imgconv dir2reg sync store demo/base:1 --strip-prefix demo --add-prefix mirror/site-b
    written   mirror/site-b/base:1 sha256:721da6b6…
    1 image: 1 written; blobs: 3 linked (3.0 kB)
    $ imgconv dir2reg sync store demo/base:1 --rename demo=team/tools
    written   team/tools/base:1 sha256:721da6b6…
    1 image: 1 written; blobs: 3 already there (3.0 kB)

A line SOURCE TARGET in a list renames one image (imgconv help lists). The mapping options do not change names that
--tag or TARGET gives, but the host is dropped from them too. If two different images would get the same name,
imgconv refuses and writes nothing.

# Images without a name
docker save IMAGE_ID, crane pull --format=oci and cosign save write no name, and every target needs one. Choose such an
image by its number or digest, and name it:

    $ imgconv tar2dir unnamed.tar tree; echo "exit status $?"
    failed    unnamed.tar: 1bf86064….json
    1 image: 0 written, 1 failed; blobs: none
    imgconv: unnamed.tar: 1bf86064….json: the image has no name
      name it: imgconv tar2dir unnamed.tar tree @0 -t unnamed:…
    exit status 1
    $ imgconv tar2dir unnamed.tar tree @0 -t demo/app:3
    written   demo/app:3 sha256:… (from sha256:…)
              note: 2 layers are now gzip, so the digest is a new one
    1 image: 1 written; blobs: 2 copied (…), 2 compressed (11.3 kB)

Lines such as "@0 team/app:1" or "sha256:… team/db:2" in a list name several images.
`,
};
