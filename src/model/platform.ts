import { ImgconvError } from './errors.js';

/** OCI image-spec image-index.md `platform`; `os.version` and features do not take part in choosing. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

const ARCHITECTURES: Record<string, string> = {
  x86_64: 'amd64',
  x64: 'amd64',
  aarch64: 'arm64',
  ia32: '386',
  i386: '386',
};

/** Go's name, which images go by, for what others call otherwise. */
function architectureOf(name: string): string {
  return Object.hasOwn(ARCHITECTURES, name) ? (ARCHITECTURES[name] ?? name) : name;
}

/** Parses `os/arch[/variant]`. @throws ImgconvError USAGE */
export function parsePlatform(text: string): Platform {
  const [os, arch, variant, ...rest] = text.split('/');
  if (os === undefined || !arch || !os || rest.length > 0 || variant === '') {
    throw new ImgconvError('USAGE', `--platform: ${JSON.stringify(text)} is not os/arch or os/arch/variant`, {
      hint: 'for example linux/amd64 or linux/arm/v7',
    });
  }
  return { os, architecture: architectureOf(arch), variant };
}

export function platformText(platform: Platform): string {
  return [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join('/');
}

/** True when `have` serves who asked for `want`: without a variant any does, and arm64 is arm64/v8 (containerd `platforms`). */
export function platformMatches(want: Platform, have: Platform): boolean {
  if (want.os !== have.os || want.architecture !== have.architecture) return false;
  const variantOf = (p: Platform) => p.variant ?? (p.architecture === 'arm64' ? 'v8' : undefined);
  return want.variant === undefined || variantOf(want) === variantOf(have);
}

/** The platform whose images an engine on this machine would run (always Linux: engines elsewhere run them in a VM). */
export function ownPlatform(): Platform {
  return { os: 'linux', architecture: architectureOf(process.arch) };
}
