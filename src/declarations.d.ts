/** A package that ships no types, as far as it is used. */
declare module 'xz-decompress' {
  interface Exports {
    readonly XzReadableStream: new (source: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>;
  }
  const exports: Exports;
  export default exports;
}
