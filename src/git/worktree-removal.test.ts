import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { listRecovery } from "./recovery.ts";
import { commitFiles, filesOf, userGit, write } from "./repo-fixture.ts";
import { deleteTrash, trashIn } from "./trash.ts";
import { integrationWorktree, worktreeState } from "./worktree.ts";
import { now, worktreeFixture } from "./worktree-fixture.ts";
import { removeIntegrationWorktree, removeWorktree, resetTo } from "./worktree-removal.ts";

type Fixture = Awaited<ReturnType<typeof worktreeFixture>>;
let dir: string;
let path: Fixture["path"];
let repo: Fixture["repo"];
let start: Fixture["start"];
let place: Fixture["place"];
let ensure: Fixture["ensure"];
let remove: Fixture["remove"];
let registered: Fixture["registered"];

beforeEach(async () => {
  dir = tempDir();
  ({ path, repo, start, place, ensure, remove, registered } = await worktreeFixture(dir));
});

const branches = () => userGit(path, "for-each-ref", "--format=%(refname:short)", "refs/heads").split("\n");

describe("removeWorktree", () => {
  it("removes a merged worktree with its branch and registration, and is content when there is none", async () => {
    const wt = await ensure();
    commitFiles(wt.path, { "w.txt": "w" }, "work");
    userGit(path, "merge", "--quiet", "--no-edit", "--no-ff", "orch/plan/T1");
    write(wt.path, { "ignored/cache": "c" });
    expect(await remove()).toEqual({ worktree: "removed", keptAt: null, branch: "deleted", recovery: null });
    expect(existsSync(wt.path)).toBe(false);
    expect(registered()).toBe(1);
    expect(branches()).toEqual(["main"]);
    const trash = await trashIn(dirname(wt.path));
    expect(readdirSync(dirname(wt.path)).map((name) => join(dirname(wt.path), name))).toEqual(trash);
    expect(trash).toHaveLength(1);
    expect(await remove()).toEqual({ worktree: "absent", keptAt: null, branch: "absent", recovery: null });
  });

  it("sees that a branch was squashed or rebased into main", async () => {
    const wt = await ensure();
    commitFiles(wt.path, { "w.txt": "1" }, "one");
    commitFiles(wt.path, { "w.txt": "2", "v.txt": "v" }, "two");
    commitFiles(path, { "other.txt": "o" }, "other");
    userGit(path, "merge", "--quiet", "--squash", "orch/plan/T1");
    userGit(path, "commit", "--quiet", "-m", "squashed");
    commitFiles(path, { "w.txt": "later" }, "later");
    expect(await remove()).toMatchObject({ branch: "deleted", recovery: null });

    const second = await ensure("T2");
    commitFiles(second.path, { "r.txt": "1" }, "r one");
    commitFiles(second.path, { "r.txt": "2" }, "r two");
    userGit(path, "cherry-pick", `${start}..orch/plan/T2`);
    expect(await remove(["refs/remotes/origin/main", "main"], "T2")).toMatchObject({ branch: "deleted", recovery: null });
  });

  it("P4 keeps a branch that is not merged and saves what was not committed", async () => {
    const wt = await ensure();
    const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
    write(wt.path, { "a.txt": "changed", "draft.txt": "d" });
    rmSync(join(wt.path, "src/b.txt"));
    const removal = await remove();
    expect(removal).toMatchObject({ worktree: "removed", branch: "kept" });
    expect(await listRecovery(repo, "plan", "T1")).toMatchObject([{ ref: removal.recovery, planId: "plan", ticketId: "T1", at: now }]);
    expect(userGit(path, "rev-parse", `${removal.recovery}^`)).toBe(sha);
    expect(userGit(path, "ls-tree", "-r", "--name-only", `${removal.recovery}`).split("\n")).toEqual([
      ".gitignore",
      "a.txt",
      "draft.txt",
      "w.txt",
    ]);
    expect(userGit(path, "show", `${removal.recovery}:a.txt`)).toBe("changed");
  });

  it("P4 saves commits that no branch has", async () => {
    const wt = await ensure();
    userGit(wt.path, "checkout", "--quiet", "--detach");
    const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
    const removal = await remove();
    expect(removal).toMatchObject({ worktree: "removed", branch: "deleted" });
    expect(userGit(path, "rev-parse", `${removal.recovery}`)).toBe(sha);
  });

  it("P4 does not call a branch merged whose commits cancel each other out", async () => {
    const wt = await ensure();
    commitFiles(wt.path, { "w.txt": "w" }, "work");
    userGit(wt.path, "revert", "--no-edit", "HEAD");
    commitFiles(path, { "other.txt": "o" }, "other");
    expect(await remove()).toMatchObject({ branch: "kept", recovery: expect.stringContaining("refs/orchestrator/recovery/plan/T1/") });
  });

  it("cleans up after a folder that is gone, and after a removal that was killed", async () => {
    const wt = await ensure();
    renameSync(wt.path, join(dirname(wt.path), ".trash-T1~20261121T120000000Z-0a1b2c3d"));
    expect(await remove()).toEqual({ worktree: "absent", keptAt: null, branch: "deleted", recovery: null });
    expect(registered()).toBe(1);
  });

  it("P4 takes back a folder that a killed removal had moved but not saved", async () => {
    const wt = await ensure();
    write(wt.path, { "draft.txt": "d" });
    const aside = join(dirname(wt.path), ".removing-T1~");
    renameSync(wt.path, aside);
    expect(await worktreeState(await ensure())).toMatchObject({ changedFiles: ["draft.txt"] });
    renameSync(wt.path, aside);
    const removal = await remove();
    expect(removal).toMatchObject({ worktree: "removed", branch: "deleted" });
    expect(userGit(path, "show", `${removal.recovery}:draft.txt`)).toBe("d");
    expect(readdirSync(dirname(wt.path))).toEqual([expect.stringMatching(/^\.trash-T1~/)]);
  });

  it("P4 leaves everything in place when the state cannot be saved", async () => {
    const wt = await ensure();
    userGit(path, "config", "filter.broken.clean", "false");
    userGit(path, "config", "filter.broken.required", "true");
    write(wt.path, { ".gitattributes": "*.bin filter=broken\n", "x.bin": "x" });
    const files = filesOf(wt.path);
    await expect(remove()).rejects.toMatchObject({ name: "GitError" });
    expect(filesOf(wt.path)).toEqual(files);
    expect(registered()).toBe(2);
  });

  it("P4 saves the files of a folder whose registration was lost", async () => {
    const wt = await ensure();
    write(wt.path, { "draft.txt": "d" });
    rmSync(wt.gitDir, { recursive: true });
    const removal = await remove();
    expect(removal).toMatchObject({ worktree: "removed", branch: "deleted" });
    expect(userGit(path, "show", `${removal.recovery}:draft.txt`)).toBe("d");
  });

  it("P4 sets a folder aside that holds a repository of its own", async () => {
    const wt = await ensure();
    mkdirSync(join(wt.path, "inner"));
    userGit(join(wt.path, "inner"), "init", "--quiet");
    commitFiles(join(wt.path, "inner"), { f: "f" }, "inner");
    const removal = await remove();
    expect(removal).toMatchObject({ worktree: "kept", branch: "deleted", recovery: null });
    expect(existsSync(join(`${removal.keptAt}`, "inner/.git/HEAD"))).toBe(true);
    expect(existsSync(wt.path)).toBe(false);
  });

  it("never deletes a folder that is no worktree, nor a branch that is in use or is the target itself", async () => {
    write(place().path, { file: "x" });
    await expect(remove()).rejects.toMatchObject({ name: "UserError", exit: "unsafe" });
    expect(filesOf(place().path)).toHaveProperty("file");
    const gone = { ...place("T9"), mergedInto: ["main"], recovery: { planId: "plan", ticketId: "T9" }, now };
    expect(await removeWorktree({ ...gone, branch: "main" })).toMatchObject({ branch: "kept" });
    userGit(path, "checkout", "--quiet", "-b", "used");
    expect(await removeWorktree({ ...gone, branch: "used" })).toMatchObject({ branch: "kept" });
  });
});

describe("trash", () => {
  it("P4 is deleted in the background, its links unfollowed, and nothing else ever is", async () => {
    const wt = await ensure();
    write(dir, { "precious/file": "p" });
    symlinkSync(join(dir, "precious"), join(wt.path, "ignored"));
    write(wt.path, { "locked/file": "l" });
    chmodSync(join(wt.path, "locked"), 0o500);
    await remove();
    const root = dirname(wt.path);
    write(root, { ".trash-mine/file": "m", ".trash-T9/file": "t", "T2/file": "f" });
    symlinkSync(join(dir, "precious"), join(root, ".trash-T3~20261121T120000000Z-0a1b2c3d"));
    const [trash = "", ...more] = await trashIn(root);
    expect(more).toEqual([]);
    await deleteTrash(trash);
    await deleteTrash(trash);
    expect(await trashIn(root)).toEqual([]);
    for (const name of [".trash-T9", ".trash-T3~20261121T120000000Z-0a1b2c3d"]) {
      await expect(deleteTrash(join(root, name))).rejects.toThrow("is no trash of ours");
    }
    expect(existsSync(trash)).toBe(false);
    expect(Object.keys(filesOf(root)).sort()).toEqual([
      ".trash-T3~20261121T120000000Z-0a1b2c3d",
      ".trash-T9/file",
      ".trash-mine/file",
      "T2/file",
    ]);
    expect(filesOf(join(dir, "precious"))).toHaveProperty("file");
    expect(await trashIn(join(dir, "none"))).toEqual([]);
  });
});

describe("removeIntegrationWorktree", () => {
  it("removes the worktree with its registration and is content when there is none", async () => {
    const options = { repo, lockDir: join(dir, "locks"), path: join(dir, "integration/main") };
    const { path: made } = await integrationWorktree({ ...options, sha: start });
    write(made, { "untracked.txt": "u" });
    await removeIntegrationWorktree(options);
    await removeIntegrationWorktree(options);
    expect(existsSync(made)).toBe(false);
    expect(registered()).toBe(1);
  });

  it("never removes the worktree of a ticket", async () => {
    const wt = await ensure();
    await removeIntegrationWorktree({ repo, lockDir: join(dir, "locks"), path: wt.path });
    expect(await ensure()).toMatchObject({ created: false });
    expect(filesOf(wt.path)).toEqual(filesOf(path));
  });
});

describe("resetTo", () => {
  it("P4 saves changes and commits, also in the middle of a rebase", async () => {
    const wt = await ensure();
    const sha = commitFiles(wt.path, { "a.txt": "mine\n" }, "mine");
    const onto = commitFiles(path, { "a.txt": "theirs\n" }, "theirs");
    expect(() => userGit(wt.path, "rebase", "main")).toThrow();
    write(wt.path, { "draft.txt": "d" });
    const { saved } = await resetTo(wt, onto, { planId: "plan", ticketId: "T1", now });
    expect(saved).toHaveLength(2);
    expect(userGit(path, "show", `${saved[0]}:draft.txt`)).toBe("d");
    expect(userGit(path, "rev-parse", `${saved[1]}`)).toBe(sha);
    expect(userGit(wt.path, "status", "--porcelain", "--untracked-files=all")).toBe("");
    expect(userGit(wt.path, "status")).toMatch(/^On branch orch\/plan\/T1\n/);
    expect(userGit(wt.path, "rev-parse", "HEAD")).toBe(onto);
    expect(await resetTo(wt, onto, { planId: "plan", ticketId: "T1", now })).toEqual({ saved: [] });
  });
});
