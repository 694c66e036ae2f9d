#!/usr/bin/env bash
# Installs the tools that test/interop runs imgconv against, and man for its page, from Debian's own packages. Needs root; quick when they are there.
set -euo pipefail

packages=(skopeo docker-registry docker.io umoci podman containerd pigz man-db xz-utils bzip2 chromium golang-go golang-github-klauspost-compress-dev golang-github-klauspost-pgzip-dev)

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; }

missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -q
  install "${missing[@]}"
fi
# From Debian 13 on, the client is a package of its own.
command -v docker >/dev/null || install docker-cli

skopeo --version
docker-registry --version
/usr/sbin/dockerd --version
docker --version
umoci --version
podman --version
containerd --version
go version
