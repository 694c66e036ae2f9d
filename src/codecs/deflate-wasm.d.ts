/** deflate/, as `npm run build` compiles it (.bundle.js), in Base64. */
export const WASM: string;

/** What Node.js has of WebAssembly and its types lack. */
declare global {
  namespace WebAssembly {
    interface Module {
      readonly compiled?: never;
    }
    const Module: new (bytes: Uint8Array) => Module;
    class Memory {
      readonly buffer: ArrayBuffer;
    }
    class Instance {
      constructor(module: Module);
      readonly exports: object;
    }
  }
}
