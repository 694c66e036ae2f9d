import type { Topic } from './topic.js';

export const registries: Topic = {
  summary: 'docker:// places, save and push, credentials, TLS, mirrors, retries, proxies',
  text: `
# Places
docker://HOST/REPO:TAG :: One image, also as HOST/REPO@DIGEST. As a target: the name that a single image gets.
docker://HOST/REPO :: As a source: all tags of the repository; if there is none, all repositories that begin with it.
  As a target: puts REPO/ before names.
docker://HOST :: As a source: all repositories of the registry's catalog; docker://HOST/X/ takes those that begin
  with X/. As a target: names stay as they are.
docker:// :: As a source: the references that follow, of any registries. ubuntu is docker.io/library/ubuntu:latest.

    $ imgconv push sync docker://localhost:5000/mirror demo/app:1.0 demo/base:1
    written   localhost:5000/mirror/demo/app:1.0 sha256:8039ed92…
    written   localhost:5000/mirror/demo/base:1 sha256:721da6b6…
    2 images: 2 written; blobs: …
    $ imgconv ls docker://localhost:5000/mirror/demo/base
    localhost:5000/mirror/demo/base:1  sha256:721da6b6…  image  3.0 kB  linux/amd64
    $ imgconv copy docker://localhost:5000/mirror/demo/base:1 docker-archive:base.tar
    written   localhost:5000/mirror/demo/base:1 sha256:721da6b6…
    1 image: 1 written; blobs: …

Images go with all platforms and with attached artifacts: OCI referrers, by the API or the fallback tag, and cosign's
tags. Each blob is fetched once. A blob that the target has is not fetched at all. A push mounts blobs that another
repository of the registry has, and writes the tag of an image last.

# save: from registries into a store
The last operand is the target: the storage of a registry, or any place with a prefix. Images are stored under their
repository path without the host; --scoped keeps the host. Charts are written as oci://HOST/PATH:VERSION, as in Helm,
or as plain references.

    $ imgconv save localhost:5000/mirror/demo/app:1.0 ./store
    written   mirror/demo/app:1.0 sha256:8039ed92…
    1 image: 1 written; blobs: …
    $ imgconv save localhost:5000/mirror/demo/app:1.0 ./store
    unchanged mirror/demo/app:1.0 sha256:8039ed92…
    1 image: 0 written, 1 unchanged; blobs: …

More examples:

    imgconv save ubuntu quay.io/org/app:1.0 oci://ghcr.io/org/charts/app:1.2.3 ./store
    imgconv images deploy/ | imgconv save ./store --images-file -
    imgconv save --images-file list.txt dir:tree --platform linux/amd64

Run the same command again to resume after a failure, or to fetch what is new. If the target holds an image whole,
imgconv asks the registry only for the manifest of its tag and for attached artifacts. Interrupted downloads resume,
also in the next run: they are in .imgconv-partial in the target, and imgconv hashes them before it uses them.

# Credentials
imgconv reads the files of docker login and podman login: $REGISTRY_AUTH_FILE, or
$XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json and ~/.docker/config.json. The most specific
entry wins: host/org/app, then host/org, then host. It runs the helpers that credHelpers and credsStore name.

--authfile FILE :: Reads credentials from this file. --src-authfile and --dest-authfile are for one side.
--src-creds USER:PASSWORD :: These credentials for the source. Write HOST=USER:PASSWORD if the command uses several
  registries. Repeatable. --dest-creds is for the target.
--src-registry-token TOKEN :: A bearer token for the source, or HOST=TOKEN. --dest-registry-token is for the target.
--allow-http-credentials :: Sends credentials over plain HTTP to other machines. Without it, imgconv sends them over
  plain HTTP only to this machine (localhost, 127.0.0.0/8, ::1).

Each credential belongs to one registry. imgconv sends it to that host and, over TLS, to the token server that the host
names. It does not send it to hosts to which the registry redirects. A mirror has its own credentials, or none.

# TLS and plain HTTP
imgconv trusts the CAs of the system and those in certs.d/HOST below ~/.config/containers, /etc/containers and
/etc/docker. It tries plain HTTP only for registries on this machine, unless you ask for it.

--src-tls-verify=false :: Accepts any certificate, and plain HTTP. --dest-tls-verify=false is for the target. With
  =true, plain HTTP is refused on this machine too.
--src-cert-dir FOLDER :: CAs (*.crt) and a client certificate (*.cert, *.key) instead of those in certs.d.
  --dest-cert-dir is for the target.

# Mirrors, retries, proxies
--registry-mirror HOST=URL :: Pulls images of HOST from URL first, and from HOST what the mirror lacks. Repeatable. If
  HOST cannot be reached, attached artifacts that the mirror lacks stay behind, and a note says so.
--retry-times N :: Retries after a network failure. The default is 3.
--retry-delay TIME :: The wait before the first retry. It doubles with each retry. The default is 1s.
--jobs N :: Also limits the connections to one host. The default is 8.

imgconv gives up a request if the registry is silent for 60 seconds or sends less than 16 KiB of a body in that time,
and then retries it.

HTTPS_PROXY, HTTP_PROXY and NO_PROXY count, but not for registries on this machine.
`,
};
