import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord } from "../domain/run.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { agentReport, exitRecord, phaseContext, specOf } from "../testing/phase-context.ts";
import { agent } from "./agent.ts";

type Phase = Partial<Omit<PhaseOf<"agent">, "type">>;
type Fields = Parameters<typeof phaseContext>[2];

let home: TestHome;
let tree: string;
beforeEach(() => {
  // Scripts stand in for the person as well here, and commit in the checkout.
  home = testHome({ config: { checkoutGuard: "off" }, files: { "README.md": "# A project\n", "src/a.ts": "1\n" } });
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
  tree = join(home.dir, "worktrees", "T1");
});

const sh = (script: string) => execFileSync("bash", ["-ec", script], { cwd: tree, env: home.env, encoding: "utf8" }).trimEnd();
const context = (phase: Phase, fields?: Fields) =>
  phaseContext<PhaseOf<"agent">>(home, { type: "agent", id: "work", promptTemplate: "work.md", ...phase }, fields);

/** Runs the phase with a bash script in the place of the agent's work. */
async function run(
  phase: Phase,
  script: string,
  more: { fields?: Fields; exit?: Partial<ExitRecord>; says?: string } = {},
): Promise<TicketEvent> {
  const started = context(phase, more.fields);
  const spec = specOf((await agent.start(started)) as Parameters<typeof specOf>[0]);
  sh(script);
  return agent.settle(started, spec, exitRecord({ agent: agentReport(more.says ?? "done"), ...more.exit }));
}

describe("P8 what an agent leaves decides", () => {
  it.each([
    ["an empty commit", "git commit -q --allow-empty -m nothing"],
    ["a change that is taken back", "echo x > b; git add b; git commit -qm x; git rm -q b; git commit -qm y"],
    ["a branch moved back", "git reset -q --hard HEAD~1"],
  ])("%s is no change", async (_, script) => {
    home.git("rm", "-q", "src/a.ts");
    home.git("commit", "-qm", "second");
    expect(await run({ changes: "required" }, script)).toMatchObject({
      type: "failed",
      category: "implementation",
      reason: "It left no change, and one was asked for.",
    });
  });

  it("what others merged meanwhile is no change of its own", async () => {
    expect(
      await run(
        { changes: "required" },
        "cd ../../repo; echo x > other; git add -A; git commit -qm other; cd -; git merge -q --ff-only main",
      ),
    ).toMatchObject({ type: "failed", category: "implementation" });
  });

  it("work that an interrupted run of the phase had committed counts", async () => {
    await run({}, "echo 1 > b; git add b; git commit -qm one", { exit: { end: "stopped", exitCode: null, signal: "SIGTERM" } });
    expect(await run({ changes: "required" }, "true")).toMatchObject({ type: "passed" });
  });

  it("exit code 0 with a failing stream, and a run without a final message, fail", async () => {
    const failure = { category: "rate_limit" as const, message: "too many requests" };
    expect(await run({}, "echo 1 > b", { exit: { agent: agentReport("done", { failure }) } })).toMatchObject({
      type: "failed",
      category: "rate_limit",
    });
    expect(await run({}, "true", { exit: { agent: agentReport(null) } })).toMatchObject({ type: "failed", category: "unknown" });
  });

  it("scope counts what changed since another phase passed, across attempts", async () => {
    await run({ id: "implement" }, "echo 2 > src/a.ts");
    const head = sh("git rev-parse HEAD");
    const history = [{ phase: "implement", status: "success" as const, startedAt: "", head }];
    const docs = { id: "docs", scope: { allow: ["docs"] } };
    const fields = { ticket: { phaseHistory: history, baseSha: home.git("rev-parse", "main") } };
    expect(await run(docs, "mkdir docs; echo x > docs/.hidden", { fields })).toMatchObject({ type: "passed" });
    const stray = await run(docs, "echo 3 > src/a.ts", { fields });
    expect(stray).toMatchObject({ type: "failed", category: "scope", reason: expect.stringContaining("src/a.ts") });
    const retried = [...history, { phase: "docs", status: "failure" as const, startedAt: "", head: sh("git rev-parse HEAD") }];
    expect(await run(docs, "echo y > docs/b", { fields: { ticket: { ...fields.ticket, phaseHistory: retried } } })).toMatchObject({
      type: "failed",
      category: "scope",
    });
  });

  it("P4 keeps the commits of a branch that an agent moved back", async () => {
    await run({}, "echo 1 > b; git add b; git commit -qm one");
    const lost = sh("git rev-parse HEAD");
    await run({}, "git reset -q --hard HEAD~1; echo 2 > c");
    expect(home.git("for-each-ref", "--format=%(objectname)", "refs/orchestrator/recovery/p/T1")).toBe(lost);
  });

  it("finds the branch again when the agent deleted the worktree or worked on another branch", async () => {
    expect(await run({}, "echo 1 > b; git add b; git commit -qm one; rm -rf $PWD")).toMatchObject({ type: "passed" });
    expect(home.git("show", "orch/p/T1:b")).toBe("1");
    expect(await run({ changes: "required" }, "git checkout -qb mine; echo 2 > c; git add c; git commit -qm two")).toMatchObject({
      type: "passed",
    });
    expect(home.git("show", "orch/p/T1:c")).toBe("2");
  });

  it("a rebase half done is the next attempt's to finish", async () => {
    await run({}, "echo mine > src/a.ts");
    const rebase = "cd ../../repo; echo theirs > src/a.ts; git commit -qam theirs; cd -; git rebase -q main >/dev/null 2>&1 || true";
    expect(await run({}, rebase)).toMatchObject({
      type: "failed",
      category: "implementation",
      reason: expect.stringContaining("in the middle of a rebase"),
    });
    const finish = "echo both > src/a.ts; git add -A; GIT_EDITOR=true git rebase --continue >/dev/null 2>&1";
    expect(await run({}, finish)).toMatchObject({ type: "passed" });
    expect(home.git("show", "orch/p/T1:src/a.ts")).toBe("both");
  });

  it("the agent that ran is the one in the history, whatever the configuration says now", async () => {
    const started = context({}, {});
    const spec = specOf((await agent.start(started)) as Parameters<typeof specOf>[0]);
    expect(await agent.settle({ ...started, agent: "another" }, spec, exitRecord({ agent: agentReport("done") }))).toMatchObject({
      agent: "none",
    });
  });
});

describe("a read-only phase", () => {
  const review = { id: "review", readOnly: true };
  const pass = { says: "PASS" };

  it("is not blamed for files that were there before", async () => {
    await run({}, "echo x > tracked");
    sh("echo junit > report.xml; echo more >> tracked");
    expect(await run(review, "true", pass)).toMatchObject({ type: "passed" });
    expect(sh("git status --porcelain")).toContain("report.xml");
    expect(await run(review, "echo y > report.xml", pass)).toMatchObject({ type: "failed", category: "scope" });
  });

  it("may look at another commit, and its branch is back afterwards", async () => {
    await run({}, "echo x > b");
    sh("cd ../../repo; git commit -q --allow-empty -m apart");
    expect(await run(review, "git checkout -q --detach main", pass)).toMatchObject({ type: "passed" });
    expect(sh("git symbolic-ref --short HEAD; ls b").split("\n")).toEqual(["orch/p/T1", "b"]);
  });

  it.each([
    ["commits", "echo 1 > b; git add b; git commit -qm sneaky"],
    ["commits on another branch", "git checkout -qb scratch; echo 1 > b; git add b; git commit -qm sneaky"],
    ["commits on no branch", "git checkout -q --detach; echo 1 > b; git add b; git commit -qm sneaky"],
    ["moves its branch back", "git reset -q --hard HEAD~1"],
    ["deletes a file", "rm README.md"],
  ])("P8 fails when it %s, and finds so again after a crash", async (_, script) => {
    await run({}, "echo x > work");
    const head = sh("git rev-parse HEAD");
    const started = context(review);
    const spec = specOf((await agent.start(started)) as Parameters<typeof specOf>[0]);
    sh(script);
    const exit = exitRecord({ agent: agentReport("PASS") });
    for (const _life of ["first", "after a crash"]) {
      expect(await agent.settle(started, spec, exit)).toMatchObject({ type: "failed", category: "scope" });
      expect(sh("git status --porcelain; git rev-parse HEAD; git symbolic-ref --short HEAD").split("\n")).toEqual([head, "orch/p/T1"]);
    }
  });

  it("that was stopped leaves nothing behind for the next phase to commit", async () => {
    await run({}, "echo x > work");
    const stopped = { end: "stopped" as const, exitCode: null, signal: "SIGTERM" };
    expect(await run(review, "echo sneaky > b", { exit: stopped })).toMatchObject({ type: "interrupted" });
    expect(sh("git status --porcelain")).toBe("");
  });

  it("P6 that gave its result and had to be ended has passed all the same", async () => {
    const exit = { end: "result" as const, exitCode: null, signal: "SIGINT", agent: agentReport("done") };
    expect(await run({}, "echo 1 > b", { exit })).toMatchObject({ type: "passed" });
  });

  it("touches nothing while processes of its run are alive", async () => {
    expect(await run(review, "echo sneaky > b", { exit: { survivors: [7] } })).toMatchObject({ type: "faulted" });
    expect(existsSync(join(tree, "b"))).toBe(true);
  });
});

describe("a missing verdict", () => {
  const id = "11111111-2222-4333-8444-555555555555";
  const missed = {
    phase: "review",
    status: "failure" as const,
    startedAt: "",
    reason: "Its final message holds no verdict: none",
    session: { id, provider: "claude" },
  };
  const interrupted = { phase: "review", status: "interrupted" as const, startedAt: "" };
  const verdict = { ...missed, reason: "wrong" };

  it.each([
    ["is asked for in the same session", [missed], true],
    ["is asked for again when that run was interrupted", [missed, interrupted], true],
    ["is asked for once: then the work begins anew", [missed, missed], false],
    ["is not asked for after a verdict", [missed, verdict], false],
  ])("%s", async (_, phaseHistory, resumes) => {
    const ready = context({ id: "review", verdict: "json" }, { ticket: { phaseHistory, reasked: { review: 1 }, agent: "claude" } });
    const config = { ...ready.config, agents: { claude: { ...ready.config.agents.none, command: "claude" } } } as typeof ready.config;
    const start = await agent.start({ ...ready, config, agent: "claude" });
    expect(start.kind === "run" && start.spec.argv.includes("--resume")).toBe(resumes);
    expect(start.kind === "run" && (start.prompt ?? "").includes("verdict alone")).toBe(resumes);
  });
});

it("P12 keeps what a phase may not know out of its spec", async () => {
  const started = await agent.start(context({ env: { DB_PASSWORD: "hunter2-hunter2" } }));
  expect(JSON.stringify(specOf(started as Parameters<typeof specOf>[0]))).not.toContain("hunter2");
  rmSync(tree, { recursive: true, force: true });
  expect(readFileSync(join(home.repo, "README.md"), "utf8")).toBe("# A project\n");
});
