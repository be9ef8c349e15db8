import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { runCli, startDaemon } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { until } from "../testing/until.ts";

const workflow = `name: steps
phases:
  - { id: first, type: script, command: step.sh, onSuccess: second }
  - { id: second, type: script, command: step.sh, onSuccess: done }
  - { id: done, type: terminal }
`;

/** A home whose steps write start and end to a ledger and wait in between for as long as the file `hold` exists. */
function ledgerHome(config: Record<string, unknown> = {}): TestHome & { ledger(): string[]; hold(): void; release(): void } {
  const home = testHome({ config });
  const ledger = join(home.dir, "ledger");
  const hold = join(home.dir, "hold");
  home.writeWorkflow("steps.yaml", workflow);
  home.writeScript(
    "step.sh",
    `echo "start $ORCH_TICKET $ORCH_ATTEMPT" >> ${ledger}
while [ -e ${hold} ]; do sleep 0.02; done
echo "end $ORCH_TICKET $ORCH_ATTEMPT" >> ${ledger}
`,
  );
  // No test leaves a script behind that waits for ever.
  onTestFinished(() => rmSync(hold, { force: true }));
  return {
    ...home,
    ledger: () => (existsSync(ledger) ? readFileSync(ledger, "utf8").trim().split("\n") : []),
    hold: () => writeFileSync(hold, ""),
    release: () => rmSync(hold, { force: true }),
  };
}

const isComplete =
  (home: TestHome, ...ids: string[]) =>
  () =>
    ids.every((id) => home.ticket("p", id).status === "complete");

describe("the daemon", () => {
  it("P5 goes on with a run that outlived a killed daemon, and runs nothing twice", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }, { ticketId: "B" }]);
    const first = await startDaemon(home);
    await until(() => home.ledger().length === 2);
    await first.end("SIGKILL");
    const second = await startDaemon(home);
    home.release();
    await until(isComplete(home, "A", "B"));
    expect(home.ledger().filter((line) => line.startsWith("start"))).toHaveLength(4);
    expect(home.ticket("p", "A").phaseHistory.map(({ phase, status }) => `${phase} ${status}`)).toEqual([
      "first success",
      "second success",
    ]);
    expect(await second.end("SIGTERM")).toBe(0);
  });

  it("P5 uses the result of a run that ended while no daemon was there", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    const first = await startDaemon(home);
    await until(() => home.ledger().length === 1);
    await first.end("SIGKILL");
    home.release();
    await until(() => existsSync(join(home.home, "run", "p", "A", "0001-first", "exit.json")));
    await startDaemon(home);
    await until(isComplete(home, "A"));
    expect(home.ledger().filter((line) => line.startsWith("start"))).toEqual(["start A 0001-first", "start A 0002-second"]);
  });

  it("P5 calls a run lost whose shim was killed too, and runs it again", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    const first = await startDaemon(home);
    await until(() => home.ledger().length === 1);
    const claim = JSON.parse(readFileSync(join(home.home, "run", "p", "A", "0001-first", "claim.json"), "utf8")) as { pid: number };
    await first.end("SIGKILL");
    process.kill(claim.pid, "SIGKILL");
    await startDaemon(home);
    await until(() => home.ledger().length === 2);
    home.release();
    await until(isComplete(home, "A"));
    expect(home.ticket("p", "A").phaseHistory.map(({ phase, status }) => `${phase} ${status}`)).toEqual([
      "first lost",
      "first success",
      "second success",
    ]);
    // The killed run's script was swept away before the next one began: it never came to its end.
    expect(home.ledger().filter((line) => line.startsWith("end"))).toHaveLength(2);
  });

  it("drains on the first signal, and on the second leaves tickets resumable", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    const daemon = await startDaemon(home);
    await until(() => home.ledger().length === 1);
    daemon.signal("SIGINT");
    await until(() => readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8").includes("draining"));
    expect(home.ticket("p", "A").status).toBe("running");
    expect(await daemon.end("SIGINT")).toBe(130);
    const stopped = home.ticket("p", "A");
    expect(stopped).toMatchObject({ status: "ready", currentPhase: "first", retries: { first: 0 } });
    home.release();
    await startDaemon(home);
    await until(isComplete(home, "A"));
  });

  it("refuses to run beside another daemon, and tick and run refuse too", async () => {
    const home = ledgerHome();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    await startDaemon(home);
    for (const command of [["daemon"], ["tick"]]) {
      const second = await runCli(home, ...command);
      expect(second.code).toBe(4);
      expect(second.stderr).toContain("already running");
    }
  });

  it("never exceeds its concurrency and always reaches it", async () => {
    const home = ledgerHome({ maxConcurrency: 3 });
    home.hold();
    const ids = Array.from({ length: 8 }, (_, i) => ({ ticketId: `T${i}` }));
    home.writePlan({ id: "p", workflow: "steps" }, ids);
    await startDaemon(home);
    await until(() => home.ledger().length === 3);
    expect(ids.filter(({ ticketId }) => home.ticket("p", ticketId).status === "running").map(({ ticketId }) => ticketId)).toEqual([
      "T0",
      "T1",
      "T2",
    ]);
    home.release();
    await until(isComplete(home, ...ids.map(({ ticketId }) => ticketId)));
    let running = 0;
    let most = 0;
    for (const line of home.ledger()) {
      running += line.startsWith("start") ? 1 : -1;
      most = Math.max(most, running);
    }
    expect(most).toBe(3);
    expect(running).toBe(0);
  });

  it("pauses a running ticket without costing an attempt, and goes on when it is resumed", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    await startDaemon(home);
    await until(() => home.ledger().length === 1);
    const paused = await runCli(home, "pause", "p", "A", "--reason", "lunch");
    expect(paused).toMatchObject({ code: 0 });
    await until(() => home.ticket("p", "A").activity.state === "ready");
    expect(home.ticket("p", "A")).toMatchObject({ status: "paused", currentPhase: "first", hold: { reason: "lunch" } });
    expect((await runCli(home, "why", "p", "A")).stdout).toContain("orchestrator resume p A");
    home.release();
    expect(await runCli(home, "resume", "p", "A")).toMatchObject({ code: 0 });
    await until(isComplete(home, "A"));
    expect(home.ticket("p", "A").phaseHistory.map(({ status }) => status)).toEqual(["interrupted", "success", "success"]);
  });

  it("a person's edit of the status in the file works like the command", async () => {
    const home = ledgerHome();
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    await startDaemon(home);
    await until(() => home.ledger().length === 1);
    const file = join(home.home, "state/plans/p/tickets/A.json");
    const edit = (change: object) => writeFileSync(file, JSON.stringify({ ...home.ticket("p", "A"), ...change }, null, 2));
    edit({ status: "paused", title: "Another title" });
    await until(() => home.ticket("p", "A").activity.state === "ready");
    expect(home.ticket("p", "A")).toMatchObject({ status: "paused", title: "Another title" });
    home.release();
    edit({ status: "ready" });
    await until(isComplete(home, "A"));
  });

  it("P10 one corrupt ticket neither disappears, nor stops others, nor completes its plan", async () => {
    const home = ledgerHome();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }, { ticketId: "B" }]);
    const file = join(home.home, "state/plans/p/tickets/B.json");
    const good = readFileSync(file, "utf8");
    writeFileSync(file, good.slice(0, -20));
    await startDaemon(home);
    await until(isComplete(home, "A"));
    await until(async () => (await runCli(home, "status")).stdout.includes("B.json"));
    expect(home.plan("p").status).not.toBe("complete");
    expect(readFileSync(file, "utf8")).toBe(good.slice(0, -20));
    writeFileSync(file, good);
    await until(isComplete(home, "A", "B"));
    await until(() => home.plan("p").status === "complete");
  });

  it("P10 a broken workflow holds only the plans that use it, and is taken up once it is mended", async () => {
    const home = ledgerHome();
    home.writeWorkflow("broken.yaml", "name: broken\nphases:\n  - { id: a, type: script, command: step.sh, onSuccess: nowhere }\n");
    home.writePlan({ id: "q", workflow: "broken" }, [{ ticketId: "A" }]);
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    await startDaemon(home);
    await until(isComplete(home, "A"));
    expect(home.ticket("q", "A").status).toBe("needs_attention");
    expect(home.ticket("q", "A").error).toContain("broken.yaml:3");
    rmSync(join(home.home, "workflows/broken.yaml"));
    home.writeWorkflow("broken.yaml", "name: broken\nphases:\n  - { id: a, type: script, command: step.sh }\n");
    expect(await runCli(home, "retry", "q", "A")).toMatchObject({ code: 0 });
    await until(() => home.ticket("q", "A").status === "complete");
  });

  it("reads a changed configuration while it runs, and keeps the last good one", async () => {
    const home = ledgerHome({ maxConcurrency: 1 });
    home.hold();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }, { ticketId: "B" }]);
    await startDaemon(home);
    await until(() => home.ledger().length === 1);
    const file = join(home.home, "config.yaml");
    const config = readFileSync(file, "utf8");
    writeFileSync(file, "agents: [\n");
    await until(() => readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8").includes("last good one stays"));
    writeFileSync(file, config.replace("maxConcurrency: 1", "maxConcurrency: 2"));
    await until(() => home.ledger().length === 2);
  });

  it("P6 leaves no process behind", async () => {
    const home = ledgerHome();
    home.writeScript("step.sh", "(sleep 300 &)\nsetsid sleep 300 & \necho done\n");
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "A" }]);
    const daemon = await startDaemon(home);
    await until(isComplete(home, "A"));
    await daemon.end("SIGTERM");
    const left = () =>
      readdirSync("/proc").filter((pid) => {
        try {
          return /^\d+$/.test(pid) && pid !== String(process.pid) && readFileSync(`/proc/${pid}/environ`, "utf8").includes(home.home);
        } catch {
          return false;
        }
      });
    // The shim itself ends a moment after it has recorded its run.
    await until(() => left().length === 0, 5000).catch(() => undefined);
    expect(left()).toEqual([]);
  });
});
