import type { Topic } from './topic.js';

export const lists: Topic = {
  summary: 'lists of images, and how imgconv images makes one from the files you deploy',
  text: `
# The format of a list
--images-file takes a list: one reference a line; # begins a comment; SOURCE TARGET on a line renames. - is stdin.
Several lists may be given.

    $ printf '%s\\n' '# for site B' demo/base:1 'demo/app:1.0  tools/greeter:7' > site-b.txt
    $ imgconv dir2reg sync site-b --images-file site-b.txt
    written   demo/base:1 sha256:721da6b6…
    written   tools/greeter:7 sha256:8039ed92…
    2 images: 2 written; blobs: 8 linked (7.3 kB)

# imgconv images: which images do these files need?
imgconv images PATH… reads the files that you deploy and prints the images that they name, sorted, each once. It searches
folders. It fetches nothing.

    $ mkdir deploy && cat > deploy/web.yaml <<'END'
    > apiVersion: apps/v1
    > kind: Deployment
    > metadata: {name: web}
    > spec:
    >   template:
    >     spec:
    >       initContainers: [{name: wait, image: busybox}]
    >       containers: [{name: web, image: "demo/app:1.0"}]
    > END
    $ cat > deploy/compose.yaml <<'END'
    > services:
    >   db: {image: "demo/base:\${DB_TAG:-1}"}
    >   ui: {image: "demo/ui:\${UI_TAG}"}
    > END
    $ imgconv images deploy
    busybox
    demo/app:1.0
    demo/base:1
    imgconv: not determined: deploy/compose.yaml:3 services.ui.image: demo/ui:\${UI_TAG}: the variable UI_TAG has no value; …
    $ UI_TAG=7 imgconv images deploy --why --env
    busybox
      # deploy/web.yaml:7 spec.template.spec.initContainers.0.image
    demo/app:1.0
      # deploy/web.yaml:8 spec.template.spec.containers.0.image
    demo/base:1
      # deploy/compose.yaml:2 services.db.image
    demo/ui:7
      # deploy/compose.yaml:3 services.ui.image

Images that cannot be determined are listed on stderr; the exit status stays 0. A file that cannot be read is an error
with its line: imgconv reads the other files and ends with exit status 1. --why adds file, line and field of each use;
--json prints everything as one document.

# Which files
Kubernetes :: Every image field of every resource in YAML or JSON, with lists and custom resources, also in the form
  {registry, repository, tag, digest}; image volumes.
kustomize :: The resources of a kustomization, with its patches and images: applied. Files that a kustomization
  includes do not count by themselves.
Compose :: services.*.image, with variables from .env and, with --env, from the environment; extends, include and the
  override file. Services that are only built have no image.
Helm charts :: Folders and .tgz files. If helm is installed, imgconv reads what helm template renders. Otherwise it
  reads image fields of values.yaml and of subcharts, with appVersion as the missing tag, image lists in annotations,
  and images in templates that contain no template expressions.
Lists :: Files named like images.txt, NginxImageList or site.list, and any other list that you name.

--env :: Takes variables of Compose files from the environment first. Without it imgconv reads only .env, because
  values become part of references, which are printed and sent to registries.
--allow-outside :: Also reads files outside the given paths, to which includes, bases and symbolic links lead.
  Without it such files are listed as not determined. If you name a file, its whole folder counts as given. imgconv
  never reads pipes and devices.
`,
};
