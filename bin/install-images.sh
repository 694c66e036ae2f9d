#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: install-images.sh [REGISTRY_PATH [REGISTRY_DOMAIN]]

Lays out every tagged image of the registry storage REGISTRY_PATH/docker/registry/v2 as a skopeo
directory REGISTRY_PATH/docker/skopeo/<repository>:<tag>/, by hard link, then copies all that
docker/skopeo holds to REGISTRY_DOMAIN/<repository>:<tag>, indexes with all platforms. Certificates are
not checked.

REGISTRY_PATH       default /var/lib/registry; the argument goes before the variable
REGISTRY_DOMAIN     default harbor.k8s.li; the argument goes before the variable
IMGCONV             the imgconv to run (default imgconv.js beside the script)
IMGCONV_USE_SKOPEO  1 copies with skopeo; images that it cannot carry unchanged are named

Exit status: 0 all images are installed, 1 some are not, 2 wrong usage.
TEXT
}
say() { printf 'install-images: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
imgconv() {
  if [[ -n ${IMGCONV:-} ]]; then "$IMGCONV" "$@"; else node "$here/imgconv.js" "$@"; fi
}

for argument; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    -*) say "unknown option $argument"; usage >&2; exit 2 ;;
  esac
done
(($# <= 2)) || { usage >&2; exit 2; }
registry_path=${1:-${REGISTRY_PATH:-/var/lib/registry}}
registry_domain=${2:-${REGISTRY_DOMAIN:-harbor.k8s.li}}
here=$(dirname -- "$(readlink -f -- "$0")")
tree=$registry_path/docker/skopeo

with_skopeo=${IMGCONV_USE_SKOPEO:-}
[[ $with_skopeo != 1 ]] || command -v skopeo >/dev/null || die "skopeo is not installed"
[[ -d $registry_path/docker/registry/v2 ]] || die "no registry storage at $registry_path/docker/registry/v2"

status=0
imgconv reg2dir --link hard -- "$registry_path" "$tree" || status=$?
((status <= 1)) || exit "$status"
[[ -d $tree ]] || die "no images to install"

if [[ $with_skopeo != 1 ]]; then
  imgconv push --dest-tls-verify=false -- "dir:$tree" "docker://$registry_domain" || status=$?
  exit "$status"
fi

known=$(skopeo sync --help 2>&1) || true
all=() exact=()
[[ $known != *'--all '* ]] || all=(--all)
[[ $known != *'--preserve-digests '* ]] || exact=(--preserve-digests)

# Image by image, because of a whole project skopeo keeps only the last part of each name: docker/skopeo/a,
# synced to REGISTRY_DOMAIN/a, makes a/b:1 of a/x/b:1.
push() {
  local image=$1 target=$registry_domain/$1
  shift
  skopeo sync --insecure-policy --src-tls-verify=false --dest-tls-verify=false "${all[@]}" "$@" \
    --src dir --dest docker -- "$tree/$image" "${target%/*}" >&2
}

found=$(CDPATH='' cd -- "$tree" && find . -name manifest.json ! -path '*/.*' | LC_ALL=C sort)
[[ -n $found ]] || die "no images to install"
mapfile -t manifests <<<"$found"
failed=() changed=()
for manifest in "${manifests[@]}"; do
  image=${manifest#./}
  image=${image%/manifest.json}
  push "$image" "${exact[@]}" && continue
  # Old skopeos drop what they do not know from an index (artifactType), new ones mark zstd in it.
  if ((${#exact[@]})) && push "$image"; then changed+=("$image"); else failed+=("$image"); fi
done
if ((${#changed[@]})); then
  say "${#changed[@]} installed without --preserve-digests, maybe with another digest: ${changed[*]}"
fi
if ((${#failed[@]})); then
  say "${#failed[@]} of ${#manifests[@]} images not installed: ${failed[*]}"
  status=1
fi
exit "$status"
