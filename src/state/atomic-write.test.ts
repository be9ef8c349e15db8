import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { tempDir } from "../testing/temp.ts";
import {
  appendDurable,
  disk,
  linkExclusive,
  linkExclusiveSync,
  makeDir,
  moveTemporary,
  sweep,
  writeDurable,
  writeTemporary,
} from "./atomic-write.ts";

/** Lets one call to the file system fail, as a full or broken disk would. */
function failing(call: "link" | "rename" | "linkSync" | "writeSync", code: string): void {
  const real = disk[call];
  const fail = () => {
    throw Object.assign(new Error(code), { code });
  };
  Object.assign(disk, { [call]: call.endsWith("Sync") ? fail : async () => fail() });
  onTestFinished(() => {
    Object.assign(disk, { [call]: real });
  });
}

describe("writeDurable", () => {
  it("replaces a file whole, for its owner only", async () => {
    const dir = tempDir();
    const file = join(dir, "a.json");
    writeFileSync(file, "old");
    await writeDurable(file, "new");
    expect([readFileSync(file, "utf8"), lstatSync(file).mode & 0o777, readdirSync(dir)]).toEqual(["new", 0o600, ["a.json"]]);
  });

  it("replaces a symbolic link instead of writing through it", async () => {
    const dir = tempDir();
    writeFileSync(join(dir, "victim"), "safe");
    symlinkSync(join(dir, "victim"), join(dir, "link"));
    await writeDurable(join(dir, "link"), "new");
    expect(readFileSync(join(dir, "victim"), "utf8")).toBe("safe");
  });

  it("leaves the old file and no litter when it fails", async () => {
    const dir = tempDir();
    writeFileSync(join(dir, "a"), "old");
    failing("rename", "ENOSPC");
    await expect(writeDurable(join(dir, "a"), "new")).rejects.toMatchObject({ code: "ENOSPC" });
    expect([readFileSync(join(dir, "a"), "utf8"), readdirSync(dir)]).toEqual(["old", ["a"]]);
  });

  it("goes on after a short write", async () => {
    const dir = tempDir();
    const open = disk.open;
    onTestFinished(() => {
      disk.open = open;
    });
    disk.open = async (...args) => {
      const handle = await open(...args);
      const write = handle.write.bind(handle) as (bytes: Buffer, at: number, length: number) => Promise<{ bytesWritten: number }>;
      Object.assign(handle, { write: (bytes: Buffer, at: number) => write(bytes, at, Math.min(3, bytes.length - at)) });
      return handle;
    };
    await writeDurable(join(dir, "a"), "0123456789");
    expect(readFileSync(join(dir, "a"), "utf8")).toBe("0123456789");
  });
});

describe("linkExclusive", () => {
  it("lets exactly one of many writers win", async () => {
    const dir = tempDir();
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => linkExclusive(join(dir, "1.json"), `writer ${i}`)));
    expect(results.filter(Boolean)).toEqual([true]);
    expect(readFileSync(join(dir, "1.json"), "utf8")).toBe(`writer ${results.indexOf(true)}`);
    expect(readdirSync(dir)).toEqual(["1.json"]);
  });

  it("leaves no litter when it fails", async () => {
    const dir = tempDir();
    failing("link", "EIO");
    await expect(linkExclusive(join(dir, "a"), "x")).rejects.toMatchObject({ code: "EIO" });
    expect(readdirSync(dir)).toEqual([]);
  });

  it("has a synchronous twin", () => {
    const dir = tempDir();
    expect([linkExclusiveSync(join(dir, "a"), "1"), linkExclusiveSync(join(dir, "a"), "2")]).toEqual([true, false]);
    expect([readFileSync(join(dir, "a"), "utf8"), readdirSync(dir)]).toEqual(["1", ["a"]]);
    failing("writeSync", "ENOSPC");
    expect(() => linkExclusiveSync(join(dir, "b"), "1")).toThrow("ENOSPC");
    expect(readdirSync(dir)).toEqual(["a"]);
  });
});

it("sweep removes what nobody writes any more, whoever has its process number now", async () => {
  const dir = tempDir();
  const gone = spawn("true");
  await once(gone, "exit");
  const other = process.ppid;
  const names = ["a.json", ".tmp-x", `.tmp-${gone.pid}-1-a`, `.tmp-${process.pid}-1-a`, `.tmp-${other}-1-old`, `.tmp-${other}-1-new`];
  for (const name of names) writeFileSync(join(dir, name), "");
  const old = new Date(Date.now() - 2 * 3600 * 1000);
  utimesSync(join(dir, `.tmp-${other}-1-old`), old, old);
  const { path } = await writeTemporary(dir, "mine");
  sweep(dir);
  expect(readdirSync(dir).sort()).toEqual(["a.json", `.tmp-${other}-1-new`, basename(path)].sort());
  await moveTemporary(path, join(dir, "b.json"));
  expect(readFileSync(join(dir, "b.json"), "utf8")).toBe("mine");
  sweep(join(dir, "none"));
});

it("appendDurable and makeDir create what only the owner may enter", async () => {
  const dir = join(tempDir(), "x", "y");
  await makeDir(dir);
  await makeDir(dir);
  await appendDurable(join(dir, "log"), "a\n");
  await appendDurable(join(dir, "log"), "b\n");
  expect([lstatSync(dir).mode & 0o777, lstatSync(join(dir, "..")).mode & 0o777, readFileSync(join(dir, "log"), "utf8")]).toEqual([
    0o700,
    0o700,
    "a\nb\n",
  ]);
});
