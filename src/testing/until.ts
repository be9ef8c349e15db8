/**
 * Resolves once `condition` gives a truthy value, looking every few milliseconds; throws after `timeoutMs`. A file that is not
 * there is looked for again: while it is being replaced, by this very process perhaps, it has no name for an instant.
 */
export async function until<T>(condition: () => T | Promise<T>, timeoutMs = 15_000, what = "the condition"): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const { value, missing } = await look(condition);
    if (value) return value as NonNullable<T>;
    if (performance.now() > deadline) throw missing ?? new Error(`${what} did not come true within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function look<T>(condition: () => T | Promise<T>): Promise<{ value?: T; missing?: unknown }> {
  try {
    return { value: await condition() };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { missing: error };
    throw error;
  }
}
