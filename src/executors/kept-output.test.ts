import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { createKeptOutput } from "./kept-output.ts";

describe("createKeptOutput", () => {
  it("P7 keeps head and tail within its bounds, whatever is written", () => {
    const dir = tempDir();
    const path = join(dir, "out.log");
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "grapheme-ascii", maxLength: 60 }), { maxLength: 60 }),
        fc.integer({ min: 16, max: 400 }),
        (texts, keepBytes) => {
          const kept = createKeptOutput(path, keepBytes);
          for (const text of texts) {
            kept.write(text);
            expect(readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0)).toBeLessThanOrEqual(keepBytes);
          }
          kept.close();
          expect(readdirSync(dir)).toEqual(["out.log"]);
          const whole = texts.join("");
          const text = readFileSync(path, "utf8");
          const gap = /\n\[… (\d+) bytes left out …\]\n/.exec(text);
          if (gap === null) {
            expect(text).toBe(whole);
            return;
          }
          const head = text.slice(0, gap.index);
          const tail = text.slice(gap.index + gap[0].length);
          expect(head.length + tail.length + Number(gap[1])).toBe(whole.length);
          expect(whole.startsWith(head) && whole.endsWith(tail)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});
