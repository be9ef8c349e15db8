import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { errorSignature, withoutTimes } from "./error-signature.ts";

describe("errorSignature", () => {
  it.each([
    ["times", "FAIL adds (12 ms) at 2026-11-21T10:00:01.123Z", "FAIL adds (1.5s) at 2025-01-01 09:59:59"],
    ["folders", "/tmp/a1/wt/T1/src/add.ts(3,7): no", "/home/me/x/src/add.ts(31,70): no"],
    ["hexadecimal", "object at 0x7fffa1 of 3f9c2d1a77", "object at 0xdeadbeef of aa00bb11cc2"],
    ["numbers", "expected 3 to be 4 (10 failed, 1,204 passed)", "expected 5 to be 6 (1 failed, 7 passed)"],
    ["colours and spaces", "\u001b[31merror\u001b[0m:  broken", "error: broken"],
  ])("is the same whatever %s are in it", (_, one, other) => {
    expect(errorSignature(one)).toBe(errorSignature(other));
  });

  it.each([
    ["another error code", "error TS2304: no", "error TS2305: no"],
    ["another file", "FAIL /a/src/add.test.ts", "FAIL /a/src/sub.test.ts"],
    ["another test", "FAIL adds two numbers", "FAIL adds no numbers"],
  ])("differs for %s", (_, one, other) => {
    expect(errorSignature(one)).not.toBe(errorSignature(other));
  });

  it("is its own signature, and takes any text in little time", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "/", " ", "7", ".", ":", "-", "\n", "f") }), (text) => {
        const signature = errorSignature(text);
        expect(errorSignature(signature)).toBe(signature);
      }),
    );
    for (const piece of ["/", "a", "a/", "1", "1.", "f0", "12:", "1-"]) {
      const began = performance.now();
      errorSignature(piece.repeat(200_000));
      expect(performance.now() - began).toBeLessThan(1000);
    }
  });
});

it("withoutTimes keeps numbers: a count that changes is progress", () => {
  expect(withoutTimes("3 failed, 9 passed (1.2s)")).toBe(withoutTimes("3 failed, 9 passed (803ms)"));
  expect(withoutTimes("3 failed")).not.toBe(withoutTimes("2 failed"));
});
