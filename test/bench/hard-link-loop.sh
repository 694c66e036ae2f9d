#!/usr/bin/env bash
# hard-link-loop.sh tree|store SOURCE STORE NAMES: what people write by hand to put images into a registry's storage.
# Only manifests are hashed.
set -eu
mode=$1 source=$2 root=$3/docker/registry/v2 names=$4
from=$source/docker/registry/v2

data() { echo "$1/blobs/sha256/${2:0:2}/$2/data"; }

put() { # FILE HEX
  local to=$root/blobs/sha256/${2:0:2}/$2
  [[ -e $to/data ]] || { mkdir -p "$to" && ln "$1" "$to/data"; }
}

link() { # FOLDER HEX
  mkdir -p "$1"
  printf 'sha256:%s' "$2" >"$1/link"
}

while read -r name; do
  repository=$root/repositories/${name%:*} tag=${name##*:}
  if [[ $mode == tree ]]; then
    manifest=$source/$name/manifest.json
  else
    named=$(cat "$from/repositories/${name%:*}/_manifests/tags/$tag/current/link")
    manifest=$from/blobs/sha256/${named:7:2}/${named#sha256:}/data
  fi
  digest=$(sha256sum "$manifest") digest=${digest%% *}
  put "$manifest" "$digest"
  for blob in $(grep -o 'sha256:[0-9a-f]*' "$manifest" | cut -d: -f2); do
    if [[ $mode == tree ]]; then put "$source/$name/$blob" "$blob"; else put "$(data "$from" "$blob")" "$blob"; fi
    link "$repository/_layers/sha256/$blob" "$blob"
  done
  link "$repository/_manifests/revisions/sha256/$digest" "$digest"
  link "$repository/_manifests/tags/$tag/index/sha256/$digest" "$digest"
  link "$repository/_manifests/tags/$tag/current" "$digest"
done <"$names"
