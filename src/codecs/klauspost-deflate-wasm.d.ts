/** klauspost-deflate/, as `npm run build` compiles it (.bundle.js), in Base64. */
export const WASM: string;
