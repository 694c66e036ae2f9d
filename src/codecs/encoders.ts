/*
 * Programs whose gzip imgconv can make, byte for byte. What makes it is in encode.ts, which only threads load.
 * In the order in which they are tried where nobody knows which one it was: the most used first.
 */
const TITLES = {
  /** Docker, BuildKit and containerd, as they are built with Go before 1.27. */
  'go-6': 'Go gzip, level 6',
  /** go-containerregistry: crane, ko, kaniko. */
  'go-1': 'Go gzip, level 1',
  /** skopeo, podman and buildah, by the first release of klauspost/compress with this output at its default level. */
  'pgzip-1.15.11': 'pgzip with klauspost/compress 1.15.11',
  'pgzip-1.18.2': 'pgzip with klauspost/compress 1.18.2',
  'go1.27-6': 'Go 1.27 gzip, level 6',
  'go1.27-1': 'Go 1.27 gzip, level 1',
  'pgzip-1.18.1': 'pgzip with klauspost/compress 1.18.1',
  'pgzip-1.15.0': 'pgzip with klauspost/compress 1.15.0',
  'pgzip-1.14.3': 'pgzip with klauspost/compress 1.14.3',
  'go-9': 'Go gzip, level 9',
} as const;

export type EncoderName = keyof typeof TITLES;
export const ENCODER_NAMES = Object.keys(TITLES) as EncoderName[];

export function encoderTitle(name: EncoderName): string {
  return TITLES[name];
}
