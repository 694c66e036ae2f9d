import type { Topic } from './topic.js';

export const scripts: Topic = {
  summary: 'three scripts with the arguments of common migration scripts',
  text: `
Three scripts in bin/ replace shell scripts that are in common use, with the same arguments. --help of each tells more.
They need no skopeo; with IMGCONV_USE_SKOPEO=1 they use it.

convert-images.sh SOURCE_REGISTRY IMAGES_DIR :: Fetches the listed images for linux/amd64 into a tree, then stores the
  tree as docker/registry/v2 in the working directory. IMAGES_LIST_FILE names the list.
install-images.sh REGISTRY_PATH DOMAIN :: Lays out the storage of a registry as docker/skopeo/NAME:TAG/ by hard link,
  then pushes it into a registry.
image-select.sh LIST_DIR POOL OUTPUT_DIR :: Copies the images that the *.list files below LIST_DIR name from one storage
  to another.

    $ imgconv dir2reg sync store --quiet
    $ mkdir lists && printf '%s\\n' '# a release' demo/base:1 demo/app:1.0 > lists/release.list
    $ ../imgconv/bin/image-select.sh lists store selected
    written   demo/app:1.0 sha256:8039ed92…
    written   demo/base:1 sha256:721da6b6…
    2 images: 2 written; blobs: 8 linked (7.3 kB)

With a registry:

    IMAGES_LIST_FILE=images-list.txt bin/convert-images.sh docker.io images
    bin/install-images.sh /var/lib/registry registry.example.com
`,
};
