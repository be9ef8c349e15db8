import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { changedPaths, commitAll, diffStat, diffText } from "./commit.ts";
import { openRepo, type Repo } from "./git.ts";
import { isAncestor, mergeBase } from "./refs.ts";
import { commitFiles, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";
import { ensureWorktree, type Worktree, worktreeState } from "./worktree.ts";

let dir: string;
let path: string;
let repo: Repo;
let start: string;
let wt: Worktree;

beforeEach(async () => {
  dir = tempDir();
  isolateGit(dir);
  path = makeRepo(join(dir, "repo"));
  repo = await openRepo(path);
  start = userGit(path, "rev-parse", "main");
  wt = await ensure();
});

const ensure = () =>
  ensureWorktree({
    repo,
    lockDir: join(dir, "locks"),
    path: join(dir, "wt/T1"),
    branch: "orch/plan/T1",
    startSha: start,
    recovery: { planId: "plan", ticketId: "T1" },
  });

const lastCommit = () => userGit(wt.path, "log", "-1", "--format=%an <%ae>|%cn <%ce>|%B");

it("commits new, changed and deleted files, and nothing when there is nothing", async () => {
  expect(await commitAll(wt, { message: "empty" })).toEqual({ sha: start, committed: false, skipped: [] });
  write(wt.path, { "a.txt": "2\n", "n – ü.txt": "n", "ignored/x": "x" });
  rmSync(join(wt.path, "src/b.txt"));
  const { sha, committed } = await commitAll(wt, { message: "feat: work\n\nTicket: T1" });
  expect(committed).toBe(true);
  expect(userGit(path, "rev-parse", "orch/plan/T1")).toBe(sha);
  expect(userGit(wt.path, "status", "--porcelain")).toBe("");
  expect(lastCommit()).toBe("Ada <ada@example.org>|Ada <ada@example.org>|feat: work\n\nTicket: T1");
  expect(await changedPaths(repo, start, sha)).toEqual([
    { path: "a.txt", status: "modified", mode: "100644" },
    { path: "n – ü.txt", status: "added", mode: "100644" },
    { path: "src/b.txt", status: "deleted", mode: "000000" },
  ]);
  expect(await diffStat(repo, start, sha)).toEqual({ files: 3, insertions: 2, deletions: 2 });
  expect(await diffText(repo, start, sha, 10)).toEqual({ text: "diff --git", truncated: true });
  expect(await diffText(repo, start, sha, 100_000)).toMatchObject({ text: expect.stringContaining("+2\n"), truncated: false });
  expect(await isAncestor(repo, start, sha)).toBe(true);
  expect(await isAncestor(repo, sha, start)).toBe(false);
  expect(await mergeBase(repo, sha, "main")).toBe(start);
});

it("commits as the given author, or as itself where nobody is configured, and never signs", async () => {
  write(wt.path, { "n.txt": "1" });
  await commitAll(wt, { message: "one", author: { name: "Bot", email: "bot@example.org" } });
  expect(lastCommit()).toBe("Bot <bot@example.org>|Bot <bot@example.org>|one");
  writeFileSync(join(dir, "home/gitconfig"), "[commit]\n\tgpgsign = true\n[user]\n\tuseConfigOnly = true\n");
  write(wt.path, { "n.txt": "2" });
  await commitAll(wt, { message: "two" });
  expect(lastCommit()).toBe("orchestrator <orchestrator@localhost>|orchestrator <orchestrator@localhost>|two");
});

it("finishes a merge that an agent resolved, and refuses conflict markers", async () => {
  commitFiles(wt.path, { "a.txt": "mine\n" }, "mine");
  const theirs = commitFiles(path, { "a.txt": "theirs\n" }, "theirs");
  expect(() => userGit(wt.path, "merge", "main")).toThrow();
  await expect(commitAll(wt, { message: "merge" })).rejects.toMatchObject({
    name: "UserError",
    message: `Conflict markers are left in a.txt (${wt.path}).`,
  });
  write(wt.path, { "a.txt": "both\n" });
  await commitAll(wt, { message: "merge" });
  expect(userGit(wt.path, "rev-parse", "HEAD^2")).toBe(theirs);
  expect(userGit(wt.path, "status")).toMatch(/nothing to commit, working tree clean$/);
});

it("names nested repositories that it cannot commit", async () => {
  mkdirSync(join(wt.path, "app"));
  userGit(join(wt.path, "app"), "init", "--quiet");
  write(wt.path, { "app/main.ts": "x", "n.txt": "n" });
  const { sha, skipped } = await commitAll(wt, { message: "work" });
  expect(skipped).toEqual(["app/"]);
  expect(await changedPaths(repo, start, sha)).toMatchObject([{ path: "n.txt" }]);
});

it("P12 never reads the configuration that an agent points its git folder at", async () => {
  const evil = makeRepo(join(dir, "evil"));
  userGit(evil, "config", "filter.x.clean", `touch ${dir}/ran; cat`);
  write(wt.path, { ".gitattributes": "* filter=x\n", "n.txt": "n" });
  writeFileSync(join(wt.gitDir, "commondir"), `${evil}/.git\n`);
  await expect(worktreeState(wt)).rejects.toMatchObject({ name: "UserError", exit: "unsafe" });
  await ensure();
  expect(await worktreeState(wt)).toMatchObject({ changedFiles: [".gitattributes", "n.txt"] });
  const { sha } = await commitAll(wt, { message: "work" });
  rmSync(join(wt.path, ".git"));
  symlinkSync(join(evil, ".git"), join(wt.path, ".git"));
  write(wt.path, { "n.txt": "changed" });
  expect(await worktreeState(wt)).toMatchObject({ head: sha, changedFiles: ["n.txt"] });
  expect(existsSync(join(dir, "ran"))).toBe(false);
});
