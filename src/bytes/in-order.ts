/** Works on several items at once and gives the results in the items' order; looks no further ahead than `atOnce`. */
export async function* inOrder<T, R>(
  items: AsyncIterable<T>,
  atOnce: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const under: Promise<R>[] = [];
  for await (const item of items) {
    const result = work(item);
    result.catch(() => undefined); // It is thrown where its turn comes.
    under.push(result);
    const first = under.length >= atOnce ? under.shift() : undefined;
    if (first !== undefined) yield await first;
  }
  for (const result of under) yield await result;
}
