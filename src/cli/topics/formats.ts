import type { Topic } from './topic.js';

export const formats: Topic = {
  summary: 'what each format holds, and whether it keeps digests and signatures',
  text: `
A place is a prefix and a path: dir:./sync. ls, inspect and verify recognise the format of a path without a prefix.
The commands X2Y are made of the short names: dir2reg converts a skopeo tree to the storage of a registry.

dir: (dir) :: The directory of skopeo, or a tree of them as skopeo sync writes it: NAME:TAG/ and NAME@DIGEST/.
  Keeps digests. Only this format holds skopeo's signature-N files.
reg: (reg) :: The storage of a registry. Give the folder that holds docker/registry/v2; it is what a Distribution
  registry takes as its rootdirectory. Keeps digests.
docker-archive: (tar) :: The tar of docker save and docker load. A tar that imgconv writes keeps digests. A tar that is
  read keeps them if it carries manifests, as those of Docker 25 and later and of imgconv do; otherwise imgconv makes
  the manifests.
oci: (oci) :: An OCI image layout, which is a folder. Keeps digests.
oci-archive: (ocitar) :: An OCI image layout in a tar. Keeps digests.
docker:// :: A registry, over HTTP. Keeps digests. See imgconv help registries.
docker-daemon: :: The images of a running Docker or Podman, over its socket: docker-daemon:NAME:TAG, or all of them as
  docker-daemon: alone. imgconv finds the engine as the docker command does (DOCKER_HOST, DOCKER_CONTEXT, TLS, ssh). As a
  target it sends the layers that the engine lacks.
docker-root: :: The data root of Docker, /var/lib/docker, whether or not the engine runs. Read only; see imgconv help
  rescue.
containerd: :: The root of containerd, /var/lib/containerd; containerd:ROOT#NAMESPACE reads one namespace. Read only.
containers-storage: :: The storage of podman, buildah and CRI-O. After the prefix stands what skopeo takes there, such as
  [overlay@ROOT]NAME, or the path of the folder. Read only.

# What is kept
"Keeps digests" means that imgconv copies manifests and indexes byte for byte, with all platforms. The way back
gives the same digests:

    $ imgconv dir2reg sync store demo/app:1.0 demo/multi:1
    written   demo/app:1.0 sha256:8039ed92…
    written   demo/multi:1 sha256:7bfdc4ee…
    2 images: 2 written; blobs: 16 linked (12.3 kB)
    $ imgconv reg2dir store tree demo/app:1.0 demo/multi:1
    written   demo/app:1.0 sha256:8039ed92…
    written   demo/multi:1 sha256:7bfdc4ee…
    2 images: 2 written; blobs: 16 linked (12.3 kB)
    $ diff -r tree/demo/multi:1 sync/demo/multi:1
    $ imgconv copy reg:store:demo/app:1.0 oci:layout:team/app:5
    written   team/app:5 sha256:8039ed92…
    1 image: 1 written; blobs: … linked (…)
    $ imgconv reg2ocitar store multi.oci.tar demo/multi:1
    written   demo/multi:1 sha256:7bfdc4ee…
    1 image: 1 written; blobs: 11 copied (8.0 kB)

A docker-archive without manifests gets manifests that are always the same for the same tar. The image ID is the one
that docker load shows, also for tars from before Docker 1.10.

A conversion adds to a folder that exists, and replaces an archive. It deletes nothing from a folder: images that the
source no longer has stay in the target. dir, reg and oci targets on the same file system as the source share its files
by hard link, which takes no time and no space. --link copy makes copies instead. See imgconv help limits.

# Signatures and other attached artifacts
All formats hold them: cosign's sha256-….sig, .att and .sbom tags, OCI referrers (by subject or by tag), and
attestations of buildx. They go with their image; --no-extras leaves them out. imgconv copies signatures and does not
check them. If the digest of an image changes, its attached artifacts stay behind, and the report says so.

    $ imgconv dir2reg sync store2 demo/app:2.0
    written   demo/app:2.0 sha256:82175234…
    written   demo/app:sha256-82175234… sha256:71bc3227…
              note: attached to demo/app:2.0
    2 images: 2 written; blobs: … linked (…)

# What is not a container image
Helm charts, encrypted images, signatures and other artifacts go into every format, also artifact manifests that ORAS
and notation wrote before OCI 1.1; registries of today may refuse those. In a docker-archive, manifest.json lists only
images whose layers engines can unpack. The rest is in the OCI layout of the same tar:

    $ imgconv dir2tar sync chart.tar helm-charts/demo:0.1.0
    written   helm-charts/demo:0.1.0 sha256:85d99390…
              note: \`docker load\` ignores it: it is an artifact, not a container image
    1 image: 1 written; blobs: 3 copied (857 B)

# Details
- Docker manifests go into OCI layouts unchanged.
- The index.json of a layout can list manifests without names, as oras and registries write it. Members of a listed
  index belong to that index. Referrers of an image or of a member belong to that image. The rest are images of their
  own.
- Images without a tag are left out unless references or --untagged choose them; the report counts them. Members of
  an index and attached artifacts do not count.
- An image whose config has more or fewer diffIDs than its manifest has layers keeps its digest. Docker and containerd
  refuse it: docker load ignores it, and verify reports it.
- Schema 1 manifests can be copied between dir and reg. The storage of a registry cannot hold their signatures.
`,
};
