import type { Topic } from './topic.js';

export const platforms: Topic = {
  summary: 'multi-platform images (indexes): all platforms, some, or what is present',
  text: `
An index is copied whole, with every platform. --all says the same. skopeo's habit of taking this machine's platform
is kept in imgconv sync only, for which --all is needed.

# Some platforms
--platform os/arch[/variant] takes part of an index; repeat it for several. One platform gives a plain image; several
give a new index. Both have another digest, and the report shows both digests:

    $ imgconv dir2tar sync arm.tar demo/multi:1 --platform linux/arm64
    written   demo/multi:1 sha256:e77e473a… (from sha256:7bfdc4ee…)
              note: of the index sha256:7bfdc4ee… the image for linux/arm64 was taken
    1 image: 1 written; blobs: 3 copied (1.9 kB)

A docker-archive can hold a whole index, but manifest.json can list only one platform of it for docker load: the
first that fits --platform, otherwise this machine's. The report names it:

    $ imgconv dir2tar sync multi.tar demo/multi:1
    written   demo/multi:1 sha256:7bfdc4ee…
              note: engines will load linux/… of its 3 platforms
    1 image: 1 written; blobs: 11 copied (8.0 kB)

# Absent platforms
The containerd store of Docker saves indexes some of whose platforms it never fetched. --missing says what to do:

refuse :: Fails, and lists the absent platforms. This is the default.
prune :: Makes a new index of the complete platforms. It has another digest.
sparse :: Keeps the index unchanged, with the complete platforms only. Targets: reg, oci and oci-archive.

    $ cp -r sync partial && rm partial/demo/multi:1/fa69691f*.manifest.json
    $ imgconv dir2reg partial store demo/multi:1; echo "exit status $?"
    failed    demo/multi:1
    1 image: 0 written, 1 failed; blobs: none
    imgconv: demo/multi:1: partial/demo/multi:1: not there: linux/arm/v7: manifest sha256:fa69691f…
      …
    exit status 1
    $ imgconv dir2reg partial store demo/multi:1 --missing prune
    written   demo/multi:1 sha256:… (from sha256:7bfdc4ee…)
              note: 2 of 3 members of the index sha256:7bfdc4ee… are there; the new index has another digest
    1 image: 1 written; blobs: …
    $ imgconv dir2reg partial store2 demo/multi:1 --missing sparse
    written   demo/multi:1 sha256:7bfdc4ee…
              note: 2 of 3 members of the index sha256:7bfdc4ee… are there; it is kept as it is
    1 image: 1 written; blobs: …

verify reports an index that was kept with --missing sparse as broken, because platforms of it are absent.
`,
};
