/** The library's public face; everything else may change. */
export { FORMATS, findPlace, parsePlace, type Place } from './formats/table.js';
export type { RegistryAccess } from './formats/access.js';
export type { Format, ImageReader, ImageWriter, SourceImage, UnreadableImage } from './formats/format.js';
export { convert } from './transfer/convert.js';
export type { ConvertOptions, Progress } from './transfer/options.js';
export { failedImages, type ImageReport, type Plan, type Report, type Tally } from './transfer/report.js';
export { inspectImages, listImages, type ImageDetails, type ListedImage } from './upkeep/list.js';
export { verify, type VerifyOptions, type VerifyReport } from './upkeep/verify.js';
export type { Finding } from './upkeep/findings.js';
export { collectGarbage, type GarbageOptions, type GarbageReport } from './upkeep/gc.js';
export { parseImagesFile } from './transfer/images-file.js';
export type { Selector } from './transfer/select.js';
export { parsePlatform, type Platform } from './model/platform.js';
export { parseReference, referenceText, type Reference } from './model/reference.js';
export { parseDigest, type Digest } from './model/digest.js';
export { ImgconvError, type ErrorCode } from './model/errors.js';
