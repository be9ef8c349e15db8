import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { runCli, startCli, startDaemon } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

/**
 * A home whose agent speaks as claude does and keeps transcripts as it does. Each call notes how it was started and what it
 * was told; it works for as long as `hold` stands, and gives the verdict of `verdict`. Without -p it is claude's own interface.
 */
function ladderHome(phase = "") {
  const home = testHome();
  const at = (name: string) => join(home.dir, name);
  const program = at("claude");
  writeFileSync(
    program,
    `#!/bin/bash
case "$*" in *--help*|*--version*) exit 0;; esac
how=interface
[[ " $* " == *" -p "* ]] && { how=begin; prompt=$(cat); }
while [ $# -gt 0 ]; do
  case "$1" in --session-id) session=$2;; --resume) session=$2; [ $how = begin ] && how=resume;; esac
  shift
done
[ $how = interface ] || printf '%s\n' "$prompt" > ${at("prompt")}.$(($(wc -l < ${at("calls")} 2> /dev/null || echo 0) + 1))
echo "$how $session" >> ${at("calls")}
if [ $how = interface ]; then
  echo "in person" >> person.txt
  while [ -e ${at("interface")} ]; do sleep 0.02; done
  exit 3
fi
transcript=~/.claude/projects/tree/$session.jsonl
if [ $how = resume ] && { [ -e ${at("forgetful")} ] || [ ! -e $transcript ]; }; then
  echo '{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,"session_id":"'$session'","errors":["No conversation found with session ID: '$session'"],"usage":{},"total_cost_usd":0}'
  exit 1
fi
mkdir -p ~/.claude/projects/tree
echo {} >> $transcript
echo '{"type":"system","subtype":"init","session_id":"'$session'","model":"m","tools":[]}'
echo '{"type":"assistant","message":{"id":"1","content":[{"type":"tool_use","id":"t","name":"Write","input":{"file_path":"'$PWD'/work.txt","content":"x"}}]},"parent_tool_use_id":null,"session_id":"'$session'"}'
echo $how >> work.txt
while [ -e ${at("hold")} ]; do sleep 0.02; done
read -r verdict < ${at("verdict")}
rm -f ${at("verdict")}; echo PASS > ${at("verdict")}
echo '{"type":"result","subtype":"success","is_error":false,"result":"'$verdict'","session_id":"'$session'","usage":{"input_tokens":1,"output_tokens":1},"total_cost_usd":0}'
`,
    { mode: 0o755 },
  );
  writeFileSync(at("verdict"), "PASS\n");
  const config = { defaultAgent: "claude", agents: { claude: { command: program } }, pollInterval: 0.2, retryBackoffSeconds: 0 };
  writeFileSync(join(home.home, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "# Task {{ ticketId }}\n");
  home.writeWorkflow(
    "work.yaml",
    `name: work\nphases:\n  - { id: work, type: agent, promptTemplate: work.md, verdict: passfail, maxRetries: 1${phase} }\n`,
  );
  home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
  const ticket = () => home.ticket("p", "A");
  return {
    ...home,
    at,
    set: (name: string) => writeFileSync(at(name), ""),
    clear: (name: string) => rmSync(at(name), { force: true }),
    calls: () => (existsSync(at("calls")) ? readFileSync(at("calls"), "utf8").trim().split("\n") : []),
    prompt: (n: number) => readFileSync(`${at("prompt")}.${n}`, "utf8").trim(),
    history: () => ticket().phaseHistory.map(({ status, category }) => [status, category].filter(Boolean).join(" ")),
    transcript: (session: string) => join(home.env.HOME ?? "", ".claude", "projects", "tree", `${session}.jsonl`),
    working: () =>
      until(() => ticket().currentSession !== null && existsSync(join(home.dir, "calls")) && ticket().activity.state === "running"),
    now: ticket,
    /** Kills the run under way with everything in it. */
    killRun: (runId: string) => {
      const claim = JSON.parse(readFileSync(join(home.home, "run", "p", "A", runId, "claim.json"), "utf8")) as { pid: number };
      process.kill(claim.pid, "SIGKILL");
    },
  };
}

type LadderHome = ReturnType<typeof ladderHome>;

/** A run that is killed in its work; the next one is held back until `then` has been done. */
async function afterKill(home: LadderHome, then: (session: string) => void): Promise<string[]> {
  home.set("hold");
  const { runner, settle } = await testRunner(home);
  const tick = async (isDone: () => boolean) => {
    await runner.tick();
    return isDone();
  };
  await until(() => tick(() => home.now().currentSession !== null));
  const session = home.now().currentSession?.id ?? "";
  await until(() => existsSync(home.transcript(session)));
  runner.setDispatching(false);
  home.killRun("0001-work");
  await until(() => tick(() => home.now().activity.state === "ready"));
  then(session);
  home.clear("hold");
  runner.setDispatching(true);
  await settle("p", { A: "complete" });
  expect(home.now().retries).toEqual({ work: 0 });
  return home.calls().map((call) => call.replace(session, "S").replace(/[0-9a-f-]{36}/, "T"));
}

describe("a phase that runs again", () => {
  it("P5 goes on in the conversation of a run that was killed, and is told so", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    expect(await afterKill(home, () => {})).toEqual(["begin S", "resume S"]);
    expect(home.prompt(2)).toMatch(/^You were interrupted in the middle .*\n\nThe task, as it stands now:\n\n# Task A$/s);
    expect(home.history()).toEqual(["lost", "success"]);
  });

  it("begins a new one with a digest where the transcript is gone", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    expect(await afterKill(home, (session) => rmSync(home.transcript(session)))).toEqual(["begin S", "begin T"]);
    expect(home.prompt(2)).toMatch(
      /^## What was done before\n\nAgent "claude" worked on phase `work`.*Files it changed, quoted:\n\n```text\nwork\.txt\n```/s,
    );
    expect(home.prompt(2)).toMatch(/## The task\n\n# Task A$/);
  });

  it("begins a new one while somebody has the old one open", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    const open = (session: string) => {
      const child = spawn(process.execPath, ["-e", "process.stdin.resume()", "--", "--resume", session], {
        stdio: ["pipe", "ignore", "ignore"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
    };
    expect(await afterKill(home, open)).toEqual(["begin S", "begin T"]);
    expect(home.prompt(2)).toContain("## What was done before");
  });

  it("loses no attempt when the program does not know the conversation, and does not ask for it again", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    expect(await afterKill(home, () => home.set("forgetful"))).toEqual(["begin S", "resume S", "begin T"]);
    expect(home.history()).toEqual(["lost", "interrupted environment", "success"]);
    expect(home.prompt(3)).toContain("## What was done before");
  });

  it("goes on after a failure, and is told what it was", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    writeFileSync(home.at("verdict"), "FAIL: the build is red\n");
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete" });
    const [first, second] = home.calls().map((call) => call.split(" "));
    expect(second).toEqual(["resume", first?.[1]]);
    expect(home.prompt(2)).toMatch(/^You worked on this task in this conversation.*Repair what is wrong.*# Task A\n.*the build is red/s);
  });

  it("begins anew after a failure where its phase says so", { timeout: 60_000 }, async () => {
    const home = ladderHome(", session: new");
    writeFileSync(home.at("verdict"), "FAIL: the build is red\n");
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete" });
    expect(home.calls().map((call) => call.split(" ")[0])).toEqual(["begin", "begin"]);
    expect(home.prompt(2)).toMatch(/^# Task A\n.*the build is red/s);
  });
});

describe("a person who steps in", () => {
  it("send stops the run, which goes on in its conversation with the message at no attempt", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    home.set("hold");
    await startDaemon(home);
    await home.working();
    const sent = await runCli(home, "send", "p", "A", "keep the old endpoint");
    expect(sent).toMatchObject({ code: 0, stdout: "Run 0001-work of p/A is being stopped; its agent goes on with your message.\n" });
    await until(() => home.calls().length === 2);
    home.clear("hold");
    await until(() => home.now().status === "complete");
    const [first, second] = home.calls().map((call) => call.split(" "));
    expect(second).toEqual(["resume", first?.[1]]);
    expect(home.prompt(2)).toContain("The person in charge of this ticket (uid 0) says:\n\nkeep the old endpoint\n");
    expect(home.history()).toEqual(["interrupted", "success"]);
    expect(home.now()).toMatchObject({ retries: { work: 0 }, messages: [] });
    expect((await runCli(home, "logs", "p", "A")).stdout).toContain("by uid 0: keep the old endpoint");
    expect(await runCli(home, "send", "p", "A", "and now?")).toMatchObject({ code: 4, stderr: expect.stringContaining("p/A is complete") });
    expect(await runCli(home, "send", "p", "A")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("What is the agent to be told?"),
    });
  });

  it("attach stops the run, holds the ticket for the person, and gives it back into the same conversation", {
    timeout: 60_000,
  }, async () => {
    const home = ladderHome();
    home.set("hold");
    home.set("interface");
    await startDaemon(home);
    await home.working();
    const session = home.now().currentSession?.id;
    const attached = startCli(home, "attach", "p", "A");
    await until(() => home.calls().includes(`interface ${session}`));
    expect(home.now()).toMatchObject({ status: "paused", activity: { state: "ready" }, hold: { by: "uid 0", takeover: { by: "uid 0" } } });
    expect((await runCli(home, "why", "p", "A")).stdout).toContain(`uid 0 took it over at`);
    expect(await runCli(home, "attach", "p", "A")).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("is taken over by uid 0 since"),
    });
    expect(await runCli(home, "retry", "p", "A")).toMatchObject({ code: 4, stderr: expect.stringContaining("is taken over by uid 0") });
    home.clear("hold");
    home.clear("interface");
    expect(await attached.ended).toBe(3);
    expect(attached.stderr()).toContain("p/A is handed back");
    await until(() => home.now().status === "complete");
    expect(home.calls()).toEqual([`begin ${session}`, `interface ${session}`, `resume ${session}`]);
    expect(home.prompt(3)).toContain("A person (uid 0) worked here since your last run");
    expect(home.history()).toEqual(["interrupted", "takeover", "success"]);
    expect(home.now().phaseHistory[1]).toMatchObject({ phase: "work", by: "uid 0", session: { id: session, provider: "claude" } });
    expect((await runCli(home, "sessions", "p", "A")).stdout).toMatch(/2\. +work +takeover by uid 0 /);
    expect(home.git("show", "orch/p/A:person.txt")).toBe("in person");
    expect(await runCli(home, "attach", "p", "A")).toMatchObject({ code: 4, stderr: expect.stringContaining("has ended (complete)") });
  });

  it("attach works without a daemon, and --keep leaves the ticket paused", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    home.set("hold");
    const daemon = await startDaemon(home);
    await home.working();
    await daemon.end("SIGKILL");
    const attached = await runCli(home, "attach", "p", "A", "--keep");
    expect(attached).toMatchObject({ code: 3, stderr: expect.stringContaining("orchestrator resume p A lets it go on") });
    expect(home.history()).toEqual(["interrupted", "takeover"]);
    expect(home.now()).toMatchObject({ status: "paused", hold: { by: "uid 0", reason: "taken over" } });
    expect(home.now().hold).not.toHaveProperty("takeover");
  });

  it("attach says what it cannot open before it stops anything", { timeout: 60_000 }, async () => {
    const home = ladderHome();
    expect(await runCli(home, "attach", "p", "A")).toMatchObject({ code: 3, stderr: expect.stringContaining("has no session") });
  });
});
