import type { Topic } from './topic.js';

export const limits: Topic = {
  summary: 'what imgconv does not do or refuses, hard links, other programs at work',
  text: `
# Files
- A hard link is the same file under two names. Registries, skopeo and imgconv replace files and never change them; an
  editor might. --link copy makes copies.
- Linked files keep their owner and mode. imgconv copies a file instead if it belongs neither to you nor to root, if
  others may write to it, or if it has set-user-ID, set-group-ID or a sticky bit.
- --link auto makes hard links, otherwise reflinks, otherwise copies. --link hard, reflink or copy insists on one.
- imgconv flushes files with sync -f of coreutils; without that program it flushes each file by itself.

# Other programs
- imgconv writes no engine's store: docker-daemon: and pipes load images (imgconv help archives).
- Do not run the garbage collection of a registry while imgconv writes into its storage. imgconv gc and other runs of
  imgconv do no harm.
- A conversion deletes nothing from a target.

# Images
- Manifests over 4 MiB, configs over 8 MiB, an index.json of a layout over 32 MiB, indexes nested more than 8
  deep and sparse tar entries are refused.
- Digests may be sha256, sha384 or sha512, and stay. Two places take only sha256 for an image's own manifest: a skopeo
  directory named by a tag, and a registry to which an image is pushed by tag.
- Foreign layers (Windows base images) may be absent. imgconv keeps their URLs.
- Signatures are copied and not checked.

# Machines
Linux, Node 20.19 or later. Tested with Node 20 and 24. SECURITY.md tells how imgconv treats hostile sources.
`,
};
