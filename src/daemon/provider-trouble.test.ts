import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Park } from "../domain/park.ts";
import { runCli, startDaemon } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const fixtures = join(import.meta.dirname, "..", "agents", "fixtures");

/**
 * A home with an agent whose program is called `claude` and prints what a real one printed: `trouble` while that is set,
 * with the reset time that is given, else a success. Calls are noted with the time and the ticket.
 */
function troubledHome(config: Record<string, unknown> = {}, agents: Record<string, object> = {}) {
  const home = testHome();
  const at = (name: string) => join(home.dir, name);
  const program = at("claude");
  writeFileSync(
    program,
    `#!/bin/bash
case "$*" in *--help*|*--version*) exit 0;; esac
cat > /dev/null
echo "$(date +%s%3N) $ORCH_TICKET $*" >> ${at("calls")}
mkdir -p ~/.claude/projects/tree
for fixture in ${fixtures}/claude-oauth-*.jsonl; do
  echo {} > ~/.claude/projects/tree/$(grep -om1 '"session_id":"[^"]*' $fixture | cut -d'"' -f4).jsonl
done
if [ -e ${at("trouble")} ]; then
  read -r fixture reset < ${at("trouble")}
  if [ "$reset" = - ] || [ "$(date +%s)" -lt "$reset" ]; then
    sed "s/17952173[0-9][0-9]/$reset/g; s/resets 11:29pm (UTC)//" ${fixtures}/$fixture.jsonl
    exit 1
  fi
fi
echo "$ORCH_TICKET" > work.txt
cat ${fixtures}/claude-oauth-ok-ratelimit-allowed.jsonl
`,
    { mode: 0o755 },
  );
  writeFileSync(
    join(home.home, "config.yaml"),
    JSON.stringify({
      defaultAgent: "claude",
      agents: { claude: { command: program }, ...agents },
      pollInterval: 0.2,
      retryBackoffSeconds: 0,
      maxConcurrency: 2,
      notifyCommand: `cat >> ${at("notices")}`,
      ...config,
    }),
    { mode: 0o600 },
  );
  mkdirSync(join(home.home, "prompts"));
  writeFileSync(join(home.home, "prompts", "work.md"), "work on {{ ticketId }}\n");
  home.writeWorkflow("work.yaml", "name: work\nphases:\n  - { id: work, type: agent, promptTemplate: work.md, changes: required }\n");
  /** The last line may not be whole yet. */
  const lines = (name: string) => (existsSync(at(name)) ? readFileSync(at(name), "utf8").split("\n").slice(0, -1) : []);
  return {
    ...home,
    program,
    makePlan: (...ids: string[]) =>
      home.writePlan(
        { id: "p", workflow: "work" },
        ids.map((ticketId) => ({ ticketId })),
      ),
    trouble: (fixture: string, reset: number | "-" = "-") => writeFileSync(at("trouble"), `${fixture} ${reset}\n`),
    mend: () => rmSync(at("trouble"), { force: true }),
    calls: () => lines("calls").map((line) => ({ at: Number(line.split(" ")[0]), ticket: line.split(" ")[1], args: line })),
    notices: () => lines("notices").map((line) => JSON.parse(line) as { status: string; reason: string }),
    parks: () => (JSON.parse(readFileSync(join(home.home, "state", "agents.json"), "utf8")) as { parks: Record<string, Park> }).parks,
  };
}

/** Epoch seconds some time ahead, never a whole minute: that might mean any second of it. */
function resetIn(seconds: number): number {
  const at = Math.floor(Date.now() / 1000) + seconds;
  return at % 60 === 0 ? at + 1 : at;
}

/** What a ticket has spent of what it may. */
function spent(home: TestHome, ticketId: string) {
  const { retries, visits, lost, phaseHistory } = home.ticket("p", ticketId);
  return { retries, visits, lost, failures: phaseHistory.filter(({ status }) => status === "failure").length };
}
const unspent = { retries: { work: 0 }, visits: { work: 1 }, lost: {}, failures: 0 };

describe("P9 a usage limit", () => {
  it("parks the agent until its reset, over a restart, at no cost for any ticket and with one notice", { timeout: 90_000 }, async () => {
    const home = troubledHome();
    const reset = resetIn(12);
    home.trouble("claude-oauth-usage-limit-5h", reset);
    home.makePlan("A", "B", "C", "D");
    const first = await startDaemon(home);
    await until(() => home.notices().length > 0);
    await until(() => home.calls().length >= 2);
    await first.end("SIGKILL");
    const second = await startDaemon(home);
    const why = JSON.parse((await runCli(home, "why", "p", "D", "--json")).stdout) as { data: { reasons: object[] } };
    expect(why.data.reasons).toMatchObject([{ code: "parked", command: "orchestrator agents resume claude" }]);
    expect((await runCli(home, "status")).stdout).toMatch(
      /^Agents: Agent claude is parked until .*: usage limit \(You've hit your session limit/m,
    );
    expect(Date.now() / 1000, "the machine is too slow for this test").toBeLessThan(reset);

    const ids = ["A", "B", "C", "D"];
    await until(() => ids.every((id) => home.ticket("p", id).status === "complete"), 60_000);
    expect(home.calls().filter((call) => call.at < reset * 1000)).toHaveLength(2);
    for (const id of ids) expect(spent(home, id)).toEqual(unspent);
    const turnedAway = ids.flatMap((id) => home.ticket("p", id).phaseHistory).filter(({ category }) => category === "usage_limit");
    expect(turnedAway).toHaveLength(2);
    expect(home.notices().map(({ status }) => status)).toEqual(["agent_parked"]);
    // One run tried, and nothing ran beside it.
    const [, , probe, next] = home.calls();
    const tried = ids
      .flatMap((id) => home.ticket("p", id).phaseHistory)
      .find(({ status, startedAt }) => status === "success" && Date.parse(startedAt) < (probe?.at ?? 0));
    expect(next?.at).toBeGreaterThanOrEqual(Date.parse(tried?.completedAt ?? ""));
    expect(home.parks()).toEqual({});
    expect(await second.end("SIGTERM")).toBe(0);
  });

  it("in the middle of the work goes on in the same conversation", { timeout: 60_000 }, async () => {
    const home = troubledHome();
    home.trouble("claude-oauth-usage-limit-midturn", resetIn(6));
    home.makePlan("A");
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete" }, 50_000);
    const session = home.ticket("p", "A").phaseHistory[0]?.session?.id ?? "none";
    expect(home.calls().map(({ args }) => args.includes(`--resume ${session}`))).toEqual([false, true]);
    expect(spent(home, "A")).toEqual(unspent);
  });
});

describe("P9 a login that has expired", () => {
  it("waits for a person, who ends it by a command", { timeout: 60_000 }, async () => {
    const home = troubledHome({ resumeAgents: "manual" });
    home.trouble("claude-oauth-401");
    home.makePlan("A", "B", "C");
    const opened = await testRunner(home);
    await until(async () => {
      await opened.runner.tick();
      return home.notices().length > 0 && opened.runner.running().length === 0;
    });
    const agents = JSON.parse((await runCli(home, "agents", "--json")).stdout) as { data: { agents: object[] } };
    expect(agents.data.agents).toMatchObject([{ name: "claude", account: "claude", state: "parked", category: "auth", until: null }]);
    const called = home.calls().length;
    expect(called).toBeLessThanOrEqual(2);
    home.mend();
    expect(await opened.runner.intend({ type: "resume-agent", agent: "nobody", by: "ann" })).toMatchObject({ result: "refused" });
    expect(await opened.runner.intend({ type: "resume-agent", agent: "claude", by: "ann" })).toMatchObject({
      result: "applied",
      message: expect.stringContaining("Agent claude is being tried out with 1 at a time: auth"),
    });
    await opened.settle("p", { A: "complete", B: "complete", C: "complete" }, 40_000);
    for (const id of ["A", "B", "C"]) expect(spent(home, id)).toEqual(unspent);
    expect(home.notices().map(({ status }) => status)).toEqual(["agent_parked"]);
    expect(home.calls()).toHaveLength(called + 3);
  });

  it("has another agent take over, and the history says who it was", { timeout: 60_000 }, async () => {
    const other = { other: { command: "bash", defaultArgs: ["-c", "cat > /dev/null; echo other > work.txt; echo done"] } };
    const home = troubledHome({}, other);
    const config = JSON.parse(readFileSync(join(home.home, "config.yaml"), "utf8"));
    config.agents.claude.fallbackAgents = ["other"];
    writeFileSync(join(home.home, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
    home.trouble("claude-oauth-401");
    home.makePlan("A", "B", "C");
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete", B: "complete", C: "complete" }, 40_000);
    const last = ["A", "B", "C"].map((id) => home.ticket("p", id).phaseHistory.at(-1));
    expect(last.map((entry) => `${entry?.agent} ${entry?.status}`)).toEqual(["other success", "other success", "other success"]);
    expect(home.calls().length).toBeLessThanOrEqual(2);
    for (const id of ["A", "B", "C"]) expect(spent(home, id)).toEqual(unspent);
  });

  it("P10 a file of parks that cannot be read parks nobody, and everybody is told", { timeout: 30_000 }, async () => {
    const home = troubledHome();
    mkdirSync(join(home.home, "state"), { recursive: true });
    writeFileSync(join(home.home, "state", "agents.json"), '{"parks": {"claude": 7}}');
    expect((await runCli(home, "agents")).stdout).toContain("this is not what a daemon writes");
    expect((await runCli(home, "status")).stdout).toContain("no agent counts as parked");
    home.makePlan("A");
    const { settle } = await testRunner(home);
    await settle("p", { A: "complete" });
    expect(readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8")).toContain("no agent counts as parked");
  });
});
