import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { commitOf, GitError, git, gitText, openRepo } from "./git.ts";
import { isolateGit, makeRepo, userGit } from "./repo-fixture.ts";

let dir: string;
beforeEach(() => {
  dir = tempDir();
  isolateGit(dir);
});

describe("openRepo", () => {
  it("opens a work tree, a folder inside it, a linked worktree and a bare repository", async () => {
    const path = makeRepo(join(dir, "re po – ü"));
    const gitDir = join(path, ".git");
    const expected = { path, gitDir, commonDir: gitDir, workTree: path, bare: false };
    expect(await openRepo(path)).toEqual(expected);
    expect(await openRepo(join(path, "src"))).toEqual(expected);

    const linked = join(dir, "linked");
    userGit(path, "worktree", "add", "--quiet", "-b", "other", linked);
    expect(await openRepo(linked)).toEqual({
      path: linked,
      gitDir: join(gitDir, "worktrees/linked"),
      commonDir: gitDir,
      workTree: linked,
      bare: false,
    });

    const bare = join(dir, "bare.git");
    userGit(dir, "clone", "--quiet", "--bare", path, bare);
    expect(await openRepo(bare)).toEqual({ path: bare, gitDir: bare, commonDir: bare, workTree: null, bare: true });
  });

  it("says what is wrong and how to fix it", async () => {
    mkdirSync(join(dir, "plain"));
    mkdirSync(join(dir, "unborn"));
    userGit(join(dir, "unborn"), "init", "--quiet");
    const repo = makeRepo(join(dir, "repo"));
    await expect(openRepo(join(dir, "none"))).rejects.toMatchObject({
      name: "UserError",
      message: `The repository ${dir}/none does not exist.`,
    });
    await expect(openRepo(join(dir, "plain"))).rejects.toMatchObject({ message: `${dir}/plain is not a git repository.` });
    await expect(openRepo(join(dir, "unborn"))).rejects.toMatchObject({
      message: `The repository ${dir}/unborn has no commit yet.`,
      hint: `make a first commit: git -C ${dir}/unborn commit --allow-empty -m "first commit"`,
    });
    await expect(openRepo(join(repo, ".git"))).rejects.toMatchObject({ hint: `name the work tree instead: ${repo}` });
  });

  it.runIf(process.getuid?.() === 0)("names the line that makes git trust a repository of another user", async () => {
    const repo = makeRepo(join(dir, "repo"));
    chownSync(repo, 12345, 12345);
    chownSync(join(repo, ".git"), 12345, 12345);
    await expect(openRepo(repo)).rejects.toMatchObject({
      name: "UserError",
      hint: `if you trust it: git config --global --add safe.directory ${repo}`,
    });
  });
});

describe("git", () => {
  it("runs no hook and no program that the repository's configuration names", async () => {
    const path = makeRepo(join(dir, "repo"));
    const spy = join(dir, "spy.sh");
    writeFileSync(spy, `#!/bin/sh\ntouch ${dir}/ran\n`);
    chmodSync(spy, 0o755);
    userGit(path, "config", "core.fsmonitor", spy);
    userGit(path, "config", "core.hooksPath", join(dir, "hooks"));
    mkdirSync(join(dir, "hooks"));
    writeFileSync(join(dir, "hooks/reference-transaction"), `#!/bin/sh\ntouch ${dir}/ran\n`, { mode: 0o755 });
    const repo = await openRepo(path);
    await git(repo, ["status"]);
    await git(repo, ["update-ref", "refs/heads/x", "HEAD"]);
    expect(existsSync(join(dir, "ran"))).toBe(false);
  });

  it("ignores variables that would redirect it", async () => {
    const repo = await openRepo(makeRepo(join(dir, "repo")));
    const before = { ...process.env };
    process.env.GIT_DIR = join(dir, "elsewhere");
    process.env.GIT_INDEX_FILE = join(dir, "elsewhere");
    try {
      expect(await gitText(repo, ["ls-files"])).toBe(".gitignore\na.txt\nsrc/b.txt");
    } finally {
      process.env = before;
    }
  });

  it("tries again after a race with another git, and says when there is no git", async () => {
    const repo = await openRepo(makeRepo(join(dir, "repo")));
    const before = process.env.PATH;
    mkdirSync(join(dir, "bin"));
    const fake = `#!/bin/sh\nif [ ! -e ${dir}/raced ]; then touch ${dir}/raced; echo "error: could not lock config file .git/config: File exists" >&2; exit 255; fi\nPATH='${before}' exec git "$@"\n`;
    writeFileSync(join(dir, "bin/git"), fake, { mode: 0o755 });
    try {
      process.env.PATH = `${join(dir, "bin")}:${before}`;
      expect(await gitText(repo, ["symbolic-ref", "HEAD"])).toBe("refs/heads/main");
      expect(existsSync(join(dir, "raced"))).toBe(true);
      process.env.PATH = join(dir, "home");
      await expect(git(repo, ["status"])).rejects.toMatchObject({ name: "UserError", hint: "install git 2.38 or newer" });
    } finally {
      process.env.PATH = before;
    }
  });

  it("throws with the arguments and git's own words, and cuts long output", async () => {
    const repo = await openRepo(makeRepo(join(dir, "repo")));
    const error = await git(repo, ["rev-parse", "--verify", "nothing"]).catch((e) => e);
    expect(error).toBeInstanceOf(GitError);
    expect(error).toMatchObject({ code: 128, stderr: "fatal: Needed a single revision\n" });
    expect(await git(repo, ["ls-files"], { maxOutput: 4 })).toMatchObject({ stdout: ".git", truncated: true });
    expect(await commitOf(repo, "nothing")).toBe(null);
    expect(await commitOf(repo, "--all")).toBe(null);
  });

  it("reads refs as git does, however they are kept", async () => {
    const path = makeRepo(join(dir, "repo"));
    const refs = join(path, ".git/refs/heads");
    for (const name of ["packed", "moved", "a/b"]) userGit(path, "branch", name);
    userGit(path, "pack-refs", "--all");
    userGit(path, "commit", "--quiet", "--allow-empty", "-m", "second");
    userGit(path, "branch", "--force", "moved");
    userGit(path, "symbolic-ref", "refs/heads/alias", "refs/heads/moved");
    symlinkSync("moved", join(refs, "link"));
    writeFileSync(join(refs, "broken"), "none\n");
    // What a power cut may leave of one that is also among the packed ones.
    mkdirSync(join(refs, "a"), { recursive: true });
    writeFileSync(join(refs, "a/b"), "");
    mkdirSync(join(refs, "folder"));
    const repo = await openRepo(path);
    const names = ["packed", "moved", "a/b", "alias", "link", "broken", "folder", "a", "packed/x", "none", "moved~1"];
    const asked = names.map((name) => {
      const { stdout } = spawnSync("git", ["-C", path, "rev-parse", "--verify", "--quiet", `refs/heads/${name}^{commit}`], {
        encoding: "utf8",
      });
      return stdout.trim() || null;
    });
    expect(await Promise.all(names.map((name) => commitOf(repo, `refs/heads/${name}`)))).toEqual(asked);
    expect(new Set(asked)).toHaveLength(3);
  });
});
