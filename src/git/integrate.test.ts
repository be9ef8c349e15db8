import { utimesSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { detectBase } from "./base.ts";
import { openRepo, type Repo } from "./git.ts";
import { advanceBase, buildCandidate, ensureIntegration, land, landCandidate } from "./integrate.ts";
import { checkoutState, commitFiles, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";

let dir: string;
let path: string;
let repo: Repo;
let start: string;
const ref = "refs/heads/orchestrator/main";

beforeEach(async () => {
  dir = tempDir();
  isolateGit(dir);
  path = makeRepo(join(dir, "repo"));
  repo = await openRepo(path);
  start = userGit(path, "rev-parse", "main");
});

const base = () => detectBase(repo, "main");
const sha = (name: string) => userGit(path, "rev-parse", name);

/** A commit made in a worktree of its own, so that the user's checkout stays out of it. */
function branchWith(name: string, from: string, files: Record<string, string>): string {
  const tree = join(dir, "branches", name);
  userGit(path, "worktree", "add", "--quiet", "-b", name, tree, from);
  const made = commitFiles(tree, files, name);
  userGit(path, "worktree", "remove", "--force", tree);
  return made;
}

describe("ensureIntegration", () => {
  it("creates the branch, moves it with the base, and keeps it once it has more", async () => {
    const before = checkoutState(path);
    expect(await ensureIntegration(repo, await base())).toEqual({ kind: "ready", sha: start });
    expect(checkoutState(path)).toEqual(before);
    const next = commitFiles(path, { "n.txt": "n" }, "next");
    expect(await ensureIntegration(repo, await base())).toEqual({ kind: "ready", sha: next });
    const work = branchWith("work", next, { "w.txt": "w" });
    await landCandidate(repo, { ref, from: next, to: work });
    expect(await ensureIntegration(repo, await base())).toEqual({ kind: "ready", sha: work });
  });

  it("offers the merge of a base that diverged, or names the conflict", async () => {
    const work = branchWith("work", start, { "w.txt": "w" });
    await landCandidate(repo, { ref, from: null, to: work });
    const own = commitFiles(path, { "own.txt": "o" }, "own");
    const merge = await ensureIntegration(repo, await base());
    expect(merge).toEqual({ kind: "candidate", from: work, sha: expect.any(String) });
    if (merge.kind !== "candidate") return;
    expect(userGit(path, "log", "-1", "--format=%P", merge.sha)).toBe(`${work} ${own}`);
    expect(sha(ref)).toBe(work);
    commitFiles(path, { "w.txt": "other" }, "clash");
    expect(await ensureIntegration(repo, await base())).toEqual({ kind: "conflict", files: ["w.txt"] });
  });

  it("says which branch name is in the way", async () => {
    userGit(path, "branch", "orchestrator");
    await expect(ensureIntegration(repo, await base())).rejects.toMatchObject({ name: "UserError", exit: "conflict" });
  });
});

describe("buildCandidate", () => {
  it("P3 merges without touching any tree or branch", async () => {
    write(path, { "a.txt": "dirty" });
    const work = branchWith("work", start, { "w – ü.txt": "w" });
    const before = checkoutState(path);
    const result = await buildCandidate(repo, { onto: start, branchSha: work, message: "Merge T1", author: { name: "Bot", email: "b@x" } });
    expect(result).toEqual({ kind: "candidate", sha: expect.any(String) });
    if (result.kind !== "candidate") return;
    expect(userGit(path, "log", "-1", "--format=%P|%an|%s", result.sha)).toBe(`${start} ${work}|Bot|Merge T1`);
    expect(sha(`${result.sha}^{tree}`)).toBe(sha(`${work}^{tree}`));
    expect(checkoutState(path)).toEqual(before);
    expect(sha("main")).toBe(start);
  });

  it("tells what is there already from what conflicts", async () => {
    const work = branchWith("work", start, { "a.txt": "mine", "w.txt": "w" });
    expect(await buildCandidate(repo, { onto: work, branchSha: start, message: "m" })).toEqual({ kind: "up-to-date" });
    const same = branchWith("same", start, { "a.txt": "mine", "w.txt": "w" });
    expect(await buildCandidate(repo, { onto: work, branchSha: same, message: "m" })).toEqual({ kind: "up-to-date" });
    const clash = branchWith("clash", start, { "a.txt": "theirs", "src/b.txt": "b2" });
    expect(await buildCandidate(repo, { onto: work, branchSha: clash, message: "m" })).toEqual({ kind: "conflict", files: ["a.txt"] });
  });
});

describe("landCandidate", () => {
  it("lands once, and loses the race when the branch moved", async () => {
    const one = branchWith("one", start, { "1.txt": "1" });
    const two = branchWith("two", start, { "2.txt": "2" });
    expect(await landCandidate(repo, { ref, from: null, to: start })).toBe("landed");
    expect(await landCandidate(repo, { ref, from: start, to: one })).toBe("landed");
    expect(await landCandidate(repo, { ref, from: start, to: one })).toBe("landed");
    expect(await landCandidate(repo, { ref, from: start, to: two })).toBe("moved");
    expect(await landCandidate(repo, { ref, from: null, to: two })).toBe("moved");
    expect(sha(ref)).toBe(one);
    await expect(landCandidate(repo, { ref, from: one, to: two })).rejects.toThrow("would lose commits");
  });

  it("lets exactly one of many win", async () => {
    await landCandidate(repo, { ref, from: null, to: start });
    const shas = Array.from({ length: 8 }, (_, i) => branchWith(`b${i}`, start, { [`${i}.txt`]: "x" }));
    const results = await Promise.all(shas.map((to) => landCandidate(repo, { ref, from: start, to })));
    expect(results.filter((result) => result === "landed")).toHaveLength(1);
  });

  it("P3 never moves a branch under the tree that has it checked out", async () => {
    await ensureIntegration(repo, await base());
    userGit(path, "checkout", "--quiet", "orchestrator/main");
    const work = branchWith("work", start, { "w.txt": "w" });
    await expect(landCandidate(repo, { ref, from: start, to: work })).rejects.toMatchObject({ name: "UserError", exit: "conflict" });
    expect(sha(ref)).toBe(start);
  });
});

describe("advanceBase and land", () => {
  beforeEach(async () => {
    await landCandidate(repo, { ref, from: null, to: branchWith("work", start, { "w.txt": "w", "a.txt": "a2\n" }) });
  });

  it("P3 the base moves only where nobody has it checked out", async () => {
    const before = checkoutState(path);
    const reason = `main is checked out in ${path}; run orchestrator land there`;
    expect(await advanceBase(repo, await base())).toEqual({ moved: false, reason });
    expect(checkoutState(path)).toEqual(before);
    userGit(path, "checkout", "--quiet", "--detach");
    expect(await advanceBase(repo, await base())).toEqual({ moved: true });
    expect(sha("main")).toBe(sha(ref));
    expect(await advanceBase(repo, await base())).toEqual({ moved: false, reason: "main has everything already" });
  });

  it("waits for a rebase of the base to end", async () => {
    commitFiles(path, { "a.txt": "clash" }, "clash");
    userGit(path, "branch", "other", start);
    const onto = branchWith("onto", start, { "a.txt": "other" });
    expect(() => userGit(path, "rebase", onto)).toThrow();
    userGit(path, "update-ref", "refs/heads/main", start);
    expect(await advanceBase(repo, await base())).toMatchObject({ moved: false, reason: expect.stringContaining("is checked out in") });
  });

  it("land fast-forwards a clean checkout, untracked files aside", async () => {
    write(path, { "notes.txt": "mine" });
    expect(await land(repo, await base())).toEqual({ landed: true, from: start, to: sha(ref) });
    expect(userGit(path, "status", "--porcelain")).toBe("?? notes.txt");
    expect(userGit(path, "show", "HEAD:w.txt")).toBe("w");
    expect(await land(repo, await base())).toEqual({ landed: false, reason: "main has everything already" });
  });

  it("land says why not, and then changes nothing", async () => {
    write(path, { "src/b.txt": "dirty" });
    // A file that only looks changed would make git refresh the index in passing.
    utimesSync(join(path, "a.txt"), 1, 1);
    let before = checkoutState(path);
    expect(await land(repo, await base())).toEqual({
      landed: false,
      reason: `${path} has uncommitted changes; commit or stash them first`,
    });
    expect(checkoutState(path)).toEqual(before);
    userGit(path, "checkout", "--quiet", "src/b.txt");
    write(path, { "w.txt": "in the way" });
    before = checkoutState(path);
    expect(await land(repo, await base())).toMatchObject({
      landed: false,
      reason: expect.stringContaining("would be overwritten by merge"),
    });
    // git notes where it stood before every merge, also before one that it then refuses.
    expect({ ...checkoutState(path), ".git/ORIG_HEAD": "absent" }).toEqual(before);
    commitFiles(path, { "w.txt": "own" }, "own");
    expect(await land(repo, await base())).toMatchObject({ landed: false, reason: expect.stringContaining("main has commits") });
  });

  it("land moves the branch alone where it is checked out nowhere", async () => {
    userGit(path, "checkout", "--quiet", "-b", "feature");
    const before = checkoutState(path);
    expect(await land(repo, await base())).toMatchObject({ landed: true });
    expect(checkoutState(path)).toEqual(before);
    userGit(dir, "clone", "--quiet", "--bare", path, "bare.git");
    expect(await land(await openRepo(join(dir, "bare.git")), await base())).toMatchObject({ landed: false });
  });
});
