import type { Topic } from './topic.js';

export const clusters: Topic = {
  summary: 'fill the registry folder of a cluster image: sealer, sealos, KubeKey',
  text: `
Kubernetes distributions for closed networks ship a root folder. A private registry serves its folder registry, and all
nodes pull from that. imgconv fill puts there every image that the other files of the folder name.

    $ mkdir -p rootfs/manifests rootfs/images && cat > rootfs/manifests/imageList <<'END'
    > localhost:5000/demo/multi:1
    > oci://localhost:5000/helm-charts/demo:0.1.0
    > END
    $ imgconv dir2tar sync rootfs/images/base.tar demo/base:1 --quiet
    $ imgconv push sync docker://localhost:5000 demo/multi:1 helm-charts/demo:0.1.0 --quiet
    $ imgconv fill rootfs
    written   demo/multi:1 sha256:7bfdc4ee…
    written   helm-charts/demo:0.1.0 sha256:85d99390…
    written   demo/base:1 sha256:721da6b6…
    3 images: 3 written; blobs: …
    $ imgconv fill rootfs --check
    3 images named, 0 differences

A second run fetches only what is new, and a run that was interrupted resumes. If a tag names another image in its
registry now, the report says "updated". What an archive of the folder holds is not looked for in a registry.

# What is read
images/*.tar :: Archives of docker save and OCI archives, packed or not. images/registry.tar is left alone: the registry
  itself is started from it.
images/shim/* :: sealos: lists, a reference a line.
images/skopeo/tar.txt :: sealos: docker-archive:FILE@NAME and oci-archive:FILE@NAME, a line each.
images/index.json :: KubeKey: an OCI layout. Its images for single platforms, NAME:TAG-amd64 and NAME:TAG-arm64, become one
  index NAME:TAG, as KubeKey pushes them.
manifests/, imageList :: What imgconv images reads: Kubernetes YAML and JSON, kustomizations, lists called imageList.
charts/ :: Helm charts, folders and .tgz: the images that they need.
imageListWithAuth.yaml :: sealer: images, with the credentials of their registries.
Kubefile :: Only to say what COPY takes from elsewhere: that is not in the folder yet.

What cannot be determined from the files, such as variables and templates, is listed on stderr with file, line and field.

# Names
The registry of a cluster has no hosts in its names: quay.io/org/app:1 becomes org/app:1. Docker Hub's own images get two
names, as clusters of sealer ask for both: mysql:8 and library/mysql:8 are docker.io/library/mysql:8. If two registries
have different images of one name, nothing is written.

# Where images come from
Each image comes from its own registry, with the credentials of docker login, podman login or --authfile. --from PLACE
looks into a store, an archive or a mirror (docker://mirror.local/) first, and can be given several times. --platform
linux/amd64 takes one platform; without it all platforms of an index are taken.

# Charts
References to charts, oci://HOST/CHART:VERSION, are carried as they are. --charts-as charts also stores each packed chart
of charts/ as charts/NAME:VERSION, with the bytes that helm push makes of it: helm pull oci://REGISTRY/charts/NAME gets it.
The time in it is that of the file's last change, in UTC.

# For CI
imgconv fill ROOTFS --check compares and writes nothing. The exit status is 1 if it finds a difference:
missing :: A file names it, and it is not there.
unnamed :: It is there, and no file names it.
platform :: It lacks a platform of --platform.
damaged :: imgconv verify would report it.
`,
};
