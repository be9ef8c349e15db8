import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { limitsOf } from "../engine/world.ts";
import { ledgerFile } from "../state/layout.ts";
import { readLedger } from "../state/ledger.ts";
import { runCli } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";
import { createCosts } from "./costs.ts";

/**
 * A pi whose task takes four requests of $0.10 each. Its session file has a line per request, so that a resumed run does what is
 * left; SPENT has a line for everything that the provider was really asked.
 */
const pi = `#!/bin/bash
case "$*" in *--help*|*--version*) exit 0;; esac
while [ $# -gt 0 ]; do [ "$1" = --session ] && session=$2; shift; done
cat > /dev/null
trap 'exit 143' TERM
touch "$session"
echo '{"type":"session","version":3,"id":"s-'$ORCH_TICKET'"}'
usage='"usage":{"input":100,"output":10,"cacheRead":0,"cacheWrite":0,"cost":{"total":0.1}}'
while :; do
  sleep 0.3 & wait $!
  echo x >> "$session"; echo "$ORCH_TICKET" >> "$SPENT"
  done=$(wc -l < "$session")
  if [ "$done" -ge 4 ]; then break; fi
  echo '{"type":"message_end","message":{"role":"assistant","model":"m","content":[{"type":"text","text":"on it"}],"stopReason":"toolUse",'$usage'}}'
done
echo '{"type":"message_end","message":{"role":"assistant","model":"m","content":[{"type":"text","text":"done"}],"stopReason":"stop",'$usage'}}'
echo '{"type":"agent_end","messages":[]}'
`;

const workflow = (budget: string) => `name: paid
phases:
  - { id: work, type: agent, promptTemplate: work.md, onSuccess: done${budget} }
  - { id: done, type: terminal }
`;

function paidHome(options: {
  config?: Record<string, unknown>;
  budget?: string;
  plan?: Record<string, unknown>;
  tickets: number;
}): TestHome {
  const home = testHome({
    config: {
      defaultAgent: "pi",
      agents: { pi: { command: "PI", env: { SPENT: "SPENT_FILE" } } },
      maxConcurrency: 4,
      ...options.config,
    },
  });
  const file = join(home.home, "config.yaml");
  const command = join(home.dir, "bin", "pi");
  mkdirSync(join(home.dir, "bin"));
  writeFileSync(command, pi);
  chmodSync(command, 0o755);
  writeFileSync(file, readFileSync(file, "utf8").replace("PI", command).replace("SPENT_FILE", spentFile(home)));
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "Work on {{ ticketId }}.\n");
  home.writeWorkflow("paid.yaml", workflow(options.budget ?? ""));
  const ids = Array.from({ length: options.tickets }, (_, i) => ({ ticketId: `T${i + 1}` }));
  home.writePlan({ id: "p", workflow: "paid", ...options.plan }, ids);
  return home;
}

const spentFile = (home: TestHome) => join(home.dir, "spent");

/** What the provider was asked, in USD. */
function reallySpent(home: TestHome): number {
  const lines = existsSync(spentFile(home)) ? readFileSync(spentFile(home), "utf8").split("\n").length - 1 : 0;
  return lines / 10;
}

function setPlan(home: TestHome, change: Record<string, unknown>): void {
  const file = join(home.home, "state/plans/p/plan.json");
  writeFileSync(file, JSON.stringify({ ...home.plan("p"), ...change }, null, 2));
}

type Opened = Awaited<ReturnType<typeof testRunner>>;

async function ticksUntil({ runner }: Opened, reached: () => boolean): Promise<void> {
  await until(async () => {
    await runner.tick();
    return reached();
  }, 25_000);
}

const rest = (home: TestHome, ids: string[]) => ids.every((id) => home.ticket("p", id).activity?.state !== "running");
const allIds = (count: number) => Array.from({ length: count }, (_, i) => `T${i + 1}`);

function entriesOf(home: TestHome) {
  return readLedger(ledgerFile(join(home.home, "state"), "p")).entries;
}

it("P7 a plan's cap holds: ten tickets that want $0.40 each spend $1.00 and a request in flight, and go on once it is raised", async () => {
  const home = paidHome({ budget: ", budgetUsd: 0.45", plan: { budgetUsd: 1 }, tickets: 10 });
  const opened = await testRunner(home);
  const ids = allIds(10);
  const complete = () => ids.filter((id) => home.ticket("p", id).status === "complete").length;
  await ticksUntil(opened, () => complete() === 2 && rest(home, ids));
  expect(reallySpent(home)).toBeCloseTo(0.8);
  expect(ids.flatMap((id) => home.ticket("p", id).error ?? [])).toEqual([]);
  expect(home.plan("p").status).toBe("active");
  setPlan(home, { budgetUsd: 10 });
  await ticksUntil(opened, () => complete() === 10);
  expect(reallySpent(home)).toBeCloseTo(4);
  const entries = entriesOf(home);
  expect(entries.map(({ costUsd }) => costUsd ?? 0).reduce((sum, each) => sum + each, 0)).toBeCloseTo(4);
  expect(new Set(entries.map(({ ticketId, runId }) => `${ticketId}/${runId}`)).size).toBe(entries.length);
}, 60_000);

it("P7 runs that cost more than was thought are stopped at the cap, and go on in the same sessions once there is room", async () => {
  const home = paidHome({ config: { runEstimateUsd: 0.2 }, plan: { budgetUsd: 1 }, tickets: 4 });
  const first = await testRunner(home);
  const ids = allIds(4);
  await ticksUntil(first, () => entriesOf(home).length >= 4 && rest(home, ids));
  // Four requests may have been in flight.
  expect(reallySpent(home)).toBeGreaterThanOrEqual(0.9);
  expect(reallySpent(home)).toBeLessThan(1.45);
  const waiting = ids.filter((id) => home.ticket("p", id).status !== "complete");
  expect(waiting.length).toBeGreaterThan(0);
  for (const id of waiting) {
    const { retries, error, phaseHistory } = home.ticket("p", id);
    expect({ retries, error, last: phaseHistory.at(-1) }).toMatchObject({
      error: null,
      last: { status: "interrupted", category: "budget", session: { provider: "pi" } },
    });
    expect(retries.work ?? 0).toBe(0);
  }
  const spent = reallySpent(home);
  // A restart forgets nothing.
  const costs = createCosts({
    config: first.config,
    world: { plans: new Map([["p", {} as never]]), brokenPlans: new Map() },
    now: () => new Date().toISOString(),
    log: { warn: () => {} },
  });
  expect(limitsOf(first.config(), undefined, new Map(), costs.spending()).spending?.plans.get("p")?.usd).toBeGreaterThanOrEqual(1);
  setPlan(home, { budgetUsd: 5 });
  await ticksUntil(first, () => ids.every((id) => home.ticket("p", id).status === "complete"));
  // Whoever was stopped did only what was left.
  expect(reallySpent(home)).toBeCloseTo(1.6);
  expect(spent).toBeLessThan(1.6);
}, 60_000);

it("P7 a run that uses up its phase's own cap fails with the category budget", async () => {
  const home = paidHome({ budget: ", budgetUsd: 0.2", tickets: 1 });
  const opened = await testRunner(home);
  await opened.settle("p", { T1: "failed" });
  expect(home.ticket("p", "T1").phaseHistory).toMatchObject([{ status: "failure", category: "budget", costUsd: 0.2 }]);
  expect(home.ticket("p", "T1").error).toBe('It used $0.20 of the $0.20 that a run of "work" may use.');
  expect(entriesOf(home)).toMatchObject([{ status: "failed", costUsd: 0.2, partial: true, agent: "pi", model: "m" }]);
}, 60_000);

it("P11 a cap in which no run fits is found by check, and somebody is told of it once", async () => {
  const home = paidHome({ budget: ", budgetUsd: 0.45", plan: { budgetUsd: 0.4 }, tickets: 2 });
  const notices = join(home.dir, "notices");
  appendFileSync(join(home.home, "config.yaml"), `notifyCommand: cat >> ${notices}\n`);
  const opened = await testRunner(home);
  await ticksUntil(opened, () => existsSync(notices) && readFileSync(notices, "utf8").endsWith("\n"));
  const told = () =>
    readFileSync(notices, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  const reason = 'Plan "p" may use $0.40: $0.00 are spent, and a run of "work" is taken to need $0.45. orchestrator budget p --usd 0.45';
  expect(told()).toEqual([{ planId: "p", status: "out_of_budget", reason }]);
  const { code, stdout } = await runCli(home, "check", "--json");
  expect(code).toBe(8);
  expect(JSON.parse(stdout).data.findings).toMatchObject([
    {
      severity: "error",
      rule: "budget-too-small",
      file: join(home.home, "state/plans/p/plan.json"),
      field: "budgetUsd",
      message: 'a run of "work" is taken to need $0.45, so none ever starts under a cap of $0.40',
    },
  ]);
  setPlan(home, { budgetUsd: 0.42 });
  await ticksUntil(opened, () => told().length > 1);
  expect(told().slice(1)).toMatchObject([{ status: "out_of_budget", reason: expect.stringContaining("may use $0.42") }]);
}, 60_000);

it("the cap of a day keeps runs from starting, and is taken for spent after a restart", async () => {
  const home = paidHome({ config: { budgetUsdPerDay: 0.5, runEstimateUsd: 0.4 }, tickets: 2 });
  const opened = await testRunner(home);
  const ids = allIds(2);
  await ticksUntil(opened, () => ids.some((id) => home.ticket("p", id).status === "complete") && rest(home, ids));
  await opened.runner.tick();
  expect(reallySpent(home)).toBeCloseTo(0.4);
  expect(ids.map((id) => home.ticket("p", id).status).sort()).toEqual(["complete", "queued"]);
  const left = ids.find((id) => home.ticket("p", id).status === "queued") ?? "";
  expect(opened.runner.budgetWait("p", left)?.message).toBe(
    'All agents may use $0.50 today (until midnight UTC): $0.40 are spent, and a run of "work" is taken to need $0.40. budgetUsdPerDay in the configuration sets it.',
  );
}, 60_000);

it("P7 a run that dies with its supervisor counts once, with what it is known to have used", async () => {
  const home = paidHome({ plan: { budgetUsd: 5 }, tickets: 1 });
  const opened = await testRunner(home);
  const dir = join(home.home, "run/p/T1/0001-work");
  const used = () => existsSync(join(dir, "usage.json")) && readFileSync(join(dir, "usage.json"), "utf8").includes('"costUsd":0.1');
  await ticksUntil(opened, used);
  process.kill((JSON.parse(readFileSync(join(dir, "claim.json"), "utf8")) as { pid: number }).pid, "SIGKILL");
  await opened.settle("p", { T1: "complete" });
  const entries = entriesOf(home).map(({ runId, status, partial }) => ({ runId, status, partial }));
  expect(entries).toEqual([
    { runId: "0001-work", status: "lost", partial: true },
    { runId: "0002-work", status: "passed", partial: false },
  ]);
  expect(entriesOf(home)[0]?.costUsd).toBeGreaterThanOrEqual(0.1);
  expect(home.ticket("p", "T1").phaseHistory[0]).toMatchObject({ status: "lost", usage: { outputTokens: expect.any(Number) } });
}, 60_000);
