import { expect, it } from "vitest";
import { caseTwins } from "./ids.ts";

it("of ids that differ only in case all but the first in byte order are twins of that one", () => {
  expect([...caseTwins(["a", "b", "A", "c", "C", "aB", "AB", "Ab"])]).toEqual([
    ["a", "A"],
    ["c", "C"],
    ["Ab", "AB"],
    ["aB", "AB"],
  ]);
  expect(caseTwins(["a", "a", "b"]).size).toBe(0);
});
