/** Values of a `.env` file: `NAME=value`, with quotes and comments. */
export function parseEnvFile(text: string): Record<string, string> {
  const values = Object.create(null) as Record<string, string>;
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf('=');
    const name = line
      .slice(0, Math.max(equals, 0))
      .trim()
      .replace(/^export\s+/, '');
    if (/^[_a-zA-Z]\w*$/.test(name)) values[name] = unquoted(line.slice(equals + 1).trim());
  }
  return values;
}

function unquoted(text: string): string {
  const end = /^["']/.test(text) ? text.indexOf(text.charAt(0), 1) : -1;
  if (end > 0) return text.slice(1, end);
  const comment = text.startsWith('#') ? 0 : text.search(/\s#/);
  return comment < 0 ? text : text.slice(0, comment).trimEnd();
}
