import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import { tempDir } from "../testing/temp.ts";
import { findInPath, nameProblem, requireInPath } from "./search-path.ts";

function twoFolders(): { user: string; bundled: string } {
  const root = tempDir();
  const dirs = { user: join(root, "user"), bundled: join(root, "user-bundled") };
  for (const dir of Object.values(dirs)) mkdirSync(join(dir, "sub"), { recursive: true });
  return dirs;
}

describe("a search path", () => {
  it("gives the file of the first folder that holds it", () => {
    const { user, bundled } = twoFolders();
    for (const file of [join(bundled, "a.md"), join(bundled, "b.md"), join(user, "b.md"), join(bundled, "sub", "c.md")])
      writeFileSync(file, "");
    const find = (name: string) => findInPath([user, bundled], name, "template");
    expect([find("a.md"), find("b.md"), find("sub/c.md"), find("d.md"), find("sub")]).toEqual([
      join(bundled, "a.md"),
      join(user, "b.md"),
      join(bundled, "sub", "c.md"),
      undefined,
      undefined,
    ]);
  });

  it("lists the folders for a name that is nowhere", () => {
    const { user, bundled } = twoFolders();
    expect(() => requireInPath([user, bundled], "x.md", "template")).toThrow(`No template "x.md" in ${user} or ${bundled}.`);
  });

  it.each(["../user-bundled/a.md", "/etc/passwd", "sub/../../a.md", "", "a\0b", "./a.md", "sub//a.md", "..\\a.md", "C:/a.md"])(
    "refuses %j",
    (name) => {
      const { user, bundled } = twoFolders();
      writeFileSync(join(bundled, "a.md"), "secret");
      expect(nameProblem(name)).toBeTypeOf("string");
      expect(() => findInPath([user], name, "template")).toThrow(UserError);
    },
  );

  it("refuses a link that leads out of its folder", () => {
    const { user, bundled } = twoFolders();
    writeFileSync(join(bundled, "a.md"), "secret");
    symlinkSync(join(bundled, "a.md"), join(user, "a.md"));
    expect(() => findInPath([user], "a.md", "template")).toThrow(/is a link out of its folder/);
  });

  it("takes a folder that is itself a link", () => {
    const { user, bundled } = twoFolders();
    writeFileSync(join(bundled, "a.md"), "");
    symlinkSync(bundled, join(user, "linked"));
    expect(findInPath([join(user, "linked")], "a.md", "template")).toBe(join(user, "linked", "a.md"));
  });
});
