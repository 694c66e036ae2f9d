#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: image-select.sh LIST_DIR REGISTRY_PATH OUTPUT_DIR

Copies the images that the lists name from the registry storage REGISTRY_PATH to another, OUTPUT_DIR.
The lists are all files *.list in LIST_DIR and below, one image a line; lines that begin with # or /
are ignored.

IMGCONV  the imgconv to run (default imgconv.js beside the script)

Exit status: 0 all images are there, 1 some are not, 2 wrong usage.
TEXT
}
say() { printf 'image-select: %s\n' "$*" >&2; }
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
(($# == 3)) || { usage >&2; exit 2; }
list_dir=$1
registry_path=$2
output_dir=$3
here=$(dirname -- "$(readlink -f -- "$0")")

[[ -d $list_dir ]] || die "no directory $list_dir"
# From within, so that no name can look like an option or an expression of find. sed ends every line, also the
# last one of a list that lacks its newline.
lines=$(
  CDPATH='' cd -- "$list_dir" &&
    find -L . -type f -name '*.list' \
      -exec sed -e 's/[[:space:]]*$//; s/^[[:space:]]*//; /^[#/]/d; /^$/d' {} + | LC_ALL=C sort -u
)
[[ -n $lines ]] || die "no *.list in $list_dir lists an image"

imgconv reg2reg --images-file - -- "$registry_path" "$output_dir" <<<"$lines"
