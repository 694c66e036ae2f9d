#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: convert-images.sh [SOURCE_REGISTRY [IMAGES_DIR]]

Fetches every listed image from SOURCE_REGISTRY (default docker.io) into the tree
IMAGES_DIR/<repository>:<tag>/ (default images), then stores the listed images of the tree as
docker/registry/v2 in the working directory. Of images for several platforms the one for linux/amd64
is taken. Images that the tree holds are not fetched again. Certificates are not checked.

IMAGES_LIST_FILE    the list, one image a line, # for comments (default images-list.txt beside the script)
IMGCONV             the imgconv to run (default imgconv.js beside the script)
IMGCONV_USE_SKOPEO  1 fetches with skopeo

Exit status: 0 all images are stored, 1 some are not, 2 wrong usage.
TEXT
}
say() { printf 'convert-images: %s\n' "$*" >&2; }
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
source_registry=${1:-docker.io}
images_dir=${2:-images}
here=$(dirname -- "$(readlink -f -- "$0")")
list=${IMAGES_LIST_FILE:-$(dirname -- "$0")/images-list.txt}

[[ -f $list ]] || die "no list of images at $list (IMAGES_LIST_FILE names another)"
lines=$(sed -e 's/[[:space:]]*$//; s/^[[:space:]]*//; /^#/d; /^$/d' <"$list" | LC_ALL=C sort -u)
[[ -n $lines ]] || die "$list lists no images"

# True when an image is still to be fetched; says why not.
is_wanted() {
  local image=$1
  if [[ -f $images_dir/$image/manifest.json ]]; then
    say "$images_dir/$image is there already; remove it to fetch it again"
    return 1
  fi
  if [[ -e $images_dir/$image ]]; then
    say "$images_dir/$image is there but has no manifest.json; remove it to fetch it again"
    return 1
  fi
}

# skopeo refuses a destination that exists, even the one that its own failure left behind. It gets a fresh
# directory each run, and only whole images are renamed into the tree.
fetch_with_skopeo() {
  local image=$1
  skopeo sync --insecure-policy --src-tls-verify=false --dest-tls-verify=false \
    --override-arch amd64 --override-os linux --src docker --dest dir \
    -- "$source_registry/$image" "$(dirname -- "$fresh/$image")" >&2 &&
    mkdir -p -- "$(dirname -- "$images_dir/$image")" &&
    mv -T -- "$fresh/$image" "$images_dir/$image"
}

# All at once: what is not there afterwards could not be fetched, and imgconv has said why.
fetch() {
  local image
  for image; do printf '%s %s\n' "$source_registry/$image" "$image"; done |
    imgconv sync --src list --dest dir --src-tls-verify=false --platform linux/amd64 --keep-going \
      -- - "$images_dir" >&2 || true
}

mapfile -t wanted <<<"$lines"
names=() missing=()
for i in "${!wanted[@]}"; do
  image=${wanted[i]%%[[:space:]]*}                # a second word is the name to store it under
  [[ ${image##*/} == *[:@]* ]] || image+=:latest # else skopeo fetches every tag
  names[i]=$image
  is_wanted "$image" && missing+=("$image")
done
if ((${#missing[@]})); then
  if [[ ${IMGCONV_USE_SKOPEO:-} == 1 ]]; then
    command -v skopeo >/dev/null || die "skopeo is not installed"
    mkdir -p -- "$images_dir"
    fresh=$(mktemp -d -- "$images_dir/.fetch.XXXXXX")
    trap 'rm -rf -- "$fresh"' EXIT
    for image in "${missing[@]}"; do fetch_with_skopeo "$image" || true; done
  else
    fetch "${missing[@]}"
  fi
fi
failed=()
for i in "${!wanted[@]}"; do
  [[ -f $images_dir/${names[i]}/manifest.json ]] && continue
  failed+=("${names[i]}")
  unset "wanted[i]"
done

status=0
if ((${#wanted[@]})); then
  printf '%s\n' "${wanted[@]}" | imgconv dir2reg --images-file - -- "$images_dir" . || status=$?
fi
if ((${#failed[@]})); then
  say "${#failed[@]} of $((${#failed[@]} + ${#wanted[@]})) images not fetched: ${failed[*]}"
  ((status)) || status=1
fi
exit "$status"
