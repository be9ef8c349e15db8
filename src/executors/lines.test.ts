import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLineSplitter, type LineEnd } from "./lines.ts";

function split(chunks: Uint8Array[], maxLength: number): [string, LineEnd][] {
  const lines: [string, LineEnd][] = [];
  const splitter = createLineSplitter(maxLength, (line, end) => lines.push([line, end]));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk));
  splitter.end();
  return lines;
}

describe("createLineSplitter", () => {
  it("cuts a line that is too long, skips its rest and goes on", () => {
    expect(split([Buffer.from("abcdefgh\nij\nklmnop")], 4)).toEqual([
      ["abcd", "cut"],
      ["ij", "newline"],
      ["klmn", "cut"],
    ]);
  });

  it("takes a line of just the limit", () => {
    expect(split([Buffer.from("abcd\nefgh")], 4)).toEqual([
      ["abcd", "newline"],
      ["efgh", "eof"],
    ]);
  });

  it("splits at LF only", () => {
    expect(split([Buffer.from("a\r\nb\u2028c\n\n")], 10)).toEqual([
      ["a\r", "newline"],
      ["b\u2028c", "newline"],
      ["", "newline"],
    ]);
  });

  it("gives the same lines however the bytes are cut into chunks", () => {
    const chunks = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 20 }),
        fc.string({ unit: "binary" }).map((s) => Buffer.from(s)),
        fc.constant(Buffer.from("\n")),
      ),
    );
    fc.assert(
      fc.property(chunks, fc.integer({ min: 1, max: 12 }), (parts, maxLength) => {
        expect(split(parts, maxLength)).toEqual(split([Buffer.concat(parts)], maxLength));
      }),
    );
  });

  it("loses nothing below the limit", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
        const whole = texts.join("\n").toWellFormed();
        const lines = split([Buffer.from(whole)], whole.length + 1);
        expect(lines.map(([line, end]) => (end === "newline" ? `${line}\n` : line)).join("")).toBe(whole);
      }),
    );
  });
});
