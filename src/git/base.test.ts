import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { detectBase, integrationRef, startPoint } from "./base.ts";
import { openRepo } from "./git.ts";
import { commitFiles, isolateGit, makeRepo, userGit, write } from "./repo-fixture.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = tempDir();
  isolateGit(dir);
  path = makeRepo(join(dir, "repo"));
});

const detect = async (configured?: string) => detectBase(await openRepo(path), configured);

it("takes main of a repository without remote, whatever is checked out and however dirty", async () => {
  const sha = userGit(path, "rev-parse", "main");
  const main = { name: "main", ref: "refs/heads/main", sha };
  expect(await detect()).toEqual(main);
  userGit(path, "checkout", "--quiet", "-b", "feature");
  commitFiles(path, { "f.txt": "f" }, "feature");
  write(path, { "a.txt": "dirty" });
  expect(await detect()).toEqual(main);
  userGit(path, "checkout", "--quiet", "--detach");
  expect(await detect()).toEqual(main);
});

it("prefers the configured branch, then the remote's default", async () => {
  userGit(path, "branch", "trunk");
  userGit(path, "branch", "release");
  userGit(dir, "clone", "--quiet", "--bare", path, "origin.git");
  userGit(join(dir, "origin.git"), "symbolic-ref", "HEAD", "refs/heads/trunk");
  userGit(path, "remote", "add", "origin", join(dir, "origin.git"));
  userGit(path, "fetch", "--quiet");
  userGit(path, "remote", "set-head", "origin", "--auto");
  expect(await detect()).toMatchObject({ name: "trunk", ref: "refs/heads/trunk" });
  for (const name of ["release", "origin/release", "refs/heads/release"]) {
    expect(await detect(name)).toMatchObject({ name: "release", ref: "refs/heads/release" });
  }
  await expect(detect("nope")).rejects.toMatchObject({ name: "UserError", message: `The base branch nope does not exist in ${path}.` });
});

it("takes the remote state when the local branch is only behind, and the local one when both diverged", async () => {
  userGit(dir, "clone", "--quiet", path, "clone");
  const ahead = commitFiles(path, { "a.txt": "upstream" }, "upstream");
  path = join(dir, "clone");
  userGit(path, "fetch", "--quiet");
  expect(await detect()).toEqual({ name: "main", ref: "refs/remotes/origin/main", sha: ahead });
  const own = commitFiles(path, { "own.txt": "own" }, "own");
  expect(await detect()).toEqual({ name: "main", ref: "refs/heads/main", sha: own });
});

it("asks when nothing decides, and is not led astray by branches of its own", async () => {
  userGit(path, "branch", "-m", "main", "develop");
  userGit(path, "branch", "orch/plan/T1");
  userGit(path, "branch", "orchestrator/develop");
  userGit(path, "checkout", "--quiet", "--detach");
  expect(await detect()).toMatchObject({ name: "develop" });
  userGit(path, "branch", "other");
  await expect(detect()).rejects.toMatchObject({ name: "UserError", hint: "set baseBranch in the plan" });
  userGit(path, "checkout", "--quiet", "other");
  expect(await detect()).toMatchObject({ name: "other" });
});

it("starts tickets on the integration branch once that has work of its own", async () => {
  const repo = await openRepo(path);
  const base = await detect();
  expect(integrationRef(base)).toBe("refs/heads/orchestrator/main");
  expect(await startPoint(repo, base)).toBe(base.sha);
  userGit(path, "branch", "orchestrator/main");
  const newer = commitFiles(path, { "a.txt": "2" }, "second");
  expect(await startPoint(repo, await detect())).toBe(newer);
  userGit(path, "checkout", "--quiet", "orchestrator/main");
  const work = commitFiles(path, { "w.txt": "w" }, "work");
  expect(await startPoint(repo, await detect())).toBe(work);
});
