import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { parseJson, readJson, Unreadable } from "./json.ts";

function problemOf(read: () => unknown): Unreadable["problem"] {
  try {
    read();
  } catch (error) {
    if (error instanceof Unreadable) return error.problem;
    throw error;
  }
  throw new Error("it could be read");
}

describe("readJson", () => {
  it("takes absence for an answer", () => {
    expect(readJson(join(tempDir(), "none.json"))).toBeUndefined();
  });

  it("accepts a byte order mark", () => {
    const file = join(tempDir(), "a.json");
    writeFileSync(file, '\uFEFF{"a": "é"}');
    expect(readJson(file)).toEqual({ a: "é" });
  });

  it.each([
    ["empty", "", "the file is empty"],
    ["UTF-16", Buffer.from('\uFEFF{"a":1}', "utf16le"), "is UTF-16 or binary"],
    ["not UTF-8", Buffer.from([0x22, 0xff, 0x22]), "is not valid UTF-8"],
    ["too large", `"${"x".repeat(4 * 1024 * 1024)}"`, "larger than 4 MiB"],
  ])("P10 tells what is wrong with a file that is %s", (_, content, message) => {
    const file = join(tempDir(), "a.json");
    writeFileSync(file, content);
    expect(problemOf(() => readJson(file))).toMatchObject({ file, message });
  });

  it("P10 never opens a folder, a link or a FIFO", () => {
    const dir = tempDir();
    mkdirSync(join(dir, "folder"));
    symlinkSync("/etc/hostname", join(dir, "link"));
    execFileSync("mkfifo", [join(dir, "fifo")]);
    expect(["folder", "link", "fifo"].map((name) => problemOf(() => readJson(join(dir, name))).message)).toEqual([
      "this is a folder",
      "this is a symbolic link",
      "this is not a regular file",
    ]);
  });
});

describe("parseJson", () => {
  it.each([
    ['{\n  "a": 1,\n}', 3, 1],
    ['{\n  "a": [1,\n 2,}\n}', 3, 4],
    ['{"a": "x", "b": y}', 1, 17],
    ['{"a": 1', 1, 8],
    ["[1 2]", 1, 4],
    ["[01]", 1, 3],
    ['{"a": tru}', 1, 7],
    ["[1]]", 1, 4],
    ['{"text": "a } [ b \\" c", "x": @}', 1, 31],
  ])("gives line and column: %s", (text, line, column) => {
    expect(problemOf(() => parseJson(text, "f"))).toMatchObject({ line, column });
  });

  it("refuses what would hurt later", () => {
    expect(problemOf(() => parseJson('{"a": {"__proto__": 1}}', "f")).message).toBe("a.__proto__: this key is not allowed");
    expect(problemOf(() => parseJson('{"a": [1, 1e999]}', "f")).message).toBe("a[1]: number out of range");
    expect(problemOf(() => parseJson("[".repeat(65) + "]".repeat(65), "f")).message).toBe("nested deeper than 64 levels");
    expect(parseJson("[".repeat(64) + "]".repeat(64), "f")).toBeInstanceOf(Array);
    expect(problemOf(() => parseJson("[".repeat(200_000) + "]".repeat(200_000), "f")).message).toBe("nested deeper than 64 levels");
  });
});
