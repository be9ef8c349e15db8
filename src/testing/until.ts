/** Resolves once `condition` gives a truthy value, looking every few milliseconds; throws after `timeoutMs`. */
export async function until<T>(condition: () => T | Promise<T>, timeoutMs = 15_000, what = "the condition"): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`${what} did not come true within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
