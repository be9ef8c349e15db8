import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { bundledAssets } from "./assets.ts";

const { scripts } = bundledAssets();

function run(name: string, args: string[], env: Record<string, string> = {}) {
  const { stdout, stderr, status } = spawnSync("/bin/bash", [join(scripts, name), ...args], {
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", ...env },
  });
  return { stdout, stderr, status };
}

/** A program in the place of node that prints its arguments, one per line, and ends with 75. */
function recorder(): Record<string, string> {
  const file = join(tempDir(), "node");
  writeFileSync(file, '#!/bin/bash\nprintf "%s\\n" "$@"\nexit 75\n');
  chmodSync(file, 0o755);
  return { ORCH_NODE: file, ORCH_PROGRAM: "/opt/orchestrator.js", ORCH_CONFIG: "/h/config.yaml" };
}

describe("bundled scripts", () => {
  it.each(readdirSync(scripts))("%s is an executable, strict bash script", (name) => {
    const file = join(scripts, name);
    execFileSync("/bin/bash", ["-n", file]);
    expect(execFileSync("head", ["-c", "20", file], { encoding: "utf8" })).toBe("#!/usr/bin/env bash\n");
    expect(execFileSync("grep", ["-c", "^set -euo pipefail$", file], { encoding: "utf8" })).toBe("1\n");
    expect(statSync(file).mode & 0o111).toBe(0o111);
  });

  it("run.sh says what it is given", () => {
    expect(run("run.sh", ["orch/p/T-1", "/w/T-1"])).toEqual({
      stdout: "=== orchestrator test script ===\nbranch: orch/p/T-1\nworktree: /w/T-1\n=== done ===\n",
      stderr: "",
      status: 0,
    });
    expect(run("run.sh", []).stdout).toBe("=== orchestrator test script ===\nbranch: (none)\nworktree: (none)\n=== done ===\n");
  });

  it("setup-worktree.sh hands on its arguments as they are, and the exit code", () => {
    expect(run("setup-worktree.sh", ["/my repo", "-x$(id)", "/w;ls"], recorder())).toEqual({
      stdout: "/opt/orchestrator.js\n--config=/h/config.yaml\nworktree\nensure\n--repo=/my repo\n--branch=-x$(id)\n--path=/w;ls\n",
      stderr: "",
      status: 75,
    });
  });

  it("cleanup-worktree.sh names the repository when it is known", () => {
    const removed = (env: object) =>
      run("cleanup-worktree.sh", ["/w/T-1", "b"], { ...recorder(), ...env })
        .stdout.split("\n")
        .slice(1, -1);
    expect(removed({})).toEqual(["--config=/h/config.yaml", "worktree", "remove", "--path=/w/T-1", "--branch=b"]);
    expect(removed({ ORCH_REPO: "/r" })).toEqual([
      "--config=/h/config.yaml",
      "worktree",
      "remove",
      "--path=/w/T-1",
      "--branch=b",
      "--repo=/r",
    ]);
  });

  it.each(["setup-worktree.sh", "cleanup-worktree.sh"])("%s refuses a wrong number of arguments, and to run alone", (name) => {
    expect(run(name, ["one"], recorder())).toMatchObject({ status: 2, stderr: expect.stringMatching(/^usage: /) });
    const args = name.startsWith("setup") ? ["a", "b", "c"] : ["a", "b"];
    expect(run(name, args)).toMatchObject({ status: 1, stderr: expect.stringMatching(/ORCH_NODE: is set by the runner/) });
  });
});
