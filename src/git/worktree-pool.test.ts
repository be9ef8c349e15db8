import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { openRepo, type Repo } from "./git.ts";
import { listRecovery } from "./recovery.ts";
import { commitFiles, filesOf, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";
import { trashIn } from "./trash.ts";
import { ensureWorktree, worktreeState } from "./worktree.ts";
import { parkedIn, parkedPlan } from "./worktree-pool.ts";
import { dropParked, removeWorktree } from "./worktree-removal.ts";

let dir: string;
let path: string;
let root: string;
let repo: Repo;
let start: string;
const now = "2026-11-21T12:00:00.000Z";
const ignores = ".gitignore";

beforeEach(async () => {
  dir = tempDir();
  isolateGit(dir);
  path = makeRepo(join(dir, "repo"), { "a.txt": "a\n", "src/b.txt": "b\n", [ignores]: "ignored/\nnode_modules/\n*.log\n" });
  repo = await openRepo(path);
  start = userGit(path, "rev-parse", "main");
  root = join(dir, "worktrees/plan");
});

const place = (ticketId: string) => ({
  repo,
  lockDir: join(dir, "locks"),
  path: join(root, ticketId),
  branch: `orch/plan/${ticketId}`,
  recovery: { planId: "plan", ticketId },
});
const ensure = (ticketId: string, startSha = start) => ensureWorktree({ ...place(ticketId), startSha, reuse: true });
const remove = (ticketId: string, park = 2) => removeWorktree({ ...place(ticketId), mergedInto: ["main"], now, park });
const registered = () =>
  userGit(path, "worktree", "list", "--porcelain")
    .match(/(?<=^worktree ).*$/gm)
    ?.slice(1)
    .sort();
const parked = async () => (await parkedIn(root)).map((each) => each.path).sort();

/** What a ticket must find: its branch at its commit, and nothing of anybody else but installed dependencies. */
async function expectFresh(ticketId: string, sha = start): Promise<void> {
  const wt = await ensure(ticketId, sha);
  expect(wt).toMatchObject({ head: sha, branch: `orch/plan/${ticketId}` });
  expect(userGit(wt.path, "symbolic-ref", "HEAD")).toBe(`refs/heads/orch/plan/${ticketId}`);
  const left = userGit(wt.path, "status", "--porcelain", "--ignored").split("\n");
  expect(left.filter((line) => line !== "" && line !== "!! node_modules/")).toEqual([]);
  expect(userGit(wt.path, "ls-files").split("\n")).toEqual(userGit(path, "ls-tree", "-r", "--name-only", sha).split("\n"));
  expect(userGit(wt.path, "diff", "--stat", sha)).toBe("");
}

describe("the pool of worktrees", () => {
  it("gives the worktree of one ticket to the next, with its dependencies and nothing else", async () => {
    const first = await ensure("T1");
    commitFiles(first.path, { "src/b.txt": "mine", "new/only.txt": "n" }, "work");
    userGit(path, "merge", "--quiet", "--no-edit", "orch/plan/T1");
    write(first.path, {
      "ignored/x": "x",
      "build.log": "l",
      "node_modules/p/i.js": "i",
      "pkg/node_modules/q/i.js": "q",
      "new/.env.log": "e",
    });
    const files = readdirSync(first.path).length;
    expect(await remove("T1")).toMatchObject({ worktree: "removed", branch: "deleted" });
    const [place = ""] = await parked();
    expect(place).toBe(join(root, ".pool-plan-1~"));
    expect(registered()).toEqual([place]);
    expect(readdirSync(place)).toHaveLength(files);
    expect(userGit(place, "rev-parse", "--abbrev-ref", "HEAD")).toBe("HEAD");
    expect(existsSync(join(first.gitDir, "locked"))).toBe(false);

    const second = await ensure("T2");
    expect(second).toMatchObject({ created: true, head: start, gitDir: first.gitDir });
    expect(await parked()).toEqual([]);
    expect(registered()).toEqual([second.path]);
    expect(Object.keys(filesOf(second.path)).sort()).toEqual([
      ignores,
      "a.txt",
      "node_modules/p/i.js",
      "pkg/node_modules/q/i.js",
      "src/b.txt",
    ]);
    expect(readFileSync(join(second.path, "a.txt"), "utf8")).toBe("a\n");
    expect(await worktreeState(second)).toEqual({ head: start, clean: true, changedFiles: [] });
    userGit(path, "update-ref", "-d", "refs/heads/orch/plan/T2");
    expect(await ensure("T2")).toMatchObject({ head: start });
    expect(await ensure("T2")).toMatchObject({ created: false });
  });

  it("P4 parks what is not merged only once it is saved, and keeps a few of each plan", async () => {
    for (const id of ["T1", "T2", "T3"]) write((await ensure(id)).path, { "draft.txt": id });
    for (const id of ["T1", "T2", "T3"]) expect(await remove(id)).toMatchObject({ worktree: "removed", recovery: expect.any(String) });
    expect((await listRecovery(repo)).map(({ ref }) => userGit(path, "show", `${ref}:draft.txt`))).toEqual(["T1", "T2", "T3"]);
    expect(await parked()).toHaveLength(2);
    expect(await trashIn(root)).toHaveLength(1);
    await ensureWorktree({ ...place("T9"), startSha: start, recovery: { planId: "other", ticketId: "T9" }, reuse: true });
    await ensureWorktree({ ...place("T8"), startSha: start });
    expect(await parked()).toHaveLength(2);
    await expectFresh("T4");
    await expectFresh("T5");
    await expectFresh("T6");
    expect(await parked()).toEqual([]);
  });

  it("never parks what holds repositories, submodules or a part of the files", async () => {
    const sub = makeRepo(join(dir, "sub"));
    const withRepo = await ensure("T1");
    mkdirSync(join(withRepo.path, "inner"));
    userGit(join(withRepo.path, "inner"), "init", "--quiet");
    expect(await remove("T1")).toMatchObject({ worktree: "kept" });
    const withSub = await ensure("T2");
    userGit(withSub.path, "submodule", "--quiet", "add", sub, "sub");
    await remove("T2");
    const sparse = await ensure("T3");
    userGit(sparse.path, "sparse-checkout", "set", "src");
    await remove("T3");
    expect(await parked()).toEqual([]);
  });

  it("makes a new worktree where a parked one does not come clean, or is no longer one", async () => {
    const spoil: Record<string, (place: string, gitDir: string) => void> = {
      "a file that git was told to look away from": (place) => {
        userGit(place, "update-index", "--skip-worktree", "a.txt");
        write(place, { "a.txt": "hidden" });
      },
      "a file that git was told to take for unchanged": (place) => {
        userGit(place, "update-index", "--assume-unchanged", "a.txt");
        write(place, { "a.txt": "hidden" });
      },
      "a broken index": (_, gitDir) => writeFileSync(join(gitDir, "index"), "no index"),
      "dependencies that are not ignored": (place) => write(place, { "venv/x": "x" }),
      "a link instead of the file .git": (place) => {
        rmSync(join(place, ".git"));
        symlinkSync(join(path, ".git"), join(place, ".git"));
      },
      "a folder that is gone": (place) => renameSync(place, join(dir, `gone-${Math.random()}`)),
    };
    for (const [i, [what, harm]] of Object.entries(spoil).entries()) {
      const { gitDir } = await ensure(`A${i}`);
      await remove(`A${i}`);
      const [place = ""] = await parked();
      harm(place, gitDir);
      await expectFresh(`B${i}`);
      expect([what, existsSync(join(root, `B${i}`, "venv"))]).toEqual([what, false]);
      for (const left of await parked()) await dropParked(left, join(dir, "locks"));
      expect(await parked()).toEqual([]);
    }
  });

  it("P5 goes on wherever the taking of a worktree was cut short", async () => {
    const steps = ["nothing renamed", "renamed", "on the branch", "files half written"];
    for (const [i, step] of steps.entries()) {
      const { gitDir } = await ensure(`A${i}`);
      write(join(root, `A${i}`), { "left.txt": "l", "ignored/left": "l", "a.txt": "changed" });
      await remove(`A${i}`);
      const [place = ""] = await parked();
      const to = join(root, `B${i}`);
      writeFileSync(join(gitDir, "gitdir"), `${join(to, ".git")}\n`);
      if (i > 0) renameSync(place, to);
      if (i > 1) {
        userGit(path, "update-ref", `refs/heads/orch/plan/B${i}`, start);
        userGit(to, "symbolic-ref", "HEAD", `refs/heads/orch/plan/B${i}`);
      }
      if (i > 2) {
        writeFileSync(join(gitDir, "index.lock"), "");
        rmSync(join(to, "src/b.txt"));
      }
      const saved = (await listRecovery(repo)).length;
      await expectFresh(`B${i}`);
      expect([step, filesOf(to)]).toEqual([step, filesOf(path)]);
      expect(await listRecovery(repo)).toHaveLength(saved);
      for (const left of await parked()) await dropParked(left, join(dir, "locks"));
    }
    expect(await parked()).toEqual([]);
    expect(registered()).toEqual(steps.map((_, i) => join(root, `B${i}`)));
  });

  it("P4 goes on wherever the parking of a worktree was cut short", async () => {
    const steps = ["moved aside", "moved to its place", "registered there"];
    for (const [i, step] of steps.entries()) {
      const wt = await ensure(`A${i}`);
      write(wt.path, { "draft.txt": "d" });
      const aside = join(root, `.removing-A${i}~`);
      const pool = join(root, `.pool-plan-${i + 1}~`);
      renameSync(wt.path, aside);
      userGit(aside, "update-ref", "--no-deref", "HEAD", "HEAD");
      if (i > 0) renameSync(aside, pool);
      if (i > 1) writeFileSync(join(wt.gitDir, "gitdir"), `${join(pool, ".git")}\n`);
      const again = await ensure(`A${i}`);
      // Until the move the work is not given up; after it, it is saved already.
      expect([step, existsSync(join(again.path, "draft.txt"))]).toEqual([step, i === 0]);
      expect(userGit(again.path, "symbolic-ref", "HEAD")).toBe(`refs/heads/orch/plan/A${i}`);
    }
    for (const left of await parked()) await dropParked(left, join(dir, "locks"));
    expect(await parked()).toEqual([]);
  });

  it("P5 never gives two tickets the same worktree, whenever it is killed", async () => {
    const program = join(import.meta.dirname, "..", "testing", "worktree-churn.ts");
    const ids = () => readdirSync(root).filter((name) => /^R/.test(name));
    for (let round = 0; round < 4; round++) {
      const children = [0, 1].map((n) => {
        const args = [program, path, root, join(dir, "locks"), `R${round}-${n}`];
        const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
        return new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)));
      });
      expect(await Promise.all(children)).toEqual(["SIGKILL", "SIGKILL"]);
      await Promise.all(ids().map((id) => ensure(id)));
      const strays = ids().flatMap((id) => readdirSync(join(root, id)).filter((name) => name.startsWith("of-") && name !== `of-${id}`));
      expect(strays).toEqual([]);
    }
    for (const id of ids()) expect(await remove(id, 1)).toMatchObject({ worktree: "removed" });
    await expectFresh("LAST");
  }, 120_000);

  it("tells its own folders by their names", () => {
    expect([".pool-a-1-2~", ".pool-plan-1~", ".pool-plan-1", "pool-plan-1~", ".pool-~", ".trash-T1~x"].map(parkedPlan)).toEqual([
      "a-1",
      "plan",
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(dirname(root)).toBe(join(dir, "worktrees"));
  });
});
