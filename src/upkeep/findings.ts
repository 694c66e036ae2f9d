import type { Fault, Severity, SmallFile, WantedBlob } from '../formats/audit.js';

/** Something wrong with a place, and the images that it affects. */
export interface Finding extends Fault {
  readonly images: readonly string[];
}

const ORDER: readonly Severity[] = ['broken', 'space', 'cosmetic'];

/** What is wrong, each once, however many images it affects. */
export class Findings {
  readonly #faults = new Map<string, { fault: Fault; images: Set<string> }>();

  add(fault: Fault): void {
    const key = keyOf(fault);
    const known = this.#faults.get(key);
    if (known === undefined) {
      this.#faults.set(key, { fault, images: new Set(fault.images) });
      return;
    }
    for (const image of fault.images ?? []) known.images.add(image);
    // The same link may be needed by an image, and seen again among all links.
    if (ORDER.indexOf(fault.severity) < ORDER.indexOf(known.fault.severity)) known.fault = fault;
  }

  get isBroken(): boolean {
    return [...this.#faults.values()].some(({ fault }) => fault.severity === 'broken');
  }

  /** Images that something broken affects. */
  suspects(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const { fault, images } of this.#faults.values())
      if (fault.severity === 'broken') for (const image of images) names.add(image);
    return names;
  }

  /** These, without what is broken here but not in a second check. */
  confirmedBy(again: Findings): Findings {
    const confirmed = new Findings();
    for (const [key, { fault, images }] of this.#faults) {
      if (fault.severity !== 'broken' || again.#faults.has(key))
        confirmed.#faults.set(key, { fault, images });
    }
    return confirmed;
  }

  writes(): SmallFile[] {
    return [...this.#faults.values()].flatMap(({ fault }) => fault.write ?? []);
  }

  fetches(): WantedBlob[] {
    return [...this.#faults.values()].flatMap(({ fault }) => fault.fetch ?? []);
  }

  sorted(): Finding[] {
    // By the keys of the map: a store of 100,000 tags may have as many findings.
    return [...this.#faults]
      .sort(
        ([a, { fault: one }], [b, { fault: other }]) =>
          ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity) || (a < b ? -1 : 1),
      )
      .map(([, { fault, images }]) => ({ ...fault, images: [...images].sort() }));
  }
}

/** An image that needs a link, and a look at all links, may say the same of one in other words. */
function keyOf({ where, kind, what }: Fault): string {
  if (kind === 'link-missing' || kind === 'link-wrong') return `${where}\0${kind}`;
  return `${where}\0${kind}\0${what}`;
}
