import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { stringify } from "yaml";
import { testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { testRunner } from "./testing/runner.ts";
import { until } from "./testing/until.ts";

const hour = 3600 * 1000;

describe("53 a clock that jumps", () => {
  it("back: a poll, a backoff and a try-later pause do not wait for the old time to come again", async () => {
    const home = testHome({ config: { retryBackoffSeconds: 100 } });
    home.writeWorkflow(
      "look.yaml",
      "name: look\nphases:\n  - {id: look, type: poll, command: once.sh, intervalSeconds: 100, onSuccess: done}\n  - {id: done, type: terminal}\n",
    );
    home.writeWorkflow(
      "work.yaml",
      "name: work\nphases:\n  - {id: work, type: script, command: once.sh, maxRetries: 1, onSuccess: done}\n  - {id: done, type: terminal}\n",
    );
    home.writeScript(
      "once.sh",
      `[ -e ${home.dir}/$ORCH_TICKET ] && exit 0\ntouch ${home.dir}/$ORCH_TICKET\n[ $ORCH_TICKET != LATER ] || exit 75\nexit 1\n`,
    );
    home.writePlan({ id: "p" }, [
      { ticketId: "POLL", workflow: "look" },
      { ticketId: "BACKOFF", workflow: "work" },
      { ticketId: "LATER", workflow: "work" },
    ]);
    const { runner } = await testRunner(home);
    const statuses = () => ["POLL", "BACKOFF", "LATER"].map((id) => home.ticket("p", id).status);
    await until(async () => {
      await runner.tick();
      return JSON.stringify(statuses()) === JSON.stringify(["waiting", "ready", "waiting"]);
    });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() - hour);
    await until(async () => {
      await runner.tick();
      return statuses().every((status) => status === "complete");
    });
  });

  it("ahead, as after a night in suspend: what runs goes on", async () => {
    const home = testHome();
    home.writeWorkflow(
      "work.yaml",
      "name: work\nphases:\n  - {id: work, type: script, command: work.sh, timeoutSeconds: 20, onSuccess: done}\n  - {id: done, type: terminal}\n",
    );
    writeFileSync(join(home.dir, "hold"), "");
    home.writeScript("work.sh", `touch ${home.dir}/started\nwhile [ -e ${home.dir}/hold ]; do sleep 0.02; done\n`);
    home.writePlan({ id: "p", workflow: "work" }, [{ ticketId: "A" }]);
    const { runner, settle } = await testRunner(home);
    await until(async () => {
      await runner.tick();
      return existsSync(join(home.dir, "started"));
    });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() + 8 * hour);
    for (let look = 0; look < 5; look++) await runner.tick();
    expect(home.ticket("p", "A").status).toBe("running");
    rmSync(join(home.dir, "hold"));
    await settle("p", { A: "complete" });
    expect(home.ticket("p", "A").phaseHistory.map(({ status }) => status)).toEqual(["success"]);
  });
});

it("57 a dirty checkout in the middle of a rebase, and a shallow clone, are worked beside and left exactly as they are", async () => {
  const home = testHome();
  home.writeWorkflow(
    "tree.yaml",
    `name: tree
phases:
  - { id: setup, type: script, command: setup-worktree.sh, args: ["{{ repo }}", "{{ branch }}", "{{ worktree }}"], onSuccess: clean }
  - { id: clean, type: script, command: cleanup-worktree.sh, args: ["{{ worktree }}", "{{ branch }}"], onSuccess: done }
  - { id: done, type: terminal }
`,
  );
  execFileSync("git", ["clone", "-q", "--depth=1", `file://${home.repo}`, join(home.dir, "shallow")], { env: home.env });
  home.git("checkout", "-qb", "side");
  writeFileSync(join(home.repo, "README.md"), "side\n");
  home.git("commit", "-qam", "side");
  home.git("checkout", "-q", "main");
  writeFileSync(join(home.repo, "README.md"), "main\n");
  home.git("commit", "-qam", "main");
  expect(spawnSync("git", ["rebase", "-q", "side"], { cwd: home.repo, env: home.env }).status).not.toBe(0);
  writeFileSync(join(home.repo, "scratch"), "");
  const look = () => [home.git("status"), home.git("diff"), home.git("stash", "list"), home.git("rev-parse", "HEAD")];
  const before = look();
  home.writePlan({ id: "p", workflow: "tree" }, [{ ticketId: "DIRTY" }, { ticketId: "SHALLOW", repo: join(home.dir, "shallow") }]);
  const { settle } = await testRunner(home);
  await settle("p", { DIRTY: "complete", SHALLOW: "complete" });
  expect(look()).toEqual(before);
});

const events = (...lines: object[]) => lines.map((line) => `echo '${JSON.stringify(line)}'`).join("\n");
const init = { type: "system", subtype: "init", session_id: "11111111-2222-4333-8444-555555555555", tools: [], model: "m" };
const lie = JSON.stringify({ type: "result", subtype: "success", is_error: false, result: "PASS", session_id: "x", num_turns: 1 });
const result = JSON.parse(lie) as object;

it("58 59 60 agents that do nothing, babble, lie, lose their login, die or leave processes end as what they are", async () => {
  const agents: Record<string, [string, string, Record<string, unknown>]> = {
    NOTHING: ["plain", "echo done", { status: "failed", error: "It left no change, and one was asked for." }],
    DIRTY: ["plain", "echo x > DIRTY.txt; echo done", { status: "complete" }],
    BYTES: ["plain", "echo x > b.txt; printf '\\xff\\xfe\\x80\\n\\0done\\n'", { status: "complete" }],
    ONELINE: ["plain", "echo x > l.txt; head -c 5000000 /dev/zero | tr '\\0' x", { status: "complete" }],
    SILENT: ["plain", "echo x > s.txt", { status: "failed" }],
    LIAR: [
      "claude",
      `${events(init, { type: "user", message: { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: lie }] } })}\nexit 1`,
      { status: "failed" },
    ],
    NOSESSION: ["claude", `echo x > n.txt\n${events(result)}`, { status: "complete" }],
    LOGIN: [
      "claude",
      `${events(init, { ...result, is_error: true, result: "Not logged in \u00b7 Please run /login" })}\nexit 1`,
      { status: "ready", category: "auth" },
    ],
    KILLED: ["plain", "kill -9 $$", { status: "needs_attention", error: expect.stringContaining("SIGKILL") }],
    LEAVER: ["plain", `echo x > v.txt; setsid sleep 600 & echo $! > "$ORCH_WORKTREE/../left"; echo done`, { status: "complete" }],
  };
  const home = testHome();
  home.writeWorkflow(
    "ask.yaml",
    "name: ask\nphases:\n  - {id: work, type: agent, promptTemplate: implement.md, changes: required, maxLost: 1, onSuccess: done}\n  - {id: done, type: terminal}\n",
  );
  const configured: Record<string, { command: string }> = {};
  for (const [id, [kind, script]] of Object.entries(agents)) {
    const dir = join(home.dir, "agents", id);
    execFileSync("mkdir", ["-p", dir]);
    const command = join(dir, kind);
    writeFileSync(
      command,
      `#!/bin/bash\n[ "$1" = --version ] && echo 2.1.0 && exit\n[ "$1" = --help ] && exit\ncat > /dev/null\n${script}\n`,
    );
    chmodSync(command, 0o755);
    configured[id] = { command };
  }
  const config = { defaultAgent: "NOTHING", agents: configured, pollInterval: 0.2, retryBackoffSeconds: 0 };
  writeFileSync(join(home.home, "config.yaml"), stringify(config), { mode: 0o600 });
  home.writePlan(
    { id: "p", workflow: "ask" },
    Object.keys(agents).map((ticketId) => ({ ticketId, agent: ticketId })),
  );
  const { runner } = await testRunner(home);
  await until(async () => {
    await runner.tick();
    const tickets = Object.keys(agents).map((id) => home.ticket("p", id));
    // The one whose agent has lost its login waits for it.
    return tickets.every(({ activity, phaseHistory }) => activity.state === "finished" || phaseHistory.at(-1)?.category === "auth");
  }, 25_000);
  const found = Object.keys(agents).map((id) => {
    const { status, error, phaseHistory } = home.ticket("p", id);
    return [id, { status, error, category: phaseHistory.at(-1)?.category }];
  });
  expect(found).toMatchObject(Object.entries(agents).map(([id, [, , expected]]) => [id, expected]));
  expect(home.git("show", "orch/p/DIRTY:DIRTY.txt")).toBe("x");
  const left = Number(readFileSync(join(home.dir, "worktrees", "p", "left"), "utf8"));
  // Gone, or dead and not yet collected by whoever inherited it.
  await until(() => /^(Z.*)?$/.test(spawnSync("ps", ["-o", "stat=", "-p", String(left)], { encoding: "utf8" }).stdout.trim()));
  const { stdout } = await runHere({ env: home.env, cwd: home.dir }, "status");
  expect(stdout).toContain("It left no change, and one was asked for.");
});
