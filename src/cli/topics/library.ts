import type { Topic } from './topic.js';

export const library: Topic = {
  summary: 'imgconv in programs',
  text: `
The npm package imgconv is also a library for Node, with types. What it exports is documented in its type declarations.

    import { convert, failedImages, parsePlace } from 'imgconv';

    const report = await convert(parsePlace('dir:sync'), parsePlace('docker-archive:some.tar'), {});
    for (const { source, error } of failedImages(report)) console.error(source, error?.code, error?.message);

Images and charts that an application names are saved by one call, into the storage of a registry:

    import { saveImages } from 'imgconv';

    for (const { image, digest, error } of await saveImages(['nginx:1.27', 'ghcr.io/team/chart:2.0'], 'store'))
      console.log(image, digest ?? error?.message);

convert throws an ImgconvError if nothing can be converted. Single images that fail are in the report. The error codes
are those of imgconv help report.
`,
};
