import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const oneScript = `name: one
phases:
  - id: work
    type: script
    command: work.sh
    args: ["{{ ticketId }}"]
    maxRetries: 3
    onSuccess: done
    onFailure: stuck
  - id: done
    type: terminal
  - id: stuck
    type: terminal
    notify: true
`;

it("walks a ticket through a script to its end", async () => {
  const home = testHome();
  home.writeWorkflow("one.yaml", oneScript);
  home.writeScript("work.sh", 'echo "did $1"\n');
  home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "T1" }]);
  const runner = await testRunner(home);
  await runner.settle("p", { T1: "complete" });
  const ticket = home.ticket("p", "T1");
  expect(ticket.phaseHistory).toMatchObject([{ phase: "work", status: "success", output: "did T1\n", runId: "0001-work" }]);
  await until(() => home.plan("p").status === "complete");
});

it("maxRetries: 3 means four runs, then the failure edge", async () => {
  const home = testHome();
  home.writeWorkflow("one.yaml", oneScript);
  home.writeScript("work.sh", 'echo "no luck" >&2; exit 1\n');
  home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "T1" }]);
  const runner = await testRunner(home);
  await runner.settle("p", { T1: "needs_attention" });
  const ticket = home.ticket("p", "T1");
  expect(ticket.phaseHistory.map(({ runId, status }) => `${runId} ${status}`)).toEqual([
    "0001-work failure",
    "0002-work failure",
    "0003-work failure",
    "0004-work failure",
  ]);
  expect(ticket.error).toBe("work.sh ended with exit code 1: no luck");
});

it("polls until the script is done, without history noise, and bounds the wait", async () => {
  const home = testHome();
  home.writeWorkflow(
    "polls.yaml",
    `name: polls
phases:
  - { id: wait_for_it, type: poll, command: check.sh, intervalSeconds: 0.05, timeoutSeconds: 20, capture: { answer: stdout }, onSuccess: settle, onFailure: gave_up }
  - { id: settle, type: wait, seconds: 0.1, onSuccess: never }
  - { id: never, type: poll, command: never.sh, intervalSeconds: 0.05, timeoutSeconds: 0.3, onSuccess: done, onFailure: gave_up }
  - { id: done, type: terminal }
  - { id: gave_up, type: terminal, notify: true }
`,
  );
  home.writeScript("check.sh", `echo x >> ${home.dir}/looks; [ $(wc -l < ${home.dir}/looks) -ge 3 ] && echo found\n`);
  home.writeScript("never.sh", "exit 1\n");
  home.writePlan({ id: "p", workflow: "polls" }, [{ ticketId: "T1" }]);
  const runner = await testRunner(home);
  await runner.settle("p", { T1: "needs_attention" });
  const ticket = home.ticket("p", "T1");
  expect(ticket.context).toEqual({ answer: "found" });
  expect(ticket.phaseHistory.map(({ phase, status, category }) => [phase, status, category])).toEqual([
    ["wait_for_it", "success", undefined],
    ["settle", "success", undefined],
    ["never", "failure", "timeout"],
  ]);
});

it("a gate waits for a person, and a rejection goes back with its feedback", async () => {
  const home = testHome();
  home.writeWorkflow(
    "gated.yaml",
    `name: gated
phases:
  - { id: work, type: script, command: work.sh, onSuccess: approval }
  - { id: approval, type: gate, message: Look at it., onSuccess: done, onFailure: work }
  - { id: done, type: terminal }
`,
  );
  home.writeScript("work.sh", "echo worked\n");
  home.writePlan({ id: "p", workflow: "gated" }, [{ ticketId: "T1" }]);
  const { runner } = await testRunner(home);
  const reach = (reached: (ticket: Ticket) => boolean) =>
    until(async () => {
      await runner.tick();
      return reached(home.ticket("p", "T1"));
    });
  await reach(({ status }) => status === "awaiting_approval");
  expect(await runner.intend({ type: "reject", planId: "p", ticketId: "T1", by: "ada", feedback: "again, please" })).toMatchObject({
    result: "applied",
  });
  await reach(({ visits }) => visits.approval === 2);
  expect(home.ticket("p", "T1").feedback).toEqual({ approval: "again, please" });
  expect(await runner.intend({ type: "approve", planId: "p", ticketId: "T1", by: "ada" })).toMatchObject({ result: "applied" });
  await reach(({ status }) => status === "complete");
  expect(await runner.intend({ type: "approve", planId: "p", ticketId: "T1", by: "ada" })).toMatchObject({ result: "refused" });
});

it("P11 a phase that cannot start says why and which file to mend, and stops nobody else", async () => {
  const home = testHome();
  home.writeWorkflow("one.yaml", oneScript);
  home.writeScript("work.sh", "true\n");
  home.writePlan({ id: "p", workflow: "one" }, [
    { ticketId: "NOREPO", repo: "/does/not/exist" },
    { ticketId: "NOFLOW", workflow: "nope" },
    { ticketId: "GOOD" },
  ]);
  const runner = await testRunner(home);
  await runner.settle("p", { GOOD: "complete", NOFLOW: "needs_attention", NOREPO: "needs_attention" });
  expect(home.ticket("p", "NOREPO").error).toContain("/does/not/exist");
  expect(home.ticket("p", "NOFLOW").error).toContain('There is no workflow "nope"');
});

it("P12 gives programs an allow-listed environment, prompts on stdin, and keeps state private", async () => {
  const home = testHome({
    config: {
      defaultAgent: "spy",
      agents: { spy: { command: "bash", defaultArgs: ["-c", "env; cat; tr '\\0' '\\n' < /proc/$$/cmdline"] } },
    },
  });
  Object.assign(home.env, {
    GH_TOKEN: "gh-of-the-user",
    AWS_SECRET_ACCESS_KEY: "aws-of-the-user",
    ANTHROPIC_API_KEY: "anthropic-of-the-user",
  });
  home.writeWorkflow(
    "spy.yaml",
    `name: spy
phases:
  - { id: look, type: script, command: env.sh, onSuccess: spy }
  - { id: spy, type: agent, promptTemplate: spy.md, onSuccess: done }
  - { id: done, type: terminal }
`,
  );
  home.writeScript("env.sh", "env\n");
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "spy.md"), "the prompt for {{ ticketId }}\n");
  home.writePlan({ id: "p", workflow: "spy" }, [{ ticketId: "T1", title: '$(touch pwned) "; rm -rf / #' }]);
  const runner = await testRunner(home);
  await runner.settle("p", { T1: "complete" });
  const runs = join(home.home, "run", "p", "T1");
  const script = readFileSync(join(runs, "0001-look", "stdout.log"), "utf8");
  const agent = readFileSync(join(runs, "0002-spy", "stdout.log"), "utf8");
  expect(script).toContain("GH_TOKEN=");
  expect(script).toContain('ORCH_TITLE=$(touch pwned) "; rm -rf / #');
  for (const output of [script, agent]) expect(output).not.toContain("aws-of-the-user");
  expect(agent).not.toMatch(/GH_TOKEN|ANTHROPIC_API_KEY|ORCH_NODE/);
  expect(agent).toContain("the prompt for T1");
  expect(agent.split("\n").filter((line) => line.includes("the prompt for T1"))).toHaveLength(1);
  // The value of a secret that a script printed is not written down, anywhere below home.
  expect(spawnSync("grep", ["-rl", "-e", "gh-of-the-user", "-e", "aws-of-the-user", home.home], { encoding: "utf8" }).stdout).toBe("");
  const open = execFileSync("find", [home.home, "!", "-type", "l", "-perm", "/077"], { encoding: "utf8" }).trim().split("\n");
  expect(open.filter((path) => !/\/(workflows|prompts|scripts|state)(\/|$)/.test(path) && path !== "")).toEqual([]);
});

it("P5 a refusal whose answer a crash kept from being written does not come back as applied", async () => {
  const home = testHome();
  home.writeWorkflow("one.yaml", oneScript);
  home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "T1" }]);
  const { runner } = await testRunner(home);
  await runner.intend({ type: "pause", planId: "p", ticketId: "T1", by: "ada", reason: "" }, "intent-1");
  const retry = { type: "retry", planId: "p", ticketId: "T1", by: "ada" } as const;
  const refused = { result: "refused", message: "Ticket p/T1 has not started; it starts when its blockers are complete." };
  expect(await runner.intend(retry, "intent-2")).toEqual(refused);
  // The next daemon finds the same intent in the inbox.
  expect(await runner.intend(retry, "intent-2")).toEqual(refused);
});
