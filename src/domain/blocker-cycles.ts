import type { Plan } from "./plan.ts";

/** The circles in which tickets of a plan block each other, each as its ids in order with the first one repeated. */
export function blockerCycles(entries: readonly Pick<Plan["tickets"][number], "ticketId" | "blockedBy">[]): string[][] {
  const blockers = new Map(entries.map((entry) => [entry.ticketId, entry.blockedBy]));
  const done = new Set<string>();
  const cycles: string[][] = [];
  for (const start of blockers.keys()) {
    if (done.has(start)) continue;
    const path = [{ id: start, left: [...(blockers.get(start) ?? [])] }];
    const onPath = new Map([[start, 0]]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.left.shift();
      if (next === undefined) {
        done.add(top.id);
        onPath.delete(top.id);
        path.pop();
        continue;
      }
      const at = onPath.get(next);
      if (at !== undefined) cycles.push([...path.slice(at).map((step) => step.id), next]);
      if (at !== undefined || done.has(next) || !blockers.has(next)) continue;
      onPath.set(next, path.length);
      path.push({ id: next, left: [...(blockers.get(next) ?? [])] });
    }
  }
  return cycles;
}
