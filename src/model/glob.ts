import picomatch from 'picomatch';
import { familiarText, splitHost } from './reference.js';

/** Tells names that a glob means: as they are, in Docker's short form, or without their host. */
export function globMatcher(text: string): (name: string) => boolean {
  const match = picomatch(text, { dot: true, nobrace: false });
  return (name) => match(name) || match(familiarText(name)) || match(splitHost(name).repository);
}
