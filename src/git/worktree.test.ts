import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { commitAll } from "./commit.ts";
import { openRepo } from "./git.ts";
import { listRecovery } from "./recovery.ts";
import { checkoutState, commitFiles, filesOf, userGit, write } from "./repo-fixture.ts";
import { ensureWorktree, integrationWorktree, worktreeState } from "./worktree.ts";
import { recovery, worktreeFixture } from "./worktree-fixture.ts";

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

describe("ensureWorktree", () => {
  it("makes a worktree with its files and finds it again", async () => {
    const made = await ensure();
    const gitDir = join(path, ".git/worktrees/T1");
    expect(made).toEqual({
      path: place().path,
      workTree: place().path,
      gitDir,
      commonDir: join(path, ".git"),
      branch: "orch/plan/T1",
      head: start,
      created: true,
    });
    expect(filesOf(made.path)).toEqual(filesOf(path));
    expect(await ensure()).toEqual({ ...made, created: false });
    expect(userGit(made.path, "status", "--porcelain")).toBe("");
  });

  it("P3 leaves a dirty checkout as it is, byte for byte", async () => {
    write(path, { "a.txt": "stashed" });
    userGit(path, "stash");
    write(path, { "a.txt": "staged" });
    userGit(path, "add", "a.txt");
    write(path, { "a.txt": "dirty", "new.txt": "untracked" });
    rmSync(join(path, "src/b.txt"));
    const before = checkoutState(path);
    const wt = await ensure();
    write(wt.path, { "n.txt": "n" });
    await worktreeState(wt);
    await commitAll(wt, { message: "work" });
    write(wt.path, { "n.txt": "more" });
    await remove();
    expect(checkoutState(path)).toEqual(before);
  });

  it("keeps what an earlier attempt left: files, commits, branch", async () => {
    const wt = await ensure();
    const sha = commitFiles(wt.path, { "work.txt": "w" }, "work");
    write(wt.path, { "draft.txt": "d" });
    expect(await ensure()).toMatchObject({ head: sha, created: false });
    expect(await worktreeState(wt)).toEqual({ head: sha, clean: false, changedFiles: ["draft.txt"] });
    rmSync(wt.path, { recursive: true });
    expect(await ensure()).toMatchObject({ head: sha, created: true });
    expect(filesOf(wt.path)).toHaveProperty("work.txt");
  });

  it("comes back when the folder was emptied, never checked out, or half registered", async () => {
    const wt = await ensure();
    const files = filesOf(path);
    rmSync(wt.path, { recursive: true });
    mkdirSync(wt.path);
    expect(await ensure()).toMatchObject({ created: true });
    expect(filesOf(wt.path)).toEqual(files);

    const unfill = () => {
      rmSync(join(wt.gitDir, "index"));
      rmSync(join(wt.gitDir, "orchestrator-filled"));
    };
    unfill();
    writeFileSync(join(wt.gitDir, "index.lock"), "");
    rmSync(join(wt.path, "a.txt"));
    await ensure();
    expect(filesOf(wt.path)).toEqual(files);
    expect(await listRecovery(repo)).toEqual([]);

    rmSync(wt.path, { recursive: true });
    mkdirSync(wt.path);
    writeFileSync(join(wt.path, ".git"), `gitdir: ${wt.gitDir}\n`);
    unfill();
    writeFileSync(join(wt.gitDir, "HEAD"), "0000000000000000000000000000000000000000\n");
    writeFileSync(join(wt.gitDir, "locked"), "initializing");
    await ensure();
    expect(filesOf(wt.path)).toEqual(files);
    expect(registered()).toBe(2);
  });

  it("P4 keeps every edit when an agent deletes the index, and saves what a file never written to the end would lose", async () => {
    const wt = await ensure();
    write(wt.path, { "a.txt": "edited", "draft.txt": "d" });
    rmSync(join(path, ".git/worktrees/T1/index"));
    rmSync(join(wt.path, "src/b.txt"));
    expect(await worktreeState(await ensure())).toMatchObject({ changedFiles: ["a.txt", "src/b.txt", "draft.txt"] });
    expect(readFileSync(join(wt.path, "a.txt"), "utf8")).toBe("edited");
    expect(await listRecovery(repo)).toEqual([]);

    rmSync(join(wt.gitDir, "index"));
    rmSync(join(wt.gitDir, "orchestrator-filled"));
    expect(await worktreeState(await ensure())).toMatchObject({ changedFiles: ["draft.txt"] });
    const [saved] = await listRecovery(repo, "plan", "T1");
    expect(userGit(path, "show", `${saved?.ref}:a.txt`)).toBe("edited");
    expect(userGit(path, "ls-tree", "-r", "--name-only", `${saved?.ref}`).split("\n")).toEqual([".gitignore", "a.txt", "draft.txt"]);
  });

  it("P4 saves the commits of a detached HEAD whose folder was deleted", async () => {
    const wt = await ensure();
    userGit(wt.path, "checkout", "--quiet", "--detach");
    const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
    rmSync(wt.path, { recursive: true });
    expect(await ensure()).toMatchObject({ head: start, created: true });
    expect(await listRecovery(repo, "plan", "T1")).toMatchObject([{ sha }]);
  });

  it("P4 adopts a folder whose registration was lost, with its files", async () => {
    const wt = await ensure();
    write(wt.path, { "a.txt": "changed", "draft.txt": "d" });
    rmSync(wt.gitDir, { recursive: true });
    const again = await ensure();
    expect(await worktreeState(again)).toEqual({ head: start, clean: false, changedFiles: ["a.txt", "draft.txt"] });
    expect(readFileSync(join(wt.path, "a.txt"), "utf8")).toBe("changed");
    expect(registered()).toBe(2);
    expect(existsSync(`${wt.path}.adopt~`)).toBe(false);
  });

  it("follows a folder that was moved", async () => {
    const wt = await ensure();
    write(wt.path, { "draft.txt": "d" });
    const elsewhere = join(dir, "moved/T1");
    mkdirSync(dirname(elsewhere));
    renameSync(wt.path, elsewhere);
    const again = await ensureWorktree({ ...place(), path: elsewhere, startSha: start, recovery });
    expect(await worktreeState(again)).toMatchObject({ changedFiles: ["draft.txt"] });
    expect(registered()).toBe(2);
  });

  it("is not stopped by failing hooks", async () => {
    for (const hook of ["post-checkout", "reference-transaction", "pre-commit", "post-index-change"]) {
      writeFileSync(join(path, ".git/hooks", hook), "#!/bin/sh\nexit 3\n", { mode: 0o755 });
    }
    const wt = await ensure();
    write(wt.path, { "n.txt": "n" });
    expect(await commitAll(wt, { message: "work" })).toMatchObject({ committed: true });
    expect(await remove()).toMatchObject({ worktree: "removed", branch: "kept" });
  });

  it("works on a bare repository, on a detached HEAD and next to a remote that diverged", async () => {
    userGit(dir, "clone", "--quiet", "--bare", path, "bare.git");
    const bare = await openRepo(join(dir, "bare.git"));
    expect(await ensureWorktree({ ...place(), repo: bare, startSha: start, recovery })).toMatchObject({ created: true, head: start });

    userGit(dir, "clone", "--quiet", path, "clone");
    commitFiles(path, { "up.txt": "u" }, "upstream");
    const own = commitFiles(join(dir, "clone"), { "own.txt": "o" }, "own");
    userGit(join(dir, "clone"), "fetch", "--quiet");
    userGit(join(dir, "clone"), "checkout", "--quiet", "--detach");
    const clone = await openRepo(join(dir, "clone"));
    const config = readFileSync(join(dir, "clone/.git/config"));
    expect(await ensureWorktree({ ...place("T2"), repo: clone, startSha: own, recovery })).toMatchObject({ created: true, head: own });
    expect(readFileSync(join(dir, "clone/.git/config"))).toEqual(config);
  });

  it("brings an agent that left its branch back to it", async () => {
    const wt = await ensure();
    userGit(wt.path, "checkout", "--quiet", "-b", "agents-own");
    const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
    expect(await ensure()).toMatchObject({ head: sha, created: false });
    expect(userGit(wt.path, "symbolic-ref", "HEAD")).toBe("refs/heads/orch/plan/T1");
    userGit(wt.path, "checkout", "--quiet", "--detach", start);
    expect(await ensure()).toMatchObject({ head: sha });
    expect(userGit(wt.path, "status", "--porcelain")).toBe("");
    userGit(wt.path, "checkout", "--quiet", "--detach", start);
    commitFiles(wt.path, { "x.txt": "x" }, "apart");
    await expect(ensure()).rejects.toMatchObject({ name: "UserError", exit: "needsAttention" });
  });

  it("brings back a branch that was deleted under its worktree", async () => {
    const wt = await ensure();
    const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
    userGit(path, "update-ref", "-d", "refs/heads/orch/plan/T1");
    expect(await ensure()).toMatchObject({ head: sha, created: false });
  });

  it("refuses places and branches that belong to somebody else", async () => {
    const refused = (change: Partial<Parameters<typeof ensureWorktree>[0]>) =>
      ensureWorktree({ ...place(), startSha: start, recovery, ...change }).then(
        () => "made",
        (error: Error) => (error.name === "UserError" ? error.message : String(error.stack)),
      );
    await ensure("T2");
    write(dir, { "full/file": "x" });
    symlinkSync(join(dir, "full"), join(dir, "link"));
    expect(await refused({ path: "/" })).toMatch("it is the root of the file system");
    expect(await refused({ path: join(dir, "home") })).toMatch("home folder");
    expect(await refused({ path: dir })).toMatch("home folder or contains it");
    expect(await refused({ path })).toMatch("it is the repository");
    expect(await refused({ path: join(path, "sub") })).toMatch("it lies inside the repository");
    expect(await refused({ path: join(path, ".git/x") })).toMatch("git folder");
    expect(await refused({ path: join(place("T2").path, "sub") })).toMatch("it lies inside the worktree");
    expect(await refused({ path: join(dir, "link") })).toMatch("symbolic link");
    expect(await refused({ path: "relative" })).toMatch("not absolute");
    expect(await refused({ path: place("T2").path })).toMatch("is a worktree of something else: it is on the branch orch/plan/T2");
    expect(await refused({ path: join(dir, "full") })).toMatch("exists and is not a worktree");
    expect(await refused({ branch: "main" })).toBe(`The branch main is checked out in ${path}.`);
    expect(await refused({ branch: "-x" })).toMatch("cannot be the name of a branch");
    expect(await refused({ branch: "a..b" })).toMatch("cannot be the name of a branch");
    expect(await refused({ branch: "main/T1" })).toBe("The branch main/T1 cannot be made: git cannot keep it beside the branch main.");
    expect(await refused({ branch: "orch/plan" })).toMatch("git cannot keep it beside the branch orch/plan/T2");
    expect(filesOf(join(dir, "full"))).toHaveProperty("file");
  });

  it("names the lock of a person and never breaks it", async () => {
    const wt = await ensure();
    userGit(path, "worktree", "lock", "--reason", "on a stick", wt.path);
    rmSync(wt.path, { recursive: true });
    await expect(ensure()).rejects.toMatchObject({ message: `The worktree ${wt.path} is locked: on a stick.` });
    await expect(remove()).rejects.toMatchObject({ message: `The worktree ${wt.path} is locked: on a stick.` });
  });

  it("refuses a .git that an agent replaced, and repairs one that was deleted", async () => {
    const wt = await ensure();
    rmSync(join(wt.path, ".git"));
    await ensure();
    expect(readFileSync(join(wt.path, ".git"), "utf8")).toBe(`gitdir: ${wt.gitDir}\n`);
    rmSync(join(wt.path, ".git"));
    userGit(wt.path, "init", "--quiet");
    await expect(ensure()).rejects.toMatchObject({ name: "UserError", exit: "unsafe" });
  });

  it("20 at once never fail, and five at once on one path make one", async () => {
    const names = Array.from({ length: 20 }, (_, i) => `P${i}`);
    const made = await Promise.all(names.map((name) => ensure(name)));
    expect(made.every((wt) => wt.created)).toBe(true);
    const same = await Promise.all(Array.from({ length: 5 }, () => ensure("S")));
    expect(same.filter((wt) => wt.created)).toHaveLength(1);
    const gone = await Promise.all(names.map((name) => remove(["main"], name)));
    expect(gone.every((each) => each.worktree === "removed" && each.branch === "deleted" && each.recovery === null)).toBe(true);
    // Some 600 commands of git, most of them one after the other: on a loaded machine that alone takes the usual limit.
  }, 120_000);
});

describe("integrationWorktree", () => {
  it("holds exactly one commit, time after time", async () => {
    const options = { repo, lockDir: join(dir, "locks"), path: join(dir, "integration/main") };
    const second = commitFiles(path, { "two.txt": "2" }, "second");
    const first = await integrationWorktree({ ...options, sha: start });
    expect(userGit(first.path, "rev-parse", "HEAD")).toBe(start);
    write(first.path, { "a.txt": "changed", "untracked.txt": "u", "ignored/out": "o", "node_modules/x": "x" });
    userGit(first.path, "checkout", "--quiet", "-b", "somebody");
    const before = checkoutState(path);
    const next = await integrationWorktree({ ...options, sha: second, keep: ["node_modules"] });
    expect(next).toEqual({ ...first, head: second });
    expect(Object.keys(filesOf(next.path)).sort()).toEqual([...Object.keys(filesOf(path)), "node_modules/x"].sort());
    expect(userGit(path, "rev-parse", "somebody")).toBe(start);
    expect(checkoutState(path)).toEqual(before);
    rmSync(next.path, { recursive: true });
    expect(await integrationWorktree({ ...options, sha: start })).toMatchObject({ head: start });
  });

  it("is never made of the worktree of a ticket", async () => {
    const wt = await ensure();
    await expect(integrationWorktree({ repo, lockDir: join(dir, "locks"), path: wt.path, sha: start })).rejects.toMatchObject({
      name: "UserError",
    });
  });
});
