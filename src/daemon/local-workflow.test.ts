import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

/** A home whose agent is a bash script; it finds ORCH_PHASE and ORCH_TICKET in its environment and the prompt on stdin. */
function homeWithAgent(script: string, options: Parameters<typeof testHome>[0] = {}): TestHome {
  const home = testHome({ ...options, config: { defaultAgent: "fake", agents: { fake: { command: "" } }, ...options.config } });
  const command = join(home.dir, "fake-agent.sh");
  writeFileSync(command, `#!/bin/bash\nprompt=$(cat)\n${script}\n[ $ORCH_PHASE = self_review ] || echo done\n`);
  chmodSync(command, 0o755);
  const config = join(home.home, "config.yaml");
  writeFileSync(config, readFileSync(config, "utf8").replace('command: ""', `command: ${command}`));
  return home;
}

const pass = `echo '{"verdict":"pass","summary":"good","findings":[]}'`;

describe("the local workflow", () => {
  it("merges two tickets, the second on top of the first, and leaves the dirty checkout as it was", async () => {
    const home = homeWithAgent(`case $ORCH_PHASE in
  implement) ls > seen-by-$ORCH_TICKET; echo "$ORCH_TICKET" > $ORCH_TICKET.txt; echo "wrote $ORCH_TICKET.txt";;
  self_review) ${pass};;
  *) echo "nothing to do";;
esac`);
    writeFileSync(join(home.repo, "README.md"), "# Edited by hand\n");
    writeFileSync(join(home.repo, "scratch.txt"), "untracked\n");
    const before = [home.git("status", "--porcelain"), home.git("rev-parse", "HEAD"), home.git("diff")];
    home.writePlan({ id: "p", checks: { ok: "test -f README.md" } }, [{ ticketId: "A" }, { ticketId: "B", blockedBy: ["A"] }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete", B: "complete" }, 60_000);
    expect(home.git("ls-tree", "--name-only", "orchestrator/main").split("\n")).toEqual([
      "A.txt",
      "B.txt",
      "README.md",
      "seen-by-A",
      "seen-by-B",
    ]);
    expect(home.git("show", "orchestrator/main:seen-by-B").split("\n")).toContain("A.txt");
    expect(home.git("log", "-1", "--format=%B", "orchestrator/main^2")).toBe(
      "feat: B\n\nTicket: p/B\nOrchestrator-Attempt: 0002-implement",
    );
    expect([home.git("status", "--porcelain"), home.git("rev-parse", "HEAD"), home.git("diff")]).toEqual(before);
    await until(() => home.plan("p").status === "complete");
    // The worktree that was parked for more tickets goes once there are none to come.
    await until(() => home.git("worktree", "list").split("\n").length === 1, 40_000);
  }, 90_000);

  it("P8 a verdict of FAIL with exit code 0 returns to implement, with its feedback in the prompt", async () => {
    const home = homeWithAgent(`case $ORCH_PHASE in
  implement) echo "$prompt" | grep -q "off by one" && echo fixed >> a.txt || echo wrong >> a.txt;;
  self_review) if grep -q fixed a.txt; then ${pass}; else echo '{"verdict":"fail","summary":"wrong","findings":[{"severity":"blocking","message":"off by one","file":"a.txt","line":1}]}'; fi;;
esac`);
    home.writePlan({ id: "p" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    const ticket = home.ticket("p", "A");
    expect(ticket.phaseHistory.map(({ phase, status }) => `${phase} ${status}`)).toEqual([
      "setup success",
      "implement success",
      "checks success",
      "self_review failure",
      "implement success",
      "checks success",
      "self_review success",
      "simplify success",
      "verify success",
      "merge success",
      "cleanup success",
    ]);
    expect(ticket.phaseHistory[3]).toMatchObject({ category: "verification", reason: "wrong" });
    expect(ticket.feedback).toEqual({});
  });

  it("P8 an agent that changes nothing where a change was asked for fails", async () => {
    const home = homeWithAgent('echo "All done, everything works!"');
    home.writePlan({ id: "p" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "needs_attention" });
    expect(home.ticket("p", "A").error).toBe("It left no change, and one was asked for.");
  });

  it("P8 a missing verdict is asked for once more, then fails the phase", async () => {
    const home = homeWithAgent('[ $ORCH_PHASE = implement ] && date +%N >> a.txt; echo "looks fine to me"');
    home.writePlan({ id: "p" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "needs_attention" }, 60_000);
    const reviews = home.ticket("p", "A").phaseHistory.filter(({ phase }) => phase === "self_review");
    // Four visits, as many as the workflow allows, each with one reminder.
    expect(reviews).toHaveLength(8);
  }, 90_000);

  it("P3 takes back what a read-only phase changed, and keeps it for restore", async () => {
    const home = homeWithAgent(`case $ORCH_PHASE in
  implement) echo "$ORCH_ATTEMPT" >> a.txt;;
  self_review) echo sneaky >> a.txt; echo new > b.txt; ${pass};;
esac`);
    home.writePlan({ id: "p" }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "needs_attention" });
    const review = home.ticket("p", "A").phaseHistory.find(({ phase }) => phase === "self_review");
    expect(review).toMatchObject({ status: "failure", category: "scope" });
    expect(review?.reason).toContain("a.txt, b.txt");
    expect(home.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/recovery/p/A").split("\n").length).toBeGreaterThan(0);
    expect(home.git("show", "orch/p/A:a.txt")).not.toContain("sneaky");
  });

  it("P8 checks block new failures and let old ones be", async () => {
    const home = homeWithAgent(
      `case $ORCH_PHASE in
  implement) echo "$prompt" | grep -q "^### Check .new.: exit code 1" && rm -f broken || touch broken; echo "$ORCH_ATTEMPT" >> a.txt;;
  self_review) ${pass};;
esac`,
    );
    home.writePlan({ id: "p", checks: { old: "test -f never-there", new: "test ! -f broken" } }, [{ ticketId: "A" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete" });
    const checks = home.ticket("p", "A").phaseHistory.filter(({ phase }) => phase === "checks");
    expect(checks.map(({ status, reason }) => [status, reason])).toEqual([
      ["failure", "New failures in new."],
      ["success", undefined],
    ]);
  });

  it("ends as a conflict when both sides changed the same lines", async () => {
    const home = homeWithAgent(`case $ORCH_PHASE in
  implement) echo "by $ORCH_TICKET" > shared.txt;;
  self_review) ${pass};;
  simplify) [ $ORCH_TICKET = A ] || while [ "$(git log -1 --format=%s orchestrator/main 2>/dev/null)" != "Merge A: A" ]; do sleep 0.05; done;;
esac`);
    home.writePlan({ id: "p" }, [{ ticketId: "A" }, { ticketId: "B" }]);
    const runner = await testRunner(home);
    await runner.settle("p", { A: "complete", B: "needs_attention" });
    const ticket = home.ticket("p", "B");
    expect(ticket.currentPhase).toBe("merge_conflict");
    expect(ticket.phaseHistory.at(-1)).toMatchObject({ phase: "merge", category: "conflict" });
    await until(() => home.plan("p").status === "blocked");
  });
});
