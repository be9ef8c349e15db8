import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord, RunSpec } from "../domain/run.ts";
import type { AgentReport } from "../domain/session.ts";
import type { HistoryEntry, Ticket } from "../domain/ticket.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { probesDir } from "../state/layout.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { agentReport, exitRecord, phaseContext, specOf } from "../testing/phase-context.ts";
import { installCli } from "../testing/versioned-cli.ts";
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

/** An installed claude that says nothing of itself, and so is taken for the release that was tested. Nothing here runs it. */
function claudeCli(): string {
  const path = join(home.dir, "claude");
  writeFileSync(path, "#!/bin/sh\n", { mode: 0o755 });
  return path;
}

/** What a run of claude leaves that had begun: its events in the run's folder, and a transcript where claude keeps it. */
function leaveConversation(runId: string, session: string, events: string): void {
  const transcript = join(home.home, "run", "p", "T1", runId, "transcript.jsonl");
  const own = join(home.env.HOME ?? "", ".claude", "projects", "-tree", `${session}.jsonl`);
  for (const [file, text] of [
    [transcript, events],
    [own, "{}\n"],
  ] as const) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

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

  it("a ticket's own scope fails nothing: what lies outside is noted for the review, and no longer once it is taken back", async () => {
    const fields = { ticket: { scope: ["docs/**"], baseSha: home.git("rev-parse", "main") } };
    const strayed = await run({}, "mkdir docs; echo x > docs/a; echo 2 > src/a.ts", { fields });
    expect(strayed).toMatchObject({ type: "passed", captured: { outside_scope: "src/a.ts" } });
    expect(await run({}, "echo 1 > src/a.ts", { fields })).toMatchObject({ type: "passed", captured: { outside_scope: "" } });
    expect(await run({ readOnly: true }, "true", { fields })).not.toHaveProperty("captured.outside_scope");
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
    runId: "0001-review",
    reason: "Its final message holds no verdict: none",
    session: { id, provider: "claude" },
  };
  const interrupted = { phase: "review", status: "interrupted" as const, startedAt: "", runId: "0002-review" };
  const verdict = { ...missed, reason: "wrong" };

  it.each([
    ["is asked for in the same session", [missed], true, true],
    ["is asked for again when that run was interrupted", [missed, interrupted], true, true],
    ["is asked for once: then the work begins anew", [missed, missed], false, false],
    ["is not asked for after a verdict", [missed, verdict], true, false],
  ])("%s", async (_, phaseHistory, resumes, asks) => {
    leaveConversation("0001-review", id, '{"type":"text","text":"I looked."}\n');
    const ready = context({ id: "review", verdict: "json" }, { ticket: { phaseHistory, reasked: { review: 1 }, agent: "claude" } });
    const config = { ...ready.config, agents: { claude: { ...ready.config.agents.none, command: claudeCli() } } } as typeof ready.config;
    const start = await agent.start({ ...ready, config, agent: "claude" });
    expect(start.kind === "run" && start.spec.argv.includes("--resume")).toBe(resumes);
    expect(start.kind === "run" && (start.prompt ?? "").includes("verdict alone")).toBe(asks);
  });
});

describe("an agent that got nowhere", () => {
  const session = { id: "11111111-2222-4333-8444-555555555555", provider: "claude" };
  const at = "2026-01-01T00:00:00.000Z";
  const ran = {
    phase: "work",
    status: "failure" as const,
    startedAt: at,
    completedAt: at,
    runId: "0001-work",
    agent: "claude",
    category: "stuck" as const,
    session,
  };
  const seen = "It made the same call 30 times.";

  async function started(stuck: Ticket["stuck"], phaseHistory: HistoryEntry[] = [ran], feedback = {}) {
    leaveConversation("0001-work", session.id, '{"type":"text","text":"I looked."}\n');
    const ready = context({}, { ticket: { phaseHistory, agent: "claude", stuck, feedback } });
    const config = { ...ready.config, agents: { claude: { ...ready.config.agents.none, command: claudeCli() } } } as typeof ready.config;
    const start = await agent.start({ ...ready, config, agent: "claude" });
    if (start.kind !== "run") throw new Error("it did not start");
    return { resumes: start.spec.argv.includes(session.id), prompt: start.prompt ?? "", endLoops: start.spec.endLoops };
  }

  it("is told so in its own conversation", async () => {
    const nudged = await started({ phase: "work", evidence: seen, answer: "nudge" });
    expect(nudged).toEqual({ resumes: true, prompt: expect.stringContaining(seen), endLoops: true });
    expect(nudged.prompt).not.toContain("work on T1");
  });

  it("is told what another phase found, too", async () => {
    const feedback = { checks: "FAIL adds" };
    const { resumes, prompt } = await started({ phase: "checks", evidence: seen, answer: "nudge" }, [ran], feedback);
    expect(resumes).toBe(true);
    expect(prompt).toContain("FAIL adds");
  });

  it.each([
    ["begins anew, with the task and what was seen", "anew", [ran]],
    ["begins anew where it has no conversation to go on with", "nudge", []],
    ["begins anew where the conversation is another agent's", "nudge", [{ ...ran, agent: "other" }]],
  ] as const)("%s", async (_, answer, history) => {
    const { resumes, prompt } = await started({ phase: "work", evidence: seen, answer }, [...history]);
    expect(resumes).toBe(false);
    expect(prompt).toMatch(/^\s*Earlier work .*\n\nIt made the same call 30 times\.\n.*different approach.*work on T1\n/s);
  });

  it("is what a run comes to that was ended for it, and what it left is kept", async () => {
    const exit = {
      end: "stuck" as const,
      message: "It made the same call 30 times",
      exitCode: null,
      signal: "SIGINT",
      agent: agentReport(null, { session }),
    };
    expect(await run({}, "echo 1 > b", { exit })).toMatchObject({
      type: "failed",
      category: "stuck",
      reason: seen,
      nudge: true,
      session,
      agent: "none",
    });
    expect(sh("git show HEAD:b")).toBe("1");
  });
});

it("P12 keeps what a phase may not know out of its spec", async () => {
  const started = await agent.start(context({ env: { DB_PASSWORD: "hunter2-hunter2" } }));
  expect(JSON.stringify(specOf(started as Parameters<typeof specOf>[0]))).not.toContain("hunter2");
  rmSync(tree, { recursive: true, force: true });
  expect(readFileSync(join(home.repo, "README.md"), "utf8")).toBe("# A project\n");
});

describe("P9 a provider that does not serve", () => {
  const failing = (failure: AgentReport["failure"], more: Partial<ExitRecord> = {}) => ({
    exit: { exitCode: 1, agent: agentReport(null, { failure }), ...more },
  });

  it("is told with the time of its reset, and what the agent had done is kept", async () => {
    const resetsAt = "2026-11-21T14:05:00.000Z";
    const failure = { category: "usage_limit" as const, message: "used up", resetsAt };
    expect(await run({ changes: "required" }, "echo 1 > b", failing(failure))).toMatchObject({
      type: "failed",
      category: "usage_limit",
      reason: "used up",
      agent: "none",
      provider: { resetsAt },
    });
    expect(sh("git show HEAD:b")).toBe("1");
  });

  it.each(["idle", "timeout"] as const)("is what a run came to that waited for it until its end by %s", async (end) => {
    const failure = { category: "unavailable" as const, message: "Reconnecting... waiting for network" };
    const event = await run({}, "true", failing(failure, { end, exitCode: null, signal: "SIGINT" }));
    expect(event).toMatchObject({ type: "failed", category: "unavailable", provider: {} });
  });

  it("has its program asked again what it takes when the program refused a run", async () => {
    const failure = { category: "incompatible" as const, message: "error: unknown option '--effort'" };
    const kept = join(probesDir(home.home), `${agentReport(null, {}).provider}-0.json`);
    mkdirSync(dirname(kept), { recursive: true });
    writeFileSync(kept, "{}");
    expect(await run({}, "true", failing(failure))).toMatchObject({ category: "incompatible", provider: {} });
    expect(existsSync(kept)).toBe(false);
  });

  it("is not to blame for silence, for a model that the phase names, or for what a person stopped", async () => {
    const stalled = { category: "stalled" as const, message: "it fell silent" };
    expect(await run({}, "true", failing(stalled, { end: "idle", exitCode: null }))).not.toHaveProperty("provider");
    const model = { category: "incompatible" as const, message: "There is an issue with the selected model (opsu)." };
    expect(await run({ model: "opsu" }, "true", failing(model))).toEqual(expect.not.objectContaining({ provider: {} }));
    expect(await run({}, "true", failing(model))).toMatchObject({ category: "incompatible", provider: {} });
    const limit = { category: "rate_limit" as const, message: "429" };
    expect(await run({}, "true", failing(limit, { end: "stopped", exitCode: null }))).toMatchObject({ type: "interrupted" });
  });

  it("finds the conversation again that it cut short, and a new one where nothing was begun, for another phase or another agent", async () => {
    home = testHome({
      config: { defaultAgent: "claude", agents: { claude: { command: claudeCli() }, other: { command: claudeCli(), model: "own" } } },
    });
    mkdirSync(join(home.home, "prompts"));
    writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
    const session = { id: "6a1f2f0e-9a5c-4a0e-8f3a-0d6b9d6f7a11", provider: "claude" };
    const cut = {
      phase: "work",
      runId: "0001-work",
      agent: "claude",
      status: "interrupted" as const,
      category: "usage_limit" as const,
      session,
    };
    const transcript = (text: string) => leaveConversation("0001-work", session.id, text);
    const start = async (entry: object, activity: object = {}) => {
      const phaseHistory = [{ startedAt: "2026-01-01T00:00:00.000Z", ...cut, ...entry }];
      const running = { state: "running" as const, runId: "0002-work", since: "2026-01-01T00:00:00.000Z", ...activity } as {
        state: "running";
        runId: string;
        since: string;
        agent?: string;
      };
      const its = context({ model: "big" }, { runId: "0002-work", ticket: { phaseHistory, activity: running } });
      const started = (await agent.start({ ...its, agent: running.agent ?? "claude" })) as { spec: { argv: string[] }; prompt: string };
      return {
        resumed: started.spec.argv.includes(session.id),
        model: started.spec.argv.at(-1),
        prompt: started.prompt.trim().slice(0, 20),
      };
    };
    transcript('{"type":"session","session":{}}\n{"type":"warning","message":"used up"}\n');
    expect(await start({})).toEqual({ resumed: false, model: "big", prompt: "An earlier run of th" });
    transcript('{"type":"session","session":{}}\n{"type":"tool_use","callId":"1","tool":"Bash","input":{}}\n');
    expect(await start({})).toEqual({ resumed: true, model: "big", prompt: "The provider ended y" });
    expect(await start({ phase: "other" })).toMatchObject({ resumed: false });
    expect(await start({}, { agent: "other" })).toEqual({ resumed: false, model: "own", prompt: "## What was done bef" });
    rmSync(join(home.env.HOME ?? "", ".claude"), { recursive: true });
    expect(await start({})).toEqual({ resumed: false, model: "big", prompt: "## What was done bef" });
  });
});

describe("P9 a task that the provider turned away before the agent heard of it", () => {
  const session = { id: "6a1f2f0e-9a5c-4a0e-8f3a-0d6b9d6f7a11", provider: "claude" };
  const run = { startedAt: "2026-01-01T00:00:00.000Z", agent: "claude", session };
  const phaseHistory = [
    { ...run, phase: "work", runId: "0001-work", status: "success" as const },
    {
      ...run,
      phase: "checks",
      runId: "0002-checks",
      status: "failure" as const,
      agent: undefined,
      session: undefined,
      reason: "lint fails",
    },
    { ...run, phase: "work", runId: "0003-work", status: "interrupted" as const, category: "usage_limit" as const, session: undefined },
  ];

  it("is told there also after a day of outages", async () => {
    home = testHome({ config: { checkoutGuard: "off", defaultAgent: "claude", agents: { claude: { command: claudeCli() } } } });
    mkdirSync(join(home.home, "prompts"));
    writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
    leaveConversation("0001-work", session.id, '{"type":"text","text":"done"}\n');
    const turnedAway = Array.from({ length: 60 }, (_, n) => ({ ...phaseHistory[2], runId: `${String(n + 3).padStart(4, "0")}-work` }));
    const history = [...phaseHistory.slice(0, 2), ...turnedAway] as HistoryEntry[];
    const its = context({}, { runId: "0063-work", ticket: { phaseHistory: history } });
    const started = (await agent.start({ ...its, agent: "claude" })) as { spec: { argv: string[] } };
    expect(started.spec.argv).toContain(session.id);
  });

  it.each([
    ["is told in the conversation of the round before", "continue", true],
    ["is told in a new one with session: new", "new", false],
  ])("%s", async (_, how, resumed) => {
    home = testHome({ config: { checkoutGuard: "off", defaultAgent: "claude", agents: { claude: { command: claudeCli() } } } });
    mkdirSync(join(home.home, "prompts"));
    writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
    leaveConversation("0001-work", session.id, '{"type":"text","text":"done"}\n');
    const its = context(how === "new" ? { session: "new" } : {}, { runId: "0004-work", ticket: { phaseHistory } });
    const started = (await agent.start({ ...its, agent: "claude" })) as { spec: { argv: string[] }; prompt: string };
    expect(started.spec.argv.includes(session.id)).toBe(resumed);
    expect(started.prompt).toContain("work on T1");
    expect(started.prompt).toContain("lint fails");
    expect(started.prompt).not.toContain("nothing is wrong with your work");
  });
});

describe("P7 a run that used up what it may", () => {
  const session = { id: "11111111-2222-4333-8444-555555555555", provider: "claude" };
  const usage = { inputTokens: 100, outputTokens: 10, cacheReadTokens: 0, cacheWriteTokens: 0 };
  const spent = (costUsd: number) => ({ byModel: [{ model: "m", usage }], costUsd, partial: true });

  /** The phase with these limits, after a run that cost so much and ended like that. */
  async function ended(limits: NonNullable<RunSpec["limits"]>, costUsd: number, exit: Partial<ExitRecord>): Promise<TicketEvent> {
    const started = { ...context({}), budget: () => ({ limits, reserved: {} }) };
    const spec = specOf((await agent.start(started)) as Parameters<typeof specOf>[0]);
    expect(spec).toMatchObject({ limits });
    const report = agentReport(null, { session, spent: spent(costUsd), failure: exit.agent?.failure ?? null });
    return agent.settle(started, spec, exitRecord({ ...exit, agent: report }));
  }

  it("fails under its phase's own cap, whether we stopped it or its program did", async () => {
    const limits = [{ unit: "usd" as const, amount: 0.4, of: "phase" as const }];
    const failure = { category: "budget" as const, message: "Reached maximum budget ($0.4)" };
    const expected = { type: "failed", category: "budget", reason: 'It used $0.41 of the $0.40 that a run of "work" may use.', session };
    expect(await ended(limits, 0.41, { end: "budget" })).toMatchObject(expected);
    expect(await ended(limits, 0.41, { exitCode: 1, agent: agentReport(null, { failure }) })).toMatchObject(expected);
  });

  it("is interrupted under a wider cap, alone or together with others", async () => {
    const limits = [{ unit: "usd" as const, amount: 0.4, of: "plan" as const }];
    const expected = { type: "interrupted", category: "budget", session };
    expect(await ended(limits, 0.41, { end: "budget" })).toMatchObject({
      ...expected,
      reason: "It was stopped because the budget of its plan is used up.",
    });
    expect(await ended(limits, 0.1, { end: "budget" })).toMatchObject({
      ...expected,
      reason: "It was stopped because the budget is used up.",
    });
  });

  it("a limit on turns is none of its budget", async () => {
    const failure = { category: "budget" as const, message: "Reached maximum number of turns (2)" };
    const limits = [{ unit: "usd" as const, amount: 0.4, of: "plan" as const }];
    expect(await ended(limits, 0.3, { exitCode: 1, agent: agentReport(null, { failure }) })).toMatchObject({
      type: "failed",
      reason: failure.message,
    });
  });

  it("goes on in the same conversation", async () => {
    leaveConversation("0001-work", session.id, '{"type":"text","text":"I looked."}\n');
    const claude = {
      ...context({}).config,
      agents: { none: { command: claudeCli(), defaultArgs: [], trustRepository: false, env: {}, fallbackAgents: [] } },
    };
    const entry = {
      phase: "work",
      status: "interrupted" as const,
      startedAt: "",
      runId: "0001-work",
      category: "budget" as const,
      session,
    };
    const argvAfter = async (...phaseHistory: object[]) => {
      const begun = await agent.start({ ...context({}, { ticket: { phaseHistory: phaseHistory as never } }), config: claude });
      return begun.kind === "run" ? { argv: begun.spec.argv, prompt: begun.prompt } : undefined;
    };
    const resumed = await argvAfter(entry);
    expect(resumed?.argv).toContain("--resume");
    expect(resumed?.prompt).toContain("You were stopped in the middle of your work because the budget was used up.");
    const stopped = await argvAfter(entry, { ...entry, category: undefined });
    expect(stopped?.argv).toContain("--resume");
    expect(stopped?.prompt).toContain("You were interrupted in the middle of your work on this task.");
  });
});

describe("outputSchema", () => {
  const outputSchema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };

  it("an agent that takes none finds it in its prompt", async () => {
    const begun = await agent.start(context({ outputSchema }));
    expect(begun).toMatchObject({ kind: "run", prompt: expect.stringContaining("JSON that satisfies this JSON Schema") });
    if (begun.kind === "run") expect(begun.notes).toContainEqual(expect.stringContaining("takes no outputSchema"));
  });

  it("a final message that does not satisfy it fails with what is wrong, one that does is captured", async () => {
    expect(await run({ outputSchema }, "true", { says: "Done." })).toMatchObject({
      type: "failed",
      category: "verification",
      feedback: "Its final message is not the JSON that the outputSchema asks for.",
    });
    const capture = { name: { field: "name" } };
    expect(await run({ outputSchema, capture }, "true", { says: '{"name":"a"}' })).toMatchObject({
      type: "passed",
      captured: { name: "a" },
    });
  });
});

describe("a CLI that no flag keeps from code of the repository", () => {
  it("is not started there unless the configuration trusts the repository", async () => {
    writeFileSync(join(home.repo, "opencode.json"), "{}");
    home.git("add", "-A");
    home.git("commit", "-qm", "settings");
    const bin = join(home.dir, "bin");
    installCli(bin, { name: "opencode", version: "1.18.33", help: "Options:\n  --format  json\n" });
    home.env.PATH = `${bin}:${home.env.PATH}`;
    const start = (trustRepository: boolean) => {
      const agents = { none: { command: "opencode", defaultArgs: [], trustRepository, env: {}, fallbackAgents: [] } };
      const given = context({});
      return agent.start({ ...given, config: { ...given.config, agents } });
    };
    await expect(start(false)).rejects.toThrow(
      'Agent "none" is not started: opencode would run what the repository\'s opencode.json may name',
    );
    expect(await start(true)).toMatchObject({ kind: "run" });
  });
});

describe("the skills of a phase and of its ticket", () => {
  const skill = (name: string, text: string) => {
    const file = join(home.home, "skills", name, "SKILL.md");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `---\nname: ${name}\ndescription: About ${name}.\n---\n${text}\n`);
  };
  const prompt = async (phase: Phase, fields?: Fields) => {
    const started = await agent.start(context(phase, fields));
    return ("prompt" in started && started.prompt) || "";
  };

  it("stand where the template says, each once", async () => {
    skill("one", "First.");
    skill("two", "Second.");
    writeFileSync(join(home.home, "prompts", "work.md"), "{{ skills }}\nwork on {{ ticketId }}\n");
    const text = await prompt({ skills: ["two"] }, { ticket: { skills: ["one", "two"] } });
    expect(text.replace(/\s+/g, " ")).toMatch(/^## Skills .* ### Skill: two Second\. ### Skill: one First\. work on T1 $/);
  });

  it("of the phase stand at the end of a template that does not name them, and those of the ticket nowhere", async () => {
    skill("one", "First.");
    skill("two", "Second.");
    const text = await prompt({ skills: ["two"] }, { ticket: { skills: ["one"] } });
    expect(text).toMatch(/^work on T1\n\n## Skills\n[\s\S]*### Skill: two\n\nSecond\.\n$/);
    expect(text).not.toContain("First.");
  });

  it("keep the run from starting when one is missing", async () => {
    await expect(prompt({ skills: ["tesing"] })).rejects.toThrow(/there is no skill "tesing"/);
  });
});
