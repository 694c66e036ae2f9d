import type { Topic } from './topic.js';

export const rescue: Topic = {
  summary: 'images out of an engine that does not start, or is not there',
  text: `
Engines keep images unpacked or in stores of their own. imgconv reads these from the disk, without the engine: mount the
disk of the dead machine, read-only if you like, and give the folder. Here it is at node.

# Six commands
What is there; IDs are those of docker images --no-trunc:

    $ imgconv ls docker-root:node/var/lib/docker
    localhost:5102/sample/raw:1    sha256:acfa86ad…  image  …
    localhost:5102/sample/three:1  sha256:88a9b47e…  image  …
    localhost:5102/sample/zstd:1   sha256:8fd4d127…  image  …
    sample/hard:1                  sha256:30b57666…  image  …

What is damaged: each layer is put together and compared with its digest, and a damaged file is named:

    $ imgconv verify docker-root:node/var/lib/docker
    4 images checked, 0 broken; … blobs read (…)

Copy all into a store. Images that are damaged fail, the others come:

    $ imgconv copy docker-root:node/var/lib/docker reg:rescued
    written   sample/hard:1 sha256:756f6694… (from …)
              note: 5 layers are now gzip, so the digest is a new one
    …
    4 images: 4 written; blobs: …
    $ imgconv verify rescued
    4 images checked, 0 broken; … blobs read (…)

Give them to another engine, or to a registry:

    $ imgconv reg2tar rescued rescued.tar --quiet
    $ imgconv push rescued docker://localhost:5000/rescued --quiet

Then docker load -i rescued.tar, ctr images import rescued.tar, or podman load -i rescued.tar. If another engine runs on
this machine, imgconv copy docker-root:node/var/lib/docker docker-daemon: needs no file between.

# Where engines keep images
Docker :: docker-root:/var/lib/docker, or the folder that dockerd was given for it. Storage drivers overlay2 and vfs, and the
  containerd image store of Docker 23 and later, are found there. aufs, btrfs and zfs are not read.
containerd :: containerd:/var/lib/containerd. Namespaces are k8s.io for Kubernetes and default for ctr; all are read unless
  one is given: containerd:/var/lib/containerd#k8s.io
k3s, rke2 :: the folder agent/containerd in /var/lib/rancher/k3s or /var/lib/rancher/rke2
podman, buildah, CRI-O :: containers-storage:/var/lib/containers/storage, and of other users the folder
  ~/.local/share/containers/storage. Drivers overlay and vfs.

Files are read with the rights of root, since engines keep them so. Nothing is written there, and access times of files
stay; listing a folder and following a symbolic link can change theirs, unless the disk is mounted with noatime. An
engine may run meanwhile: the report warns, since what it changes may be missed.

# What comes back
- Layers of Docker (overlay2, vfs) and podman are rebuilt byte for byte, and image IDs stay. These engines keep neither
  compressed layers nor most manifests: the digest under which an image was pulled is only remembered. imgconv makes a new
  manifest, always the same for the same image, and ls --json shows the remembered digests as repoDigests. NAME@DIGEST with
  such a digest chooses the image.
- containerd keeps manifests and compressed layers: digests stay.
- Images without a name are listed by their IDs: choose one by its ID and name it with --tag.
- A layer with sparse files (tar --sparse) cannot be rebuilt from overlay2 or vfs: the engine did not record where the
  holes are.

# containerd without layers
containerd deletes compressed layers after unpacking them if discard_unpacked_layers is set, and fetches layers of one
platform only. imgconv looks for a missing layer under other digests first: the same content may be there uncompressed.
What it cannot find it names. Then there are two ways:

    imgconv copy containerd:node reg:rescued --blobs-from old.tar --blobs-from docker://registry.example.com/app
    imgconv copy containerd:node reg:rescued --rebuild

- --blobs-from takes blobs by their digests from any other places, so digests stay.
- --rebuild makes layers of the unpacked files (overlayfs snapshots). This is a new image with a new ID and digest: the
  report and the comment in its config say so. It needs GNU tar, and root.
- Of an index of which some platforms were fetched: --platform linux/amd64, or --missing prune.
`,
};
