import type { Fault, FaultKind, Severity, SmallFile, WantedBlob } from '../formats/audit.js';

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

  #onePerLink(): Map<string, { fault: Fault; images: Set<string> }> {
    const best = new Map<string, { fault: Fault; images: Set<string> }>();
    const kept = new Map(this.#faults);
    const rank = ({ kind }: Fault) => OF_LINKS.indexOf(kind);
    for (const [key, one] of this.#faults) {
      if (rank(one.fault) < 0) continue;
      const { where } = one.fault;
      const other = best.get(where);
      if (other === undefined) best.set(where, one);
      // Two images may lie in one file, and be unreadable for two reasons.
      if (other === undefined || rank(other.fault) === rank(one.fault)) continue;
      const [better, worse] = rank(one.fault) < rank(other.fault) ? [one, other] : [other, one];
      const merged = { ...better, images: new Set([...better.images, ...worse.images]) };
      kept.delete(worse === one ? key : keyOf(worse.fault));
      kept.set(keyOf(better.fault), merged);
      best.set(where, merged);
    }
    return kept;
  }

  writes(): SmallFile[] {
    return [...this.#faults.values()].flatMap(({ fault }) => fault.write ?? []);
  }

  fetches(): WantedBlob[] {
    return [...this.#faults.values()].flatMap(({ fault }) => fault.fetch ?? []);
  }

  /** One for each link, with all images that anything said of it affects. */
  sorted(): Finding[] {
    // By the keys of the map: a store of 100,000 tags may have as many findings.
    return [...this.#onePerLink()]
      .sort(
        ([a, { fault: one }], [b, { fault: other }]) =>
          ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity) || (a < b ? -1 : 1),
      )
      .map(([, { fault, images }]) => ({ ...fault, images: [...images].sort() }));
  }
}

/**
 * What may be said of one link: as a link, as an image's only way to its manifest, and as a file. An image that needs the
 * link and a look at all links may say the same in other words: the first of these is kept.
 */
const OF_LINKS: readonly FaultKind[] = ['link-missing', 'link-wrong', 'image-unreadable', 'irregular'];

function keyOf({ where, kind, what }: Fault): string {
  if (kind === 'link-missing' || kind === 'link-wrong') return `${where}\0${kind}`;
  return `${where}\0${kind}\0${what}`;
}
