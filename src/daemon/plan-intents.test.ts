import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const flow = (...phases: string[]) => `name: flow\nphases:\n${phases.map((phase) => `  - ${phase}\n`).join("")}`;
const script = (id: string, next: string) => `{ id: ${id}, type: script, command: wait.sh, args: ["{{ ticketId }}"], onSuccess: ${next} }`;
const gate = (id: string, next: string) => `{ id: ${id}, type: gate, message: Look., onSuccess: ${next} }`;
const done = "{ id: done, type: terminal }";

/** A home whose scripts run until `<dir>/go` is there. */
function homeWith(...phases: string[]): TestHome {
  const home = testHome({ config: { maxConcurrency: 4 } });
  home.writeWorkflow("flow.yaml", flow(...phases));
  home.writeScript("wait.sh", `touch ${home.dir}/started-$1; until [ -e ${home.dir}/go ]; do sleep 0.05; done\n`);
  return home;
}

const started = (home: TestHome, ticketId: string) => existsSync(join(home.dir, `started-${ticketId}`));
const letGo = (home: TestHome) => writeFileSync(join(home.dir, "go"), "");
const edit = (home: TestHome, text: string) => writeFileSync(join(home.home, "workflows/flow.yaml"), text);
const pins = (home: TestHome) => {
  const dir = join(home.home, "state/plans/p/workflows");
  return readdirSync(dir).map((name) => readFileSync(join(dir, name), "utf8"));
};
const logOf = (home: TestHome) => readFileSync(join(home.home, "logs/orchestrator.log"), "utf8");

describe("cancel-plan", () => {
  const cancel = { type: "cancel-plan", planId: "p", by: "ada", reason: "not wanted" } as const;

  it("cancels every ticket that has not ended and stops what runs, once", async () => {
    const home = homeWith(script("work", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [
      { ticketId: "T1" },
      { ticketId: "T2", blockedBy: ["T1"] },
      { ticketId: "T3", status: "complete" },
    ]);
    const { runner, settle } = await testRunner(home);
    await runner.tick();
    await until(() => started(home, "T1"));
    expect(await runner.intend(cancel, "one")).toEqual({
      result: "applied",
      message: '2 tickets of plan "p" cancelled; the runs of T1 are being stopped.',
    });
    await settle("p", { T1: "cancelled", T2: "cancelled", T3: "complete" });
    expect(home.ticket("p", "T2").error).toBe("not wanted");
    // As after a crash that came before the answer.
    expect(await runner.intend(cancel, "one")).toEqual({ result: "applied", message: '2 tickets of plan "p" cancelled.' });
    expect(await runner.intend(cancel, "two")).toEqual({
      result: "refused",
      message: 'Plan "p" has no ticket that could be cancelled: all of them have ended.',
    });
  });

  it("P5 done again after a crash it leaves alone what was taken up since", async () => {
    const home = homeWith(gate("ask", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }, { ticketId: "T2" }]);
    const { runner } = await testRunner(home);
    runner.setDispatching(false);
    await runner.tick();
    await runner.intend(cancel, "one");
    await runner.intend({ type: "skip", planId: "p", ticketId: "T2", by: "ada", phase: "ask" });
    expect(await runner.intend(cancel, "one")).toMatchObject({ result: "applied" });
    expect([home.ticket("p", "T1").status, home.ticket("p", "T2").status]).toEqual(["cancelled", "awaiting_approval"]);
  });
});

describe("a plan folder that is moved away", () => {
  it("is told of once, stays away, and the outcome of its run counts once it is back", async () => {
    const home = homeWith(script("work", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }]);
    const { runner, settle } = await testRunner(home);
    await runner.tick();
    await until(() => started(home, "T1"));
    const folder = join(home.home, "state/plans/p");
    renameSync(folder, join(home.dir, "moved"));
    await until(async () => {
      await runner.tick();
      return logOf(home).includes("plan p was removed");
    });
    letGo(home);
    await until(async () => {
      await runner.tick();
      return existsSync(join(home.home, "run/p/T1/0001-work/exit.json"));
    });
    await runner.tick();
    expect(readdirSync(join(home.home, "state/plans"))).toEqual([]);
    const told = logOf(home)
      .split("\n")
      .filter((line) => line.includes("was removed"));
    expect(told).toHaveLength(1);
    expect(told[0]).toContain("the runs of T1 go on to their own end, and count once the folder is back");
    expect(told[0]).toContain("orchestrator cancel-plan p");
    renameSync(join(home.dir, "moved"), folder);
    await settle("p", { T1: "complete" });
    expect(home.ticket("p", "T1").phaseHistory).toMatchObject([{ phase: "work", status: "success", runId: "0001-work" }]);
  });

  it("that is moved just as an outcome is written down neither comes back empty nor loses the outcome", async () => {
    const home = homeWith(script("work", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }]);
    const { runner, settle } = await testRunner(home);
    await runner.tick();
    await until(() => started(home, "T1"));
    const folder = join(home.home, "state/plans/p");
    renameSync(folder, join(home.dir, "moved"));
    // Nobody has looked since, so the runner still takes the plan for present.
    expect(
      await runner.intend({ type: "pause", planId: "p", ticketId: "T1", by: "ada", reason: "" }).catch((error) => error),
    ).toMatchObject({
      message: expect.stringContaining('The folder of plan "p" went away'),
    });
    letGo(home);
    await until(() => existsSync(join(home.home, "run/p/T1/0001-work/exit.json")));
    expect(readdirSync(join(home.home, "state/plans"))).toEqual([]);
    await runner.tick();
    renameSync(join(home.dir, "moved"), folder);
    await settle("p", { T1: "complete" });
    expect(logOf(home)).not.toContain("could not be recorded");
  });
});

describe("workflow upgrade", () => {
  const upgrade = { type: "upgrade-workflow", planId: "p", by: "ada" } as const;

  it("a run under way keeps running, and the new text says what follows it", async () => {
    const home = homeWith(script("work", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }]);
    const { runner, settle } = await testRunner(home);
    await runner.tick();
    await until(() => started(home, "T1"));
    expect(await runner.intend(upgrade)).toEqual({
      result: "applied",
      message: 'Nothing to do: plan "p" runs under the present text of workflow "flow" already.',
    });
    const next = flow(script("work", "ask"), gate("ask", "done"), done);
    edit(home, next);
    expect(await runner.intend(upgrade)).toEqual({
      result: "applied",
      message: 'Plan "p" goes on under the present text of workflow "flow"; it also decides what follows the present runs of T1.',
    });
    expect(pins(home)).toEqual([next]);
    letGo(home);
    await settle("p", { T1: "awaiting_approval" });
    expect(home.ticket("p", "T1").phaseHistory).toMatchObject([{ phase: "work", runId: "0001-work", status: "success" }]);
  });

  it("is refused while a ticket is in a phase that the new text lacks or has as another type", async () => {
    const before = [gate("ask", "again"), gate("again", "done"), done];
    const home = homeWith(...before);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }, { ticketId: "T2" }]);
    const { runner, settle } = await testRunner(home);
    await settle("p", { T1: "awaiting_approval", T2: "awaiting_approval" });
    edit(home, flow(gate("again", "done"), done));
    expect(await runner.intend(upgrade)).toEqual({
      result: "refused",
      message: 'The present text of workflow "flow" has no place for T1 in ask, T2 in ask; its phases are again, done.',
      hint: "first have each go on in a phase that both texts have, as with: orchestrator skip p T1 again",
    });
    edit(home, flow(script("ask", "again"), gate("again", "done"), done));
    expect(await runner.intend(upgrade)).toMatchObject({
      result: "refused",
      message: expect.stringContaining("T1 in ask (a gate phase so far, script from now on)"),
    });
    expect(pins(home)).toEqual([flow(...before)]);
    for (const ticketId of ["T1", "T2"]) await runner.intend({ type: "skip", planId: "p", ticketId, by: "ada", phase: "again" });
    expect(await runner.intend(upgrade)).toMatchObject({ result: "applied" });
  });

  it("is refused for a broken text, an unknown name and a plan that names none", async () => {
    const home = homeWith(gate("ask", "done"), done);
    home.writePlan({ id: "p", workflow: "flow" }, [{ ticketId: "T1" }]);
    home.writePlan({ id: "q", workflow: null }, [{ ticketId: "T1", workflow: "flow" }]);
    const { runner } = await testRunner(home);
    await runner.tick();
    edit(home, flow(gate("ask", "nowhere"), done));
    expect(await runner.intend(upgrade)).toMatchObject({
      result: "refused",
      message: expect.stringContaining("nowhere"),
      hint: "orchestrator workflow lint flow",
    });
    expect(await runner.intend({ ...upgrade, workflow: "flaw" })).toEqual({
      result: "refused",
      message: 'Nothing in plan "p" runs under a workflow "flaw".',
      hint: "its tickets name flow",
    });
    expect(await runner.intend({ ...upgrade, planId: "q" })).toMatchObject({ result: "refused", hint: "its tickets name flow" });
    edit(home, flow(gate("ask", "next"), gate("next", "done"), done));
    expect(await runner.intend({ ...upgrade, planId: "q", workflow: "flow" })).toMatchObject({ result: "applied" });
  });
});
