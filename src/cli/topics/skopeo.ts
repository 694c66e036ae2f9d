import type { Topic } from './topic.js';

export const skopeo: Topic = {
  summary: 'what replaces which skopeo command, and imgconv sync',
  text: `
# Commands
skopeo copy :: imgconv copy, with the same prefixes. All platforms are the default.
skopeo sync :: imgconv sync, with the same options.
skopeo inspect :: imgconv inspect
skopeo list-tags :: imgconv ls docker://HOST/REPO
a local registry and skopeo sync, to fill its storage :: imgconv dir2reg TREE STORE, or imgconv save REF… STORE

# imgconv sync
It takes the options of skopeo sync, and more: --src and --dest take the short names of all formats (imgconv help
formats), and --src also takes yaml and list. Unlike skopeo sync, it can be run again and resumes.

    $ imgconv sync --src dir --dest docker sync localhost:5000/mirror --all --scoped --quiet
    $ imgconv sync --src docker --dest reg localhost:5000/mirror/demo/base ./store
    written   base:1 sha256:721da6b6…
    1 image: 1 written; blobs: …

More examples:

    imgconv sync --src yaml --dest docker --all sync.yml registry.example.com/mirror
    imgconv sync --src list --dest dir images-list.txt ./sync --keep-going

--src KIND, --dest KIND :: What SRC and DST are: docker, dir, reg, oci, tar, ocitar; SRC also yaml or list (a file as in
  imgconv help lists).
--all :: Indexes with all platforms. Without it imgconv takes this machine's platform of each, as skopeo does, or
  the one of --platform.
--scoped :: Keeps host and path in names. Without it, as with skopeo, only the last component stays: quay.io/org/app:1
  becomes app:1.
--rename FROM=TO :: Renames repositories, which then keep their path. Repeatable.
--append-suffix TEXT :: Adds this to tags.
--keep-going :: Continues after an image that fails.
--digestfile FILE :: Writes the digest and the place of each synced image to this file.
--extras, --no-extras :: --extras also looks for attached artifacts. --no-extras leaves out attached artifacts that SRC
  lists. Without both, imgconv takes what SRC lists, as skopeo does.

# The YAML file
It is skopeo's, with images, images-by-tag-regex, images-by-semver, credentials, tls-verify and cert-dir. A
repository without a list of tags means all tags. The entry of a registry overrides the command line. Versions are
compared as in skopeo (Masterminds/semver). Patterns are those of Go, which have no look-around.

Two differences to skopeo: an unknown key is an error that names its line, and two images with the same target name are
an error. skopeo ignores the key, and the later image wins.
`,
};
