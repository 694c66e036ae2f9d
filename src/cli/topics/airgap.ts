import type { Topic } from './topic.js';

export const airgap: Topic = {
  summary: 'from a list of images to running pods without internet, step by step',
  text: `
# 1. Make the list
imgconv images reads Kubernetes, kustomize and Compose files and Helm charts, and prints the images that they need. Or
write a list by hand: one reference a line (imgconv help lists).

    $ mkdir deploy && cat > deploy/web.yaml <<'END'
    > apiVersion: v1
    > kind: Pod
    > metadata: {name: web}
    > spec: {containers: [{name: web, image: "localhost:5000/demo/app:1.0"}]}
    > END
    $ imgconv push sync docker://localhost:5000 demo/app:1.0 --quiet
    $ imgconv images deploy > images.txt
    $ cat images.txt
    localhost:5000/demo/app:1.0

Here, localhost:5000 stands for a registry on the internet, and imgconv push puts a sample image into it.

# 2. Save, with internet
    $ imgconv save --images-file images.txt ./store
    written   demo/app:1.0 sha256:8039ed92…
    1 image: 1 written; blobs: …
    $ imgconv verify ./store
    1 image checked, 0 broken; … blobs read (…)

Private registries need credentials (imgconv help registries). If the run is interrupted, run it again: it resumes.
The store has all platforms of each image; --platform linux/amd64 saves space and changes digests.

# 3. Carry
The store is a folder of plain files: copy it to a disk. For one file instead, make an archive:

    $ imgconv reg2tar ./store images.tar
    written   demo/app:1.0 sha256:8039ed92…
    1 image: 1 written; blobs: 6 copied (…)

imgconv itself needs only Node without internet. Check the disk at the other side with imgconv verify.

# 4. Serve or push, without internet
A Distribution registry (registry:2 or registry:3) serves the store as it is:

    docker run -d -p 5000:5000 -v "$PWD/store:/var/lib/registry" registry:2

Or push it into a registry that you have, under mirror/ or another path:

    $ imgconv push ./store docker://localhost:5000/mirror
    written   localhost:5000/mirror/demo/app:1.0 sha256:8039ed92…
    1 image: 1 written; blobs: …

A registry that speaks plain HTTP needs --dest-tls-verify=false. A node without a registry loads the archive:

    docker load -i images.tar
    ctr -n k8s.io images import images.tar

# 5. Run
Pods name the images of the new registry, or containerd and CRI-O are told of it as a mirror of the old one. Digests
are the same, so image references with @sha256:… stay valid.

    kubectl set image deployment/web web=registry.example.com/mirror/demo/app:1.0

# Later
Run step 2 again with the same store to fetch what is new. imgconv gc deletes what no tag needs (imgconv help cleanup).
`,
};
