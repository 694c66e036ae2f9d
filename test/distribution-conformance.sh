#!/usr/bin/env bash
# Runs the conformance suite of the OCI distribution-spec against imgconv serve: version 1.1 and what comes after it, every
# test enabled, on registry storage and on a layout. Fails unless all of them pass and none is skipped.
#
#   git clone https://github.com/opencontainers/distribution-spec && cd distribution-spec/conformance
#   go build -o conformance .                 # Go 1.24 or later
#   npm run build && test/distribution-conformance.sh /path/to/conformance
set -euo pipefail

suite=${1:?usage: test/distribution-conformance.sh PATH_OF_THE_SUITE}
root=$(cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
server=
finish() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
  rm -rf -- "$work"
}
trap finish EXIT

export OCI_TLS=disabled OCI_DATA_SPARSE=true OCI_API_BLOBS_DIGEST_HEADER=true OCI_API_MANIFESTS_DIGEST_HEADER=true
export OCI_API_BLOBS_UPLOAD_CANCEL=true OCI_API_MANIFESTS_TAG_PARAM=true
bad=0
for kind in reg oci; do
  for version in 1.1 dev; do
    out=$work/$kind-$version
    mkdir "$out"
    node "$root/bin/imgconv.js" serve "$kind:$out/store" --writable --sparse --listen 127.0.0.1:0 --log none 2>"$out/said" &
    server=$!
    until grep -q 'docker pull' "$out/said"; do
      kill -0 "$server" || { cat "$out/said"; exit 1; }
      sleep 0.1
    done
    host=$(sed -nE 's/.*docker pull (\S+)\/REPOSITORY.*/\1/p' "$out/said")
    (cd "$out" && OCI_VERSION=$version OCI_REGISTRY=$host OCI_RESULTS_DIR=$out "$suite" >"$out/log" 2>&1) || true
    kill "$server"
    wait "$server" || true
    server=
    totals=$(grep -oE '<testsuites [^>]*>' "$out/junit.xml")
    echo "$kind, $version: $totals"
    if grep -qE 'failures="[1-9]|skipped="[1-9]|errors="[1-9]' <<<"$totals"; then
      grep 'level=WARN' "$out/log" || true
      bad=1
    fi
  done
done
exit "$bad"
