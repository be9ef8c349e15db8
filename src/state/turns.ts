/** Takes up to `count` of the items in turn, each once, from where `turn` stands; moves it on. */
export function takeTurn<T>(items: readonly T[], count: number, turn: { next: number }): T[] {
  const start = items.length === 0 ? 0 : turn.next % items.length;
  const end = start + Math.min(count, items.length);
  turn.next = end;
  return [...items.slice(start, end), ...items.slice(0, Math.max(0, end - items.length))];
}
