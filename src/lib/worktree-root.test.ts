import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { worktreeRootProblem } from "./worktree-root.ts";

it("refuses the home folder and what holds it, also behind a link, and no other folder", () => {
  const dir = tempDir();
  const home = join(dir, "users", "me");
  mkdirSync(home, { recursive: true });
  symlinkSync(home, join(dir, "link"));
  const problem = (root: string) => worktreeRootProblem(root, home);
  expect(["/", join(dir, "users"), home, `${home}/`, join(dir, "link")].map(problem)).toEqual([
    "it is the root of the file system",
    "it contains your home folder",
    "it is your home folder",
    "it is your home folder",
    "it is your home folder",
  ]);
  expect([join(home, ".orchestrator", "worktrees"), `${home}-trees`, join(dir, "link", "trees")].map(problem)).toEqual(
    Array(3).fill(undefined),
  );
});
