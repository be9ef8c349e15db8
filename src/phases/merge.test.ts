import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { exitRecord, phaseContext, specOf } from "../testing/phase-context.ts";
import { merge } from "./merge.ts";

let home: TestHome;
let baseSha: string;
beforeEach(() => {
  home = testHome();
  baseSha = home.git("rev-parse", "HEAD");
});

/** Puts a commit on a branch that is checked out nowhere. */
function commitOn(branch: string, files: Record<string, string>, from = "main"): string {
  const tree = join(home.dir, "scratch");
  const known = spawnSync("git", ["rev-parse", "-q", "--verify", branch], { cwd: home.repo }).status === 0;
  home.git("worktree", "add", "-q", "--detach", tree, known ? branch : from);
  for (const [path, text] of Object.entries(files)) writeFileSync(join(tree, path), text);
  execFileSync("git", ["add", "-A"], { cwd: tree, env: home.env });
  execFileSync("git", ["commit", "-q", "--allow-empty", "-m", `on ${branch}`], { cwd: tree, env: home.env });
  const sha = execFileSync("git", ["rev-parse", "HEAD"], { cwd: tree, encoding: "utf8" }).trim();
  home.git("worktree", "remove", "--force", tree);
  home.git("update-ref", `refs/heads/${branch}`, sha);
  return sha;
}

const context = (commands: Record<string, string> = {}, ticket: object = {}) =>
  phaseContext<PhaseOf<"merge">>(
    home,
    { type: "merge", id: "merge", commands, capture: { tip: "git rev-parse HEAD" } },
    { ticket: { baseSha, ...ticket } },
  );

/** Runs the phase as the daemon does, its checks with it; `meanwhile` happens before the result is read. */
async function run(commands: Record<string, string> = {}, ticket: object = {}, meanwhile: () => void = () => {}): Promise<TicketEvent> {
  const merging = context(commands, ticket);
  const start = await merge.start(merging);
  if (start.kind === "news") return start.event;
  const spec = specOf(start);
  writeFileSync(join(merging.runDir, "spec.json"), JSON.stringify(spec));
  const { status } = spawnSync(spec.argv[0] ?? "", spec.argv.slice(1), { cwd: spec.cwd, env: start.env });
  meanwhile();
  return merge.settle(merging, spec, exitRecord({ exitCode: status }));
}

const integration = () => home.git("rev-parse", "orchestrator/main");

describe("merge", () => {
  it("lands a merge commit that names its ticket and run, and takes its captures", async () => {
    const branch = commitOn("orch/p/T1", { a: "1" });
    expect(await run()).toMatchObject({ type: "passed", captured: { merged_sha: integration(), tip: baseSha } });
    expect(home.git("log", "-1", "--format=%P%n%B", integration()).split("\n")).toEqual([
      `${baseSha} ${branch}`,
      "Merge T1: A title",
      "",
      "Ticket: p/T1",
      "Orchestrator-Attempt: 0001-merge",
    ]);
    expect([home.git("rev-parse", "main"), home.git("status", "--porcelain")]).toEqual([baseSha, ""]);
  });

  it("P5 has merged once when it is done again after a crash", async () => {
    commitOn("orch/p/T1", { a: "1" });
    await run();
    const landed = integration();
    expect(await run()).toMatchObject({ type: "passed", captured: { merged_sha: landed } });
    expect(integration()).toBe(landed);
  });

  it.each([
    ["is where it began", () => home.git("branch", "orch/p/T1", baseSha)],
    ["has an empty commit", () => commitOn("orch/p/T1", {})],
    ["was moved back", () => home.git("branch", "orch/p/T1", `${baseSha}~1`)],
    ["does not exist", () => ""],
  ])("P8 fails when the branch %s", async (_, make) => {
    home.git("commit", "-q", "--allow-empty", "-m", "second");
    baseSha = home.git("rev-parse", "HEAD");
    make();
    expect(await run()).toMatchObject({ type: "failed", category: "implementation", reason: expect.stringContaining("nothing to merge") });
  });

  it("is a conflict with the files' names when both sides changed the same lines", async () => {
    commitOn("orch/p/T1", { a: "1" });
    commitOn("orchestrator/main", { a: "2" });
    expect(await run()).toMatchObject({
      type: "failed",
      category: "conflict",
      reason: expect.stringMatching(/orch\/p\/T1 conflicts .* in a\.$/),
    });
  });

  it("is a conflict of the base when base and integration branch have gone apart in the same lines", async () => {
    commitOn("orch/p/T1", { b: "1" });
    commitOn("orchestrator/main", { a: "2" });
    commitOn("main", { a: "3" });
    expect(await run()).toMatchObject({ type: "failed", category: "conflict", reason: expect.stringContaining("have gone apart") });
  });

  it("brings a base along that has gone apart", async () => {
    commitOn("orch/p/T1", { b: "1" });
    commitOn("orchestrator/main", { a: "2" });
    commitOn("main", { c: "3" });
    expect(await run({ all: "test -e a && test -e b && test -e c" })).toMatchObject({ type: "passed" });
    expect(home.git("ls-tree", "--name-only", "orchestrator/main").split("\n")).toEqual(["README.md", "a", "b", "c"]);
  });

  it("P8 checks a base that has gone apart also where the branch adds nothing to it", async () => {
    commitOn("orchestrator/main", { a: "2" });
    commitOn("main", { b: "3" });
    home.git("branch", "orch/p/T1", "main");
    const before = integration();
    expect(await run({ never: "test ! -e a || test ! -e b || exit 127" })).toMatchObject({ type: "failed" });
    expect(integration()).toBe(before);
    expect(await run({ ok: "true" })).toMatchObject({ type: "passed" });
    expect(home.git("ls-tree", "--name-only", "orchestrator/main").split("\n")).toEqual(["README.md", "a", "b"]);
  });

  it("P8 lands nothing that fails where it is merged, and clears away where it looked", async () => {
    commitOn("orch/p/T1", { b: "1" });
    expect(await run({ no: "test ! -e b" })).toMatchObject({
      type: "failed",
      category: "test",
      reason: "Merged with orchestrator/main: New failures in no.",
    });
    expect(integration()).toBe(baseSha);
    expect(home.git("worktree", "list").split("\n")).toHaveLength(1);
    expect(readdirSync(join(home.home, "worktrees", ".integration")).filter((name) => !name.startsWith(".trash-"))).toEqual([]);
  });

  it("begins anew when somebody moved the integration branch meanwhile", async () => {
    commitOn("orch/p/T1", { b: "1" });
    expect(await run({ ok: "true" }, {}, () => commitOn("orchestrator/main", { other: "1" }))).toMatchObject({ type: "interrupted" });
    expect(await run({ ok: "true" })).toMatchObject({ type: "passed" });
    expect(home.git("ls-tree", "--name-only", "orchestrator/main").split("\n")).toEqual(["README.md", "b", "other"]);
  });

  it("takes a branch along that the person moves meanwhile the next time only: what was checked lands", async () => {
    commitOn("orch/p/T1", { b: "1" });
    expect(await run({ ok: "true" }, {}, () => commitOn("orch/p/T1", { late: "1" }))).toMatchObject({ type: "passed" });
    expect(home.git("ls-tree", "--name-only", "orchestrator/main").split("\n")).toEqual(["README.md", "b"]);
  });

  it("moves the base too where nobody has it checked out", async () => {
    commitOn("orch/p/T1", { b: "1" });
    home.git("checkout", "-q", "--detach");
    expect(await run()).toMatchObject({ type: "passed", output: expect.stringMatching(/ on main\.$/) });
    expect(home.git("rev-parse", "main")).toBe(integration());
  });
});
