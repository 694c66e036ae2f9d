import type { Topic } from './topic.js';

/** The man page has them in a section of their own, too. */
export const EXIT_STATUSES = `0 :: All is done.
1 :: Something failed: an image, a file, the disk, a registry. The report says what.
2 :: The command line is wrong. Nothing was done.
130 :: SIGINT or SIGTERM interrupted the run. Finished images stay.`;

export const report: Topic = {
  summary: 'what imgconv prints: lines, notes, --json, exit status, error codes',
  text: `
# Lines
Results go to stdout; progress and errors go to stderr. Each image has a line when it is finished. Notes below it tell
what is special. One bad image does not stop the others, unless --fail-fast is given.

written :: The image is in the target.
unchanged :: The target held the same image.
failed :: The image is not in the target. stderr says why.
skipped :: imgconv stopped before this image.
planned :: With --dry-run: the image would be written.

The last line counts images and blobs: linked (hard link), cloned (reflink), copied, fetched, uploaded, mounted,
compressed, already there. --quiet prints errors only.

    $ imgconv dir2reg sync store demo/base:1
    written   demo/base:1 sha256:721da6b6…
    1 image: 1 written; blobs: 3 linked (3.0 kB)
    $ imgconv dir2reg sync store demo/base:1
    unchanged demo/base:1 sha256:721da6b6…
    1 image: 0 written, 1 unchanged; blobs: 3 already there (3.0 kB)

# --dry-run
--dry-run checks everything and writes nothing. imgconv also refuses a run that would not fit on the disk before it writes
anything. It counts layers that it will compress as half their size, and measures pipes as they arrive.

    $ imgconv dir2reg sync store2 demo/base:1 --dry-run
    planned   demo/base:1 sha256:721da6b6…
    1 image; blobs: 3 to link (3.0 kB)
    needs about 0 B, … free; nothing was written

# ls and inspect
ls prints a line for each image: name, digest of the manifest or index, kind, size as stored, platforms. An image without
a name has its number, such as @0, or its digest instead.

    $ imgconv ls sync demo/base:1 demo/multi:1 'helm-charts/*'
    demo/base:1             sha256:721da6b6…  image     3.0 kB  linux/amd64
    demo/multi:1            sha256:7bfdc4ee…  index     8.0 kB  linux/amd64,linux/arm64/v8,linux/arm/v7
    helm-charts/demo:0.1.0  sha256:85d99390…  artifact  857 B   -

inspect prints manifests and configs of an image as JSON. imageId is the image ID that docker shows.

    $ imgconv inspect sync demo/base:1
    {
      "name": "demo/base:1",
      "digest": "sha256:721da6b6…",
      "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
      "size": 3004,
      "manifests": [
        {
          "digest": "sha256:721da6b6…",
          "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
          "platform": "linux/amd64",
          "imageId": "sha256:8e277fc0…",
    …

# Exit status
${EXIT_STATUSES}

# Errors
An error has two lines: what is wrong and where, then what to do. Options that contradict each other, or that do
nothing for these formats, are refused before anything is read. --debug adds the stack trace and all causes.

    $ imgconv dir2reg sync store --compresion gzip; echo "exit status $?"
    imgconv: --compresion: dir2reg has no such option
      did you mean --compression? imgconv dir2reg --help lists the options
    exit status 2
    $ imgconv dir2tar sync some.tar --link hard; echo "exit status $?"
    imgconv: --link hard: docker-archive: is one file, into which blobs are copied
      leave it out; it is for …
    exit status 2

# --json
--json prints one document. Sizes are in bytes.

images :: One entry an image: source, name, sourceDigest, digest, status, notes, and error ({code, message, hint}).
untaggedLeftOut :: How many images without a tag were left out.
blobs :: For each kind of work, such as linked or fetched: how many blobs and bytes.
plan :: What was to be done, and the space for it: bytesNeeded, bytesFree.

    $ imgconv dir2reg sync store demo/base:1 demo/nope:1 --json 2> errors.txt; echo "exit status $?"
    {
      "images": [
        {
          "source": "demo/nope:1",
          "status": "failed",
          "notes": [],
          "error": {
            "code": "NOT_FOUND",
            "message": "demo/nope:1: no such image in the source",
            "hint": "imgconv ls shows what there is"
          }
        },
    …
    exit status 1

If the whole run fails, the document is {"error": {code, message, hint}}. ls --json prints an array of name,
digest, kind, platforms and size, with error if an image cannot be read; choice is what chooses an image that has no name.

--json=lines prints one JSON object a line while it runs. The field event says what happened:

plan :: What will be done.
progress :: Each second: bytes, total, and the images at hand.
image :: An image is finished or has failed, with the fields of images above.
retry, waiting :: A request is repeated; a registry does not answer.
repaired, finding :: verify repaired or found something.
summary :: The last line: counts of images by status, and the other fields of the document.
error :: The last line instead, if the whole command failed.

# Error codes
USAGE :: The command line is wrong. Exit status 2.
NAME_INVALID :: No registry or engine takes this reference.
NAME_MISSING :: An image has no name and was given none.
NAME_CONFLICT :: Two sources with different digests would get one target name.
NOT_FOUND :: A reference or a place does not exist.
FORMAT_UNKNOWN :: The format of a path is not recognised.
FORMAT_UNSUPPORTED :: A version, media type or feature is not supported.
DIGEST_INVALID :: A text is not a digest.
DIGEST_MISMATCH :: Bytes do not match their digest or size.
BLOB_MISSING :: A manifest names a blob that the source lacks.
MANIFEST_INVALID :: A manifest, index or config breaks its specification.
DOCUMENT_INVALID :: A YAML, JSON or text file is not what it should be.
ARCHIVE_INVALID :: A tar cannot be read, or its entries contradict each other.
PLATFORM_MISSING :: There is no image for a platform that was asked for.
SOURCE_CHANGED :: A file changed while imgconv read it.
NO_SPACE :: The file system of the target is too small.
IO :: Any other failure of the file system.
NETWORK :: A registry cannot be reached, or its answer broke off.
UNAUTHORIZED :: A registry refuses access.
REGISTRY :: A registry answers with an error, or against the protocol.
INTERRUPTED :: SIGINT or SIGTERM. Exit status 130.

If one of these makes a whole run fail, the exit status is 1 unless said otherwise.
`,
};
