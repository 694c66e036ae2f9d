import { ImgconvError } from '../model/errors.js';
import { isGlob, isHostName, splitHost } from '../model/reference.js';
import type { Selector } from '../transfer/select.js';
import { wholeText, withoutScheme } from '../discover/findings.js';

/**
 * References as registries are asked for them: whole (`ubuntu` is `docker.io/library/ubuntu:latest`), each once, those of
 * one host together; `registry` is the host of those that have none. Charts may be written as Helm does, `oci://host/chart:1`. Globs stay as they are.
 * @throws ImgconvError NAME_INVALID
 */
export function wholeSelectors(selectors: readonly Selector[], registry?: string): Selector[] {
  if (registry !== undefined && !isHostName(registry))
    throw new ImgconvError('USAGE', `--registry ${registry}: not a host`, {
      hint: 'for example --registry registry.example.com:5000',
    });
  const whole = new Map<string, Selector>();
  for (const selector of selectors) {
    const said = withoutScheme(selector.text.replace(/^docker:\/\//, ''));
    const text = registry === undefined || splitHost(said).host !== undefined ? said : `${registry}/${said}`;
    const name = isGlob(text) ? text : wholeTextAt(text, selector.where);
    whole.set(`${name} ${selector.rename ?? ''}`, { ...selector, text: name });
  }
  return [...whole].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, selector]) => selector);
}

function wholeTextAt(text: string, where: string | undefined): string {
  try {
    return wholeText(text);
  } catch (cause) {
    if (!(cause instanceof ImgconvError)) throw cause;
    throw new ImgconvError(cause.code, `${where === undefined ? '' : `${where}: `}${cause.message}`, {
      cause,
      hint: 'write it as NAME, NAME:TAG or NAME@DIGEST, with the registry before it if it is not Docker Hub',
    });
  }
}
