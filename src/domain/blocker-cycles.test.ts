import { expect, it } from "vitest";
import { blockerCycles } from "./blocker-cycles.ts";

const entries = (...pairs: [string, string[]][]) => pairs.map(([ticketId, blockedBy]) => ({ ticketId, blockedBy }));

it("finds every circle of blockers once, and none where there is none", () => {
  expect(blockerCycles(entries(["a", []], ["b", ["a"]], ["c", ["a", "b", "nobody"]]))).toEqual([]);
  expect(blockerCycles(entries(["x", ["a"]], ["a", ["b"]], ["b", ["c"]], ["c", ["a"]], ["s", ["s", "a"]]))).toEqual([
    ["a", "b", "c", "a"],
    ["s", "s"],
  ]);
});

it("follows a chain of 10,000", () => {
  const chain = Array.from({ length: 10_000 }, (_, i): [string, string[]] => [`t${i}`, [`t${i + 1}`]]);
  expect(blockerCycles(entries(...chain))).toEqual([]);
  expect(blockerCycles(entries(...chain, ["t10000", ["t0"]]))[0]).toHaveLength(10_002);
});
