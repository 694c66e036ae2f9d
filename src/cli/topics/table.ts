import type { Topic } from './topic.js';

interface Entry {
  /** Commands whose help names the topic; `X2Y` stands for the conversions of a pair of formats. */
  readonly commands: readonly string[];
  readonly load: () => Promise<Topic>;
}

/** Topics by their names, which no command has. */
export const TOPICS: Readonly<Record<string, Entry>> = {
  airgap: {
    commands: ['save', 'push'],
    load: async () => (await import('./airgap.js')).airgap,
  },
  archives: {
    commands: ['copy', 'X2Y'],
    load: async () => (await import('./archives.js')).archives,
  },
  cleanup: {
    commands: ['gc', 'rm', 'du'],
    load: async () => (await import('./cleanup.js')).cleanup,
  },
  clusters: { commands: ['fill'], load: async () => (await import('./clusters.js')).clusters },
  compression: {
    commands: ['copy', 'X2Y'],
    load: async () => (await import('./compression.js')).compression,
  },
  formats: {
    commands: ['ls', 'inspect', 'copy', 'X2Y'],
    load: async () => (await import('./formats.js')).formats,
  },
  serving: { commands: ['serve'], load: async () => (await import('./serving.js')).serving },
  library: { commands: [], load: async () => (await import('./library.js')).library },
  limits: { commands: [], load: async () => (await import('./limits.js')).limits },
  lists: {
    commands: ['images', 'save'],
    load: async () => (await import('./lists.js')).lists,
  },
  names: {
    commands: ['ls', 'copy', 'X2Y', 'save', 'push', 'tag'],
    load: async () => (await import('./names.js')).names,
  },
  platforms: {
    commands: ['copy', 'save', 'X2Y', 'sync'],
    load: async () => (await import('./platforms.js')).platforms,
  },
  registries: {
    commands: [
      'save',
      'push',
      'copy',
      'sync',
      'ls',
      'inspect',
      'verify',
      'list-tags',
      'digest',
      'login',
      'logout',
    ],
    load: async () => (await import('./registries.js')).registries,
  },
  report: {
    commands: ['copy', 'save', 'push', 'X2Y', 'ls', 'inspect'],
    load: async () => (await import('./report.js')).report,
  },
  rescue: {
    commands: ['copy', 'verify'],
    load: async () => (await import('./rescue.js')).rescue,
  },
  scripts: { commands: [], load: async () => (await import('./scripts.js')).scripts },
  skopeo: { commands: ['sync'], load: async () => (await import('./skopeo.js')).skopeo },
  verification: {
    commands: ['verify'],
    load: async () => (await import('./verification.js')).verification,
  },
};

/** Names of the topics that tell more of a command. */
export function topicsOf(command: string): string[] {
  const names = /^[a-z]+2[a-z]+$/.test(command) ? 'X2Y' : command;
  return Object.keys(TOPICS).filter((topic) => TOPICS[topic]?.commands.includes(names) === true);
}
