import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { beforeEach, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { commitAll } from "./commit.ts";
import { openRepo, type Repo } from "./git.ts";
import { listRecovery, saveRecovery } from "./recovery.ts";
import { checkoutState, commitFiles, filesOf, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";
import { restore } from "./restore.ts";
import { ensureWorktree, type Worktree, worktreeState } from "./worktree.ts";
import { removeWorktree, resetTo } from "./worktree-removal.ts";

let dir: string;
let path: string;
let repo: Repo;
let start: string;
let wt: Worktree;
const key = { planId: "plan", ticketId: "T1", now: "2026-11-21T12:00:00.000Z" };

beforeEach(async () => {
  dir = tempDir();
  isolateGit(dir);
  path = makeRepo(join(dir, "repo"), { "a.txt": "a\n", "gone.txt": "g\n", ".gitignore": "ignored/\n" });
  repo = await openRepo(path);
  start = userGit(path, "rev-parse", "main");
  wt = await ensure("T1");
});

const place = (ticketId: string) => ({
  repo,
  lockDir: join(dir, "locks"),
  path: join(dir, "wt", ticketId),
  branch: `orch/plan/${ticketId}`,
});
const ensure = async (ticketId: string) => {
  const { created: _, ...made } = await ensureWorktree({ ...place(ticketId), startSha: start, recovery: { planId: "plan", ticketId } });
  return made;
};
const dirty = () => {
  write(wt.path, { "a.txt": "changed\n", "dir/new – ü.txt": "new\n", "ignored/cache": "c" });
  rmSync(join(wt.path, "gone.txt"));
  userGit(wt.path, "add", "a.txt");
};
const states = () => `${userGit(wt.path, "status", "--porcelain", "--untracked-files=all")}`;

it("P4 saves changed, new and deleted files without touching index or tree", async () => {
  dirty();
  const index = readFileSync(join(wt.gitDir, "index"));
  const before = { files: filesOf(wt.path), status: states(), user: checkoutState(path) };
  const ref = await saveRecovery(wt, key);
  expect(ref).toBe("refs/orchestrator/recovery/plan/T1/20261121T120000.000Z");
  expect(readFileSync(join(wt.gitDir, "index"))).toEqual(index);
  expect({ files: filesOf(wt.path), status: states(), user: checkoutState(path) }).toEqual(before);
  expect(userGit(path, "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", `${ref}`).split("\n")).toEqual([
    ".gitignore",
    "a.txt",
    "dir/new – ü.txt",
  ]);
  expect(userGit(path, "log", "-1", "--format=%an <%ae> %P %cI", `${ref}`)).toBe(
    `orchestrator <orchestrator@localhost> ${start} 2026-11-21T12:00:00+00:00`,
  );
});

it("saves nothing when nothing can be lost, and the same state once", async () => {
  expect(await saveRecovery(wt, key)).toBe(null);
  dirty();
  const ref = await saveRecovery(wt, key);
  expect(await saveRecovery(wt, key)).toBe(ref);
  write(wt.path, { "a.txt": "again\n" });
  expect(await saveRecovery(wt, key)).toBe(`${ref}-2`);
  await saveRecovery(wt, { ...key, ticketId: "T1.lock", now: "2026-11-21T11:00:00.000Z" });
  expect((await listRecovery(repo)).map(({ ticketId, at }) => [ticketId, at])).toEqual([
    ["T1.lock", "2026-11-21T11:00:00.000Z"],
    ["T1", key.now],
    ["T1", key.now],
  ]);
  expect(await listRecovery(repo, "plan", "T1")).toHaveLength(2);
  expect(await listRecovery(repo, "other")).toEqual([]);
});

it("P4 saves a tracked file that .gitignore names", async () => {
  write(wt.path, { "ignored/tracked.txt": "1" });
  userGit(wt.path, "add", "--force", "ignored/tracked.txt");
  userGit(wt.path, "commit", "--quiet", "-m", "tracked all the same");
  write(wt.path, { "ignored/tracked.txt": "2", "ignored/cache": "c" });
  const ref = await saveRecovery(wt, key);
  expect(userGit(path, "show", `${ref}:ignored/tracked.txt`)).toBe("2");
  expect(userGit(path, "ls-tree", "--name-only", `${ref}:ignored`)).toBe("tracked.txt");
});

it("saves a tree from which every file was deleted", async () => {
  for (const name of ["a.txt", "gone.txt", ".gitignore"]) rmSync(join(wt.path, name));
  const ref = await saveRecovery(wt, key);
  expect(userGit(path, "ls-tree", "-r", `${ref}`)).toBe("");
});

it("P4 restore brings a removed worktree back with its changes uncommitted", async () => {
  const sha = commitFiles(wt.path, { "w.txt": "w" }, "work");
  dirty();
  const files = filesOf(wt.path);
  delete files["ignored/cache"];
  const { recovery } = await removeWorktree({ ...place("T1"), mergedInto: ["main"], recovery: key, now: key.now });
  const user = checkoutState(path);
  const { worktree, saved } = await restore(repo, `${recovery}`, { ...place("T1"), now: "2026-11-21T13:00:00.000Z" });
  expect(worktree.head).toBe(sha);
  expect(saved).toEqual([]);
  expect(filesOf(wt.path)).toEqual(files);
  expect(states().split("\n")).toEqual([" M a.txt", " D gone.txt", '?? "dir/new \\342\\200\\223 \\303\\274.txt"']);
  expect(checkoutState(path)).toEqual(user);
});

it("P4 restore saves what stands at the place first", async () => {
  dirty();
  const first = await saveRecovery(wt, key);
  const files = filesOf(wt.path);
  userGit(wt.path, "reset", "--hard", "--quiet");
  userGit(wt.path, "clean", "-fdq");
  const committed = commitFiles(wt.path, { "later.txt": "l" }, "later");
  write(wt.path, { "draft.txt": "d" });
  const { saved } = await restore(repo, `${first}`, { ...place("T1"), now: "2026-11-21T13:00:00.000Z" });
  expect(filesOf(wt.path)).toEqual(files);
  expect(saved).toEqual(["refs/orchestrator/recovery/plan/T1/20261121T130000.000Z"]);
  expect(userGit(path, "rev-parse", `${saved[0]}^`)).toBe(committed);
  expect(userGit(path, "show", `${saved[0]}:draft.txt`)).toBe("d");

  const other = await restore(repo, `${saved[0]}`, { ...place("T2"), now: "2026-11-21T14:00:00.000Z" });
  expect(other.worktree.head).toBe(committed);
  await expect(restore(repo, "refs/heads/main", { ...place("T3"), now: key.now })).rejects.toMatchObject({ exit: "notFound" });
});

it("P4 whatever is done to the files, save and restore give them back", { timeout: 120_000 }, async () => {
  const name = fc.oneof(
    fc.constantFrom("a.txt", "gone.txt", "dir", "dir/x", "dir/x/y", "-rf", ":(top)", "*", "a\nb", " ", "ü/ß", '"q"'),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).map((text) => `p${text.replaceAll(/[/\0]/g, "_").replaceAll("~", "-")}`),
  );
  const step = fc.record({
    name,
    kind: fc.constantFrom("text", "program", "link", "delete", "stage", "commit"),
    text: fc.string({ maxLength: 40 }),
  });
  let n = 0;
  const run = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
    wt = await ensure(`R${n++}`);
    for (const { name, kind, text } of steps) change(wt.path, name, kind, text);
    const before = { files: filesOf(wt.path), head: userGit(wt.path, "rev-parse", "HEAD") };
    const ref = await saveRecovery(wt, key, []);
    const { worktree } = await restore(repo, `${ref}`, { ...place(`R${n++}`), now: key.now });
    expect({ files: filesOf(worktree.path), head: worktree.head }).toEqual(before);
  });
  const inTheWay = ["dir", "dir/x/y"].map((name) => ({ name, kind: "text" as const, text: "" }));
  await fc.assert(run, { numRuns: 15, examples: [[inTheWay]] });
});

function change(root: string, name: string, kind: string, text: string): void {
  const file = join(root, name);
  if (kind === "stage") return void userGit(root, "add", "--all");
  if (kind === "commit") return void commitFiles(root, {}, "step");
  rmSync(file, { recursive: true, force: true });
  if (kind === "delete") return;
  // A file in the way of a folder goes; below one nothing can be looked for.
  const names = name.split("/");
  for (let depth = 1; depth < names.length; depth++) {
    const parent = join(root, ...names.slice(0, depth));
    if (lstatSync(parent, { throwIfNoEntry: false })?.isDirectory() === false) rmSync(parent);
  }
  mkdirSync(dirname(file), { recursive: true });
  if (kind === "link") symlinkSync(text.replaceAll("\0", "") || "a.txt", file);
  else writeFileSync(file, text, { mode: kind === "program" ? 0o755 : 0o644 });
}

it("never starts git inside a repository nested in the tree", async () => {
  const inner = join(wt.path, "inner");
  mkdirSync(inner);
  userGit(inner, "init", "--quiet");
  commitFiles(inner, { f: "f", ".gitattributes": "* filter=x\n" }, "inner");
  userGit(wt.path, "add", "inner");
  userGit(wt.path, "commit", "--quiet", "-m", "gitlink");
  userGit(inner, "config", "filter.x.clean", `touch ${dir}/ran; cat`);
  userGit(inner, "config", "core.fsmonitor", `touch ${dir}/ran; false`);
  write(inner, { f: "changed" });
  write(wt.path, { "n.txt": "n" });
  expect(await saveRecovery(wt, key)).not.toBe(null);
  expect(await worktreeState(wt)).toMatchObject({ changedFiles: ["n.txt"] });
  expect(await commitAll(wt, { message: "work" })).toMatchObject({ committed: true });
  await resetTo(wt, start, key);
  expect(existsSync(join(dir, "ran"))).toBe(false);
  expect(filesOf(inner)).toHaveProperty("f");
});
