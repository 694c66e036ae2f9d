import type { Topic } from './topic.js';

export const serving: Topic = {
  summary: 'imgconv serve: stores and archives as a registry',
  text: `
imgconv serve PLACE... is a registry (OCI distribution 1.1) on 127.0.0.1:5000. It serves what the places hold as it lies:
nothing is converted or copied first, and a store may be written to by others meanwhile.

    imgconv serve ./store
    imgconv serve images.tar ./layout --listen 127.0.0.1:5001
    docker pull localhost:5000/demo/app:1.0

# What is served
- Registry storage, OCI layouts, trees of skopeo directories, and archives of every kind, several of them as one
  registry. If two have a name, the image of the first one is served.
- Names lose their host: quay.io/org/app:1.0 of a layout is org/app:1.0, and also quay.io/org/app:1.0. alpine and
  library/alpine are one, so that the registry can be a mirror of Docker Hub. --prefix mirror=PLACE puts mirror/ before
  the names of a place.
- Images of archives without digests of their own get those of tar2reg --compression keep: their layers are served
  uncompressed. --compression gzip compresses them once, when an image is asked for first. An image without a name has the name of its file, and is pulled by its digest, which imgconv ls shows.
- Archives that are compressed are unpacked into $TMPDIR when the first client asks. Others are read in place.
- A registry, docker://HOST or docker://HOST/PREFIX, is fetched from: manifests and blobs once, when a client asks for
  them, and tags once a minute. While it cannot be reached, what was fetched is served. docker:// alone is every registry:
  quay.io/org/app:1.0 is fetched from quay.io.
- --cache FOLDER keeps what was fetched or compressed, as registry storage. Without it that is gone with the server.
- Blobs are hashed as they are sent. The end of a damaged one is not sent, so that no client takes it for whole.

# Pushes
--writable takes pushes into the first place, which has to be registry storage (reg:) or an OCI layout (oci:) and is made
if it is not there. A blob or manifest that was acknowledged is on the disk. If the server is killed, what was not
acknowledged is not visible. imgconv gc, verify and conversions may run beside it; a Distribution registry may serve the
same folder for reading.

    imgconv serve ./store --writable
    docker push localhost:5000/demo/app:1.0

--sparse :: Takes manifests some of whose layers or members are absent. Without it they are refused.
--max-upload :: The largest blob that is taken: 100G if it is not given.

Uploads that nobody goes on with for an hour are deleted. Deleting a tag or a manifest leaves its blobs until imgconv gc
deletes them.

# The page
The address in a browser is a page: images, what they are made of, what they share, and downloads for docker load. With
--writable it takes archives too. They are uploaded in pieces, so that a lost connection or a server that was started anew
costs only the rest. Then the page shows what is in them, and what is wrong, before anything is added. An archive that is
not added is deleted after a day. /ui/list works without JavaScript.

# Other machines
--listen 0.0.0.0:5000 lets other machines in. Docker then asks for TLS, and you should ask for accounts:

    htpasswd -B -c writers ann
    imgconv serve ./store --listen 0.0.0.0:5000 --htpasswd writers --tls-cert cert.pem --tls-key key.pem

--htpasswd :: A file with accounts that may read and write (bcrypt).
--htpasswd-read :: The same for accounts that may only read.
--read-token :: A file with a token that may read: as a bearer token, or as the password of any user.
--anonymous-read :: Lets everybody read. Docker and skopeo then send no password, since none is asked for, and cannot
  push; crane, oras, containerd and imgconv can. Give them a second server, or accounts to readers.

Pages of other sites cannot use a browser to change anything here, and cannot reach a registry on 127.0.0.1 by a name of
their own.

# Running it
SIGTERM and Ctrl-C let requests end, for 30 seconds at most. A second one ends them at once. /healthz answers 200 until
then; /metrics is for Prometheus. --log json writes a line for each request to stdout, --log none writes none.
`,
};
