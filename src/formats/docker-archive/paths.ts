/*
 * What `docker save` writes (moby daemon/internal/image/tarexport, daemon/containerd/image_exporter.go):
 *
 *   manifest.json         [{Config, RepoTags, Layers}]: paths in the archive; since Docker 1.10
 *   repositories          {"<repository>": {"<tag>": "<id of the top layer>"}}: what came before
 *   <config hex>.json     1.10 to 24; skopeo and podman
 *   <v1 id>/{json,VERSION,layer.tar}                          1.10 to 24; a repeated layer.tar is a link to another
 *   <diffID>.tar, <hex>.tar.gz, sha256:<hex>                  skopeo and podman; crane, bazel
 *   oci-layout, index.json, blobs/<alg>/<hex>                 25 and later: an OCI layout in the same file
 *
 * imgconv writes the last, with the original manifests in it, and manifest.json and repositories for engines.
 */
/**
 * The digest that a config's name carries (`<hex>.json`, `sha256:<hex>`, `blobs/sha256/<hex>`), if it does. `binding`:
 * it is the name of a blob of the layout, which says by the specification what is in it; others are but file names.
 */
export function hexInName(name: string): { hex: string; binding: boolean } | undefined {
  const hex = /(?:^|[/:])([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1];
  return hex === undefined ? undefined : { hex, binding: /(?:^|\/)blobs\/sha256\/[^/]+$/.test(name) };
}
