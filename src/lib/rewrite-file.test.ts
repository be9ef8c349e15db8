import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chmodSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { FileKeepsChanging, rewriteFile } from "./rewrite-file.ts";

function world() {
  const dir = tempDir();
  const file = join(dir, "list.txt");
  writeFileSync(file, "one\n");
  return { dir, file, options: { lockFile: join(tempDir(), "list.lock"), timeoutMs: 20_000 } };
}

const append = (line: string) => (before: Buffer) => Buffer.concat([before, Buffer.from(line)]);

describe("rewriteFile", () => {
  it("replaces the content and keeps the mode, without litter", async () => {
    const { dir, file, options } = world();
    chmodSync(file, 0o640);
    expect(await rewriteFile(file, append("two\n"), options)).toBe(true);
    expect(readFileSync(file, "utf8")).toBe("one\ntwo\n");
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(readdirSync(dir)).toEqual(["list.txt"]);
  });

  it("leaves the file alone when nothing changes", async () => {
    const { file, options } = world();
    const { ino, mtimeMs } = statSync(file);
    expect(await rewriteFile(file, (bytes) => bytes, options)).toBe(false);
    expect(statSync(file)).toMatchObject({ ino, mtimeMs });
  });

  it("writes through a symbolic link", async () => {
    const { dir, file, options } = world();
    const link = join(dir, "link.txt");
    symlinkSync("list.txt", link);
    await rewriteFile(link, append("two\n"), options);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(file, "utf8")).toBe("one\ntwo\n");
  });

  it("keeps what somebody else wrote between the reading and the writing", async () => {
    const { file, options } = world();
    let asked = 0;
    await rewriteFile(
      file,
      (before) => {
        asked += 1;
        if (asked === 1) appendFileSync(file, "theirs\n");
        return append("ours\n")(before);
      },
      options,
    );
    expect(readFileSync(file, "utf8")).toBe("one\ntheirs\nours\n");
    expect(asked).toBe(2);
  });

  it("gives up, with the file as it is, when somebody else changes it every time", async () => {
    const { dir, file, options } = world();
    const busy = rewriteFile(
      file,
      (before) => {
        appendFileSync(file, "theirs\n");
        return append("ours\n")(before);
      },
      options,
    );
    await expect(busy).rejects.toThrow(FileKeepsChanging);
    expect(readFileSync(file, "utf8")).toBe(`one\n${"theirs\n".repeat(5)}`);
    expect(readdirSync(dir)).toEqual(["list.txt"]);
  });

  it("loses no update of two processes that write at the same time", async () => {
    const { file, options } = world();
    writeFileSync(file, "");
    const program = `
      import { rewriteFile } from ${JSON.stringify(join(import.meta.dirname, "rewrite-file.ts"))};
      const [file, lockFile, name] = process.argv.slice(2);
      for (let i = 0; i < 100; i++)
        await rewriteFile(file, (before) => Buffer.concat([before, Buffer.from(name + i + "\\n")]), { lockFile, timeoutMs: 60_000 });
    `;
    const script = join(tempDir(), "writer.ts");
    writeFileSync(script, program);
    const writers = ["a", "b"].map((name) => spawn(process.execPath, [script, file, options.lockFile, name], { stdio: "inherit" }));
    const codes = await Promise.all(writers.map(async (writer) => (await once(writer, "exit"))[0]));
    expect(codes).toEqual([0, 0]);
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const wanted = ["a", "b"].flatMap((name) => Array.from({ length: 100 }, (_, i) => `${name}${i}`));
    expect(lines.toSorted()).toEqual(wanted.toSorted());
  }, 120_000);
});
