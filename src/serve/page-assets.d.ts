/** The page, as `npm run build` makes it of src/page (.bundle.js): file names, and their text. */
export const ASSETS: Readonly<Record<'page.html' | 'page.js' | 'page.css', string>>;
