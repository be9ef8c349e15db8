import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { sendIntent } from "../state/inbox.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const workflow = `name: steps
phases:
  - { id: first, type: script, command: step.sh, onSuccess: done }
  - { id: done, type: terminal }
`;

/** A home whose step waits for as long as the file `hold` exists. */
function stepsHome(): TestHome & { holdFile: string } {
  const home = testHome();
  const holdFile = join(home.dir, "hold");
  home.writeWorkflow("steps.yaml", workflow);
  home.writeScript("step.sh", `while [ -e ${holdFile} ]; do sleep 0.02; done\necho done\n`);
  onTestFinished(() => rmSync(holdFile, { force: true }));
  return { ...home, holdFile };
}

const planFile = (home: TestHome, planId: string) => join(home.home, "state/plans", planId, "plan.json");
const runDir = (home: TestHome, run: string) => join(home.home, "run/p/T1", run);

describe("looking at runs", () => {
  it("P5 a run whose claim was revoked is run again, not waited for for ever", async () => {
    const home = stepsHome();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }]);
    mkdirSync(runDir(home, "0001-first"), { recursive: true });
    const claim = { schema: 1, runId: "0001-first", by: "revoked", pid: 1, start: "", bootId: "", at: "" };
    writeFileSync(join(runDir(home, "0001-first"), "claim.json"), JSON.stringify(claim));
    const runner = await testRunner(home);
    await runner.settle("p", { T1: "complete" });
    expect(home.ticket("p", "T1").phaseHistory.map(({ runId, status }) => `${runId} ${status}`)).toEqual([
      "0001-first interrupted",
      "0002-first success",
    ]);
  });

  it("P10 a session that cannot be read is no reason to give up its run", async () => {
    const home = stepsHome();
    writeFileSync(home.holdFile, "");
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }]);
    const runner = await testRunner(home);
    await runner.runner.tick();
    await until(() => existsSync(join(runDir(home, "0001-first"), "claim.json")));
    writeFileSync(join(runDir(home, "0001-first"), "session.json"), "{");
    await runner.runner.tick();
    expect(home.ticket("p", "T1").status).toBe("running");
    rmSync(home.holdFile);
    await runner.settle("p", { T1: "complete" });
  });

  it("changes nothing where nothing changed", async () => {
    const home = stepsHome();
    writeFileSync(home.holdFile, "");
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }]);
    const { runner } = await testRunner(home);
    await runner.tick();
    await until(() => existsSync(join(runDir(home, "0001-first"), "claim.json")));
    await runner.tick();
    let changes = 0;
    runner.onChange(() => {
      changes += 1;
    });
    for (let i = 0; i < 5; i++) await runner.tick();
    expect(changes).toBe(0);
    rmSync(home.holdFile);
  });
});

describe("P10 one that cannot be followed", () => {
  it("intent stops neither other intents nor other plans", async () => {
    const home = stepsHome();
    home.writePlan({ id: "bad", workflow: "steps", status: "draft" }, [{ ticketId: "T1" }]);
    const runner = await testRunner(home);
    await runner.runner.tick();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }]);
    const good = readFileSync(planFile(home, "bad"), "utf8");
    writeFileSync(planFile(home, "bad"), good.slice(0, -20));
    const first = await sendIntent(home.home, { type: "pause-plan", planId: "bad", by: "ada", reason: "x" });
    const second = await sendIntent(home.home, { type: "pause", planId: "p", ticketId: "T1", by: "ada", reason: "x" });
    await until(async () => {
      await runner.runner.tick();
      return readdirSync(join(home.home, "inbox/done")).length === 2;
    });
    const answer = (id: string) => JSON.parse(readFileSync(join(home.home, "inbox/done", `${id}.json`), "utf8")) as { result: string };
    expect([answer(first).result, answer(second).result]).toEqual(["refused", "applied"]);
    await runner.runner.intend({ type: "resume", planId: "p", ticketId: "T1", by: "ada" });
    await runner.settle("p", { T1: "complete" });
  });
});

describe("plans that change while they are worked", () => {
  it("a ticket file that the plan never listed, and that goes again, holds the plan no longer", async () => {
    const home = stepsHome();
    writeFileSync(home.holdFile, "");
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }]);
    const runner = await testRunner(home);
    const extra = join(home.home, "state/plans/p/tickets/X.json");
    writeFileSync(extra, JSON.stringify({ planId: "p", ticketId: "X", title: "X", status: "queued" }));
    await until(async () => {
      await runner.runner.tick();
      return runner.index.plans.get("p")?.tickets.has("X");
    });
    rmSync(extra);
    rmSync(home.holdFile);
    await runner.settle("p", { T1: "complete" });
    await until(async () => {
      await runner.runner.tick();
      return home.plan("p").status === "complete";
    });
  });

  it("a plan that starts as a draft runs under the workflow of the moment it is released, pinned", async () => {
    const home = stepsHome();
    home.writePlan({ id: "p", workflow: "steps", status: "draft" }, [{ ticketId: "T1" }]);
    const runner = await testRunner(home);
    await runner.runner.tick();
    const edited = workflow.replace("id: first", "id: edited");
    writeFileSync(join(home.home, "workflows/steps.yaml"), edited);
    expect(await runner.runner.intend({ type: "approve-plan", planId: "p", by: "ada" })).toMatchObject({ result: "applied" });
    await runner.settle("p", { T1: "complete" });
    expect(home.ticket("p", "T1").phaseHistory.map(({ phase }) => phase)).toEqual(["edited"]);
    expect(readdirSync(join(home.home, "state/plans/p/workflows"))).toEqual([expect.stringMatching(/^steps\.[0-9a-f]{12}\.yaml$/)]);
  });

  it("nothing is dispatched before the disk was looked at", async () => {
    const home = stepsHome();
    home.writePlan({ id: "p", workflow: "steps" }, [{ ticketId: "T1" }, { ticketId: "T2" }]);
    const runner = await testRunner(home);
    expect(await runner.runner.intend({ type: "pause", planId: "p", ticketId: "T1", by: "ada", reason: "x" })).toMatchObject({
      result: "applied",
    });
    await runner.runner.quiet();
    expect(home.ticket("p", "T2").status).toBe("queued");
    await runner.settle("p", { T2: "complete" });
  });
});
