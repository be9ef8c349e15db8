import { describe, expect, it } from "vitest";
import { until } from "../testing/until.ts";
import { startSlots } from "./start-slots.ts";

function takeAll(slots: ReturnType<typeof startSlots>, keys: string[]): string[] {
  const begun: string[] = [];
  for (const key of keys) void slots.take(key).then(() => begun.push(key));
  return begun;
}

describe("startSlots", () => {
  it("lets as many begin as there are places, and the next one whenever one is free", async () => {
    const slots = startSlots(2, 60_000);
    const begun = takeAll(slots, ["a", "b", "c", "d"]);
    await until(() => begun.length === 2);
    slots.free("b");
    slots.free("b");
    slots.free("nobody");
    await until(() => begun.length === 3);
    expect(begun).toEqual(["a", "b", "c"]);
    slots.free("c");
    await until(() => begun.length === 4);
    slots.close();
  });

  it("does not wait for ever for one that never says that it has begun", async () => {
    const slots = startSlots(1, 20);
    const begun = takeAll(slots, ["dead", "next"]);
    await until(() => begun.length === 2);
    expect(begun).toEqual(["dead", "next"]);
    slots.close();
  });

  it("keeps nobody waiting once it is closed", async () => {
    const slots = startSlots(1, 60_000);
    const begun = takeAll(slots, ["a", "b", "c"]);
    slots.close();
    await until(() => begun.length === 3);
    expect(begun).toEqual(["a", "b", "c"]);
  });
});
