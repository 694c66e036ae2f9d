import type { Topic } from './topic.js';

export const cleanup: Topic = {
  summary: 'deleting what no image needs: imgconv gc',
  text: `
imgconv gc STORE deletes blobs that no image needs from the storage of a registry or an OCI layout, with the links to
them, and abandoned uploads. It keeps:

- all tagged manifests and, unless --untagged is given, untagged ones;
- the members, config, layers and subject of each manifest, and its referrers (signatures, SBOMs), by subject or by tag;
- what changed in the last 24 hours. --older-than 7d sets another time; 0 keeps nothing for its age.

    $ imgconv dir2reg sync pool demo/base:1 demo/dup:1 --link copy --quiet
    $ rm -r pool/docker/registry/v2/repositories/demo/dup/_manifests/tags/1
    $ imgconv gc pool --untagged --older-than 0 --dry-run
    would delete: … blobs (…), 1 revision, … layer links
    … would be freed; nothing was deleted
    $ imgconv gc pool --untagged --older-than 0
    deleted: … blobs (…), 1 revision, … layer links
    … freed

Deleting a hard-linked blob frees no space; the report counts these blobs. If a manifest cannot be read, gc deletes
nothing, because it does not know which blobs that manifest needs; imgconv verify shows which manifest it is.

# While others write
Other runs of imgconv may write at the same time. gc looks twice. Before it looks again, it waits at most a minute for
runs that write, and holds back new ones. It deletes only what no image needed both times.

A registry does not know of this. Its pushes are safe if they take less time than --older-than, unless a push relies on an
old layer that no manifest names any more. So make the registry read-only, or stop it; pulls are safe. Restart it
afterwards if it caches blob descriptors.
`,
};
