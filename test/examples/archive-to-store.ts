import { convert, failedImages, ImgconvError, listImages, parsePlace } from 'imgconv';
import type { ConvertOptions, Report } from 'imgconv';

/** Writes the images of a `docker save` archive into registry storage, then lists what is there. */
async function archiveToStore(archive: string, store: string): Promise<void> {
  const options: ConvertOptions = { compression: 'gzip' };
  const to = parsePlace(`reg:${store}`);
  try {
    const report: Report = await convert(parsePlace(`docker-archive:${archive}`), to, options);
    for (const { source, error } of failedImages(report)) console.error(source, error?.code, error?.message);
    for await (const { name, digest } of listImages(to)) console.log(name, digest);
  } catch (error) {
    if (!(error instanceof ImgconvError)) throw error;
    console.error(error.code, error.message);
    process.exitCode = 1;
  }
}

const [archive = '', store = ''] = process.argv.slice(2);
void archiveToStore(archive, store);
