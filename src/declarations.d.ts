/** Packages that ship no types, as far as they are used. */
declare module 'unbzip2-stream' {
  import type { EventEmitter } from 'node:events';
  interface Decoder extends EventEmitter {
    write(chunk: Uint8Array): boolean;
    end(): void;
  }
  export default function unbzip2(): Decoder;
}

declare module 'xz-decompress' {
  interface Exports {
    readonly XzReadableStream: new (source: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>;
  }
  const exports: Exports;
  export default exports;
}
