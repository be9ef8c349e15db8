import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { type Difference, differences } from "./checkout-diff.ts";
import { asOwnChange, restoreCheckout } from "./checkout-restore.ts";
import { readCheckout, saveState } from "./checkout-state.ts";
import {
  type CheckoutStore,
  checkoutStore,
  checkoutsOf,
  ownChangesSince,
  type SavedCheckout,
  savedStates,
  withStore,
} from "./checkout-store.ts";
import { openRepo, type Repo } from "./git.ts";
import { isNamedByUs } from "./refs.ts";
import { checkoutState, commitFiles, filesOf, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";

let dir: string;
let path: string;
let repo: Repo;
let store: CheckoutStore;
let clock = 0;
const now = () => new Date(Date.UTC(2026, 10, 21) + clock++ * 1000).toISOString();

/** A repository as every test finds its own: one is made, with a dozen commands, and copied. */
let template: string;
beforeAll(() => {
  const made = realpathSync(mkdtempSync(join(tmpdir(), "orch-test-")));
  isolateGit(made);
  path = template = makeRepo(join(made, "repo"), {
    "a.txt": "a\n",
    "b.txt": "b\n",
    "src/c.txt": "c\n",
    "run.sh": "#!/bin/sh\n",
    ".gitignore": "ignored/\n",
  });
  makeDirty();
  return () => rmSync(made, { recursive: true });
});

beforeEach(async () => {
  dir = tempDir();
  isolateGit(dir);
  path = join(dir, "repo");
  cpSync(template, path, { recursive: true, verbatimSymlinks: true });
  // The index knows each file by its inode and its time as well.
  userGit(path, "status");
  repo = await openRepo(path);
  store = await theStore();
});

/** A person in the middle of their work. */
function makeDirty(): void {
  userGit(path, "branch", "feature");
  write(path, { "b.txt": "stashed\n" });
  userGit(path, "stash", "push", "--quiet", "-m", "for later");
  write(path, { "a.txt": "staged\n", "new/u.txt": "untracked\n", "ignored/x": "x", "crlf.txt": "one\r\ntwo\n", binary: "\u0000\u0001" });
  userGit(path, "add", "a.txt");
  write(path, { "a.txt": "changed after staging\n" });
  chmodSync(join(path, "run.sh"), 0o755);
  symlinkSync("a.txt", join(path, "link"));
  mkdirSync(join(path, ".git", "hooks"), { recursive: true });
  writeFileSync(join(path, ".git", "hooks", "pre-commit"), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
  userGit(path, "config", "user.nickname", "ada");
}

async function theStore(): Promise<CheckoutStore> {
  const [checkout] = await checkoutsOf(repo, () => false);
  if (!checkout) throw new Error("no checkout");
  return checkoutStore(join(dir, "orch"), join(dir, "locks"), checkout);
}

const look = () => withStore(store, () => readCheckout(store, { now: now(), isOwn: isNamedByUs }));
const save = () => withStore(store, async () => saveState(store, await readCheckout(store, { now: now(), isOwn: isNamedByUs })));
const found = async (before: SavedCheckout): Promise<Difference[]> => differences(store, before.state, await look(), isNamedByUs);
const restore = (target: SavedCheckout) => restoreCheckout(store, target, { now, isOwn: isNamedByUs });

/** All that must come back; HEAD's reflog alone tells that something happened. */
function bytes(): Record<string, string> {
  const { ".git/logs/HEAD": _, ...rest } = checkoutState(path);
  const hooks = Object.entries(filesOf(join(path, ".git", "hooks"))).map(([name, digest]) => [`hooks/${name}`, digest]);
  const refs = userGit(path, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/main", "refs/heads/feature", "refs/stash");
  return { ...rest, ...Object.fromEntries(hooks), refs };
}

describe("P3 looking at a checkout", () => {
  it("writes nothing to it, and saves an unchanged one once", async () => {
    const before = { ...bytes(), log: readFileSync(join(path, ".git", "logs", "HEAD"), "utf8") };
    const first = await save();
    expect(await found(first)).toEqual([]);
    expect((await save()).ref).toBe(first.ref);
    expect({ ...bytes(), log: readFileSync(join(path, ".git", "logs", "HEAD"), "utf8") }).toEqual(before);
    expect(first.ref).toMatch(/^refs\/orchestrator\/recovery\/_checkout\/main\/2026/);
    write(path, { "a.txt": "more\n" });
    const second = await save();
    expect(second.ref).not.toBe(first.ref);
    expect((await savedStates(store)).map(({ ref }) => ref)).toEqual([first.ref, second.ref]);
  });

  it("runs no hook, filter or file system monitor of the repository", async () => {
    const ran = join(dir, "ran");
    writeFileSync(join(dir, "evil.sh"), `#!/bin/sh\necho "$0 $*" >> ${ran}\ncat\n`, { mode: 0o755 });
    const evil = join(dir, "evil.sh");
    for (const key of ["core.fsmonitor", "filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv"])
      userGit(path, "config", key, evil);
    write(path, { ".gitattributes": "* filter=x diff=x\n" });
    for (const hook of ["post-index-change", "reference-transaction", "pre-commit"])
      writeFileSync(join(path, ".git", "hooks", hook), `#!/bin/sh\necho ${hook} >> ${ran}\n`, { mode: 0o755 });
    const before = await save();
    write(path, { "src/c.txt": "other\n", "fresh.txt": "fresh\n" });
    expect(await found(before)).toHaveLength(1);
    await save();
    expect(existsSync(ran)).toBe(false);
  });

  it("does not count what is ours, what people do with branches of their own, or a refreshed index", async () => {
    userGit(path, "branch", "orchestrator/main");
    const before = await save();
    userGit(path, "branch", "orch/p/T1");
    userGit(path, "branch", "helper");
    userGit(path, "update-ref", "refs/orchestrator/recovery/p/T1/20260101T000000Z", "HEAD");
    userGit(path, "worktree", "add", "--quiet", join(dir, "wt"), "orch/p/T1");
    write(join(dir, "wt"), { "a.txt": "stash me\n" });
    userGit(join(dir, "wt"), "stash", "push", "--quiet");
    userGit(join(dir, "wt"), "config", "branch.orch/p/T1.remote", "origin");
    commitFiles(join(dir, "wt"), { "t.txt": "t\n" }, "work");
    userGit(path, "update-ref", "refs/heads/orchestrator/main", "orch/p/T1");
    utimesSync(join(path, "src/c.txt"), 1, 1);
    userGit(path, "status");
    write(path, { "ignored/y": "y" });
    expect(await found(before)).toEqual([]);
  });

  it("lets the base branch follow what was merged for it, but no other way", async () => {
    userGit(path, "branch", "dev");
    userGit(path, "branch", "orchestrator/dev");
    const before = await save();
    const merged = userGit(path, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "merged");
    userGit(path, "update-ref", "refs/heads/orchestrator/dev", merged);
    userGit(path, "update-ref", "refs/heads/dev", merged);
    expect(await found(before)).toEqual([]);
    const other = userGit(path, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "other");
    userGit(path, "update-ref", "refs/heads/dev", other);
    expect(await found(before)).toMatchObject([{ kind: "branches", text: expect.stringMatching(/^branch dev moved from/) }]);
  });

  it("forgets files that come to be ignored", async () => {
    await save();
    write(path, { "build/out.txt": "1\n" });
    await save();
    write(path, { ".gitignore": "ignored/\nbuild/\n" });
    const before = await save();
    write(path, { "build/out.txt": "2\n" });
    expect(await found(before)).toEqual([]);
  });

  it("watches files too large to keep, without copying them", async () => {
    const large = join(path, "data.bin");
    writeFileSync(large, "");
    const { truncateSync } = await import("node:fs");
    truncateSync(large, 65 * 1024 * 1024);
    const before = await save();
    expect(Object.keys(before.state.large)).toEqual(["data.bin"]);
    expect(await found(before)).toEqual([]);
    rmSync(large);
    expect(await found(before)).toEqual([{ kind: "files", text: "files: 1 deleted (data.bin)" }]);
  });

  it("is not blamed on a run when a command of ours did it", async () => {
    userGit(path, "stash", "push", "--quiet", "--include-untracked");
    const before = await save();
    await asOwnChange(join(dir, "orch"), join(dir, "locks"), repo, "land", async () =>
      commitFiles(path, { "landed.txt": "l\n" }, "landed"),
    );
    const changes = await ownChangesSince(store, before.state.at);
    expect(changes.map(({ by }) => by)).toEqual(["land"]);
    const [change] = changes;
    if (!change) throw new Error("no change");
    expect(await differences(store, before.state, change.before, isNamedByUs)).toEqual([]);
    expect(await differences(store, change.after, await look(), isNamedByUs)).toEqual([]);
  });
});

/** What agents were seen to do in checkouts that are not theirs, and worse. */
const hostile: [string, Difference["kind"][], RegExp, () => void][] = [
  ["git reset --hard", ["index", "files"], /files: 2 changed \(a\.txt, run\.sh\)/, () => userGit(path, "reset", "--quiet", "--hard")],
  [
    "another branch",
    ["head"],
    /HEAD moved from main@.* to other@.*reflog: checkout: moving from main to other/,
    () => userGit(path, "checkout", "--quiet", "-b", "other"),
  ],
  ["a detached HEAD", ["head"], /to detached@/, () => userGit(path, "checkout", "--quiet", "--detach")],
  [
    "git stash",
    ["index", "files", "stash"],
    /stash: 1 entry is new \(WIP on main/,
    () => userGit(path, "stash", "push", "--quiet", "--include-untracked"),
  ],
  ["a dropped stash", ["stash"], /stash: 1 entry is gone \(On main: for later\)/, () => userGit(path, "stash", "clear")],
  ["a setting", ["configuration"], /1 setting differs: core\.hookspath/, () => userGit(path, "config", "core.hooksPath", "/tmp/evil")],
  [
    "a new hook",
    ["hooks"],
    /hooks: post-commit is new/,
    () => writeFileSync(join(path, ".git", "hooks", "post-commit"), "#!/bin/sh\n", { mode: 0o755 }),
  ],
  ["a changed hook", ["hooks"], /hooks: pre-commit has changed/, () => writeFileSync(join(path, ".git", "hooks", "pre-commit"), "evil")],
  ["a hook that runs no more", ["hooks"], /other permissions/, () => chmodSync(join(path, ".git", "hooks", "pre-commit"), 0o644)],
  ["git clean", ["files"], /4 deleted/, () => userGit(path, "clean", "-fdq")],
  ["a commit", ["head"], /reflog: commit: sneaky/, () => userGit(path, "commit", "--quiet", "-m", "sneaky")],
  ["a deleted branch", ["branches"], /branch feature is gone/, () => userGit(path, "branch", "-D", "feature")],
  [
    "a moved branch",
    ["branches"],
    /branch feature moved/,
    () => {
      userGit(path, "update-ref", "refs/heads/feature", userGit(path, "commit-tree", "HEAD^{tree}", "-m", "x"));
    },
  ],
  ["git rm", ["index", "files"], /1 deleted \(src\/c\.txt\)/, () => userGit(path, "rm", "--quiet", "src/c.txt")],
  ["an index that is gone", ["index"], /the index is gone/, () => rmSync(join(path, ".git", "index"))],
  [
    "a folder in the place of a file",
    ["files"],
    /files: /,
    () => {
      rmSync(join(path, "a.txt"));
      write(path, { "a.txt/inside": "i\n" });
    },
  ],
  [
    "a link in the place of a folder",
    ["files"],
    /files: /,
    () => {
      rmSync(join(path, "src"), { recursive: true });
      symlinkSync("/tmp", join(path, "src"));
    },
  ],
  [
    "files that are ignored now",
    ["files"],
    /deleted/,
    () => {
      write(path, { ".gitignore": "new/\nignored/\n" });
    },
  ],
  [
    "a merge that is not ended",
    ["index", "files", "operation"],
    /MERGE_HEAD is new/,
    () => {
      userGit(path, "stash", "push", "--quiet", "--include-untracked");
      userGit(path, "checkout", "--quiet", "-b", "side");
      commitFiles(path, { "b.txt": "side\n" }, "side");
      userGit(path, "checkout", "--quiet", "main");
      userGit(path, "merge", "--quiet", "--no-commit", "--no-ff", "side");
    },
  ],
  [
    "a broken configuration",
    ["configuration"],
    /git cannot read config any more/,
    () => writeFileSync(join(path, ".git", "config"), "[core\n"),
  ],
];

describe("P3 what was done to a checkout is found, and can be taken back to the byte", () => {
  it.each(hostile)("%s", async (_, kinds, text, act) => {
    const before = bytes();
    const saved = await save();
    act();
    const differing = await found(saved);
    expect(differing.map(({ kind }) => kind)).toEqual(expect.arrayContaining(kinds));
    expect(differing.map(({ text: words }) => words).join("; ")).toMatch(text);
    const { left } = await restore(saved);
    expect(left).toEqual([]);
    expect(bytes()).toEqual({ ...before, ...(saved.state.gitFiles["own/ORIG_HEAD"] ? {} : { ".git/ORIG_HEAD": "absent" }) });
  });

  it("a restore can be taken back as well", async () => {
    const saved = await save();
    userGit(path, "checkout", "--quiet", "-b", "other");
    userGit(path, "reset", "--quiet", "--hard");
    // What is ignored now would be overwritten unseen.
    write(path, { ".gitignore": "new/\nignored/\n", "new/u.txt": "not the same any more\n", "mine.txt": "mine\n" });
    const after = bytes();
    const { saved: undo } = await restore(saved);
    expect(readFileSync(join(path, "new/u.txt"), "utf8")).toBe("untracked\n");
    await restore(undo);
    expect(bytes()).toEqual(after);
  });

  it("waits for nobody: while git is at work in the checkout, it says so", async () => {
    const saved = await save();
    writeFileSync(join(path, ".git", "index.lock"), "");
    await expect(restore(saved)).rejects.toThrow(/git is at work/);
  });

  it("a merge that the person was in the middle of comes back", async () => {
    userGit(path, "stash", "push", "--quiet", "--include-untracked");
    userGit(path, "checkout", "--quiet", "-b", "side");
    commitFiles(path, { "b.txt": "side\n" }, "side");
    userGit(path, "checkout", "--quiet", "main");
    commitFiles(path, { "b.txt": "main\n" }, "main");
    expect(() => userGit(path, "merge", "--quiet", "side")).toThrow();
    const before = bytes();
    const saved = await save();
    userGit(path, "merge", "--abort");
    expect((await found(saved)).map(({ kind }) => kind)).toEqual(["index", "files", "operation"]);
    expect((await restore(saved)).left).toEqual([]);
    expect(bytes()).toEqual(before);
    expect(userGit(path, "status", "--porcelain")).toBe("UU b.txt");
  });

  it("any sequence of hostile commands", { timeout: 120_000 }, async () => {
    const before = await save();
    const was = bytes();
    const harmless = ["files that are ignored now", "a broken configuration"];
    const acts = hostile.filter(([name]) => !harmless.includes(name));
    const sequences = fc.array(fc.constantFrom(...acts), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(sequences, async (steps) => {
        for (const [, , , act] of steps) {
          try {
            act();
          } catch {
            // Some commands cannot follow others.
          }
        }
        // A refreshed index has other bytes, and a command that could not follow the others did nothing.
        const what = ({ ".git/index": _index, ".git/ORIG_HEAD": _orig, ...rest }: Record<string, string>) => rest;
        const isSame = JSON.stringify(what(bytes())) === JSON.stringify(what(was));
        if (!isSame) expect(await found(before)).not.toEqual([]);
        expect((await restore(before)).left).toEqual([]);
        // git may have been stopped half way by the command before. What is ignored is not kept: commands that change the rules
        // and then clean take it away for good.
        const kept = ({ ".git/ORIG_HEAD": _orig, "ignored/x": _ignored, ...rest }: Record<string, string>) => rest;
        expect(kept(bytes())).toEqual(kept(was));
      }),
      { numRuns: 10 },
    );
  });
});
