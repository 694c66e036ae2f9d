#!/usr/bin/env bash
# The main job on a small sample: a tree that `skopeo sync` made becomes registry storage, and that a tar for
# `docker load`. Shows each command and what it says; leaves nothing behind.
set -Eeuo pipefail

root=$(cd -- "$(dirname -- "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
trap 'echo "demo: FAILED at line $LINENO: $BASH_COMMAND" >&2' ERR

imgconv() { node "$root/bin/imgconv.js" "$@"; }
show() {
  printf '\n$ %s\n' "$*"
  "$@"
}

[[ -f $root/dist/bundle/main.js ]] || { echo 'demo: not built yet: npm ci' >&2; exit 1; }
cp -- "$root/fixtures/sync.tar" "$folder"
cd -- "$folder"

echo '# A tree of images, as skopeo sync lays it with --src docker --dest dir.'
show tar -xf sync.tar
show ls sync/demo

echo
echo '# Into the storage of a registry: every byte is hashed, files are linked.'
show imgconv dir2reg sync store

echo
echo '# What the store holds; a registry with this rootdirectory serves it.'
show imgconv ls store

echo
echo '# Two of its images into one tar for docker load.'
show imgconv reg2tar store images.tar demo/app:1.0 demo/multi:1
show ls -l images.tar
show imgconv ls images.tar

digests() { imgconv ls "$1" demo/app:1.0 demo/multi:1 --json; }
if [[ $(digests sync) != "$(digests images.tar)" ]]; then
  echo 'demo: FAILED: the tar does not hold the digests that the tree has' >&2
  exit 1
fi
echo
echo 'demo: done. From tree to store to tar, the digests are the same.'
