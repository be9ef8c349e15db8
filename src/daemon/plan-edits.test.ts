import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TicketDraft } from "../domain/draft.ts";
import type { Answer } from "../domain/event.ts";
import type { PlanEdit } from "../domain/plan-edit.ts";
import { openIndex } from "../state/index.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

const flow = (start: string) => `name: flow
phases:
  - { id: ${start}, type: script, command: work.sh, args: ["{{ ticketId }}", "{{ title }}"], onSuccess: done }
  - { id: done, type: terminal }
`;

/** A home whose scripts run until `<dir>/go` is there, and a plan "p": A, and B after A. */
function homeWithPlan(status = "active"): TestHome {
  const home = testHome({ config: { maxConcurrency: 4 } });
  home.writeWorkflow("flow.yaml", flow("work"));
  home.writeScript("work.sh", `echo "$2" > ${home.dir}/started-$1; until [ -e ${home.dir}/go ]; do sleep 0.05; done\n`);
  home.writePlan({ id: "p", workflow: "flow", status }, [{ ticketId: "A" }, { ticketId: "B", blockedBy: ["A"] }]);
  return home;
}

const edit = (...edits: PlanEdit[]) => ({ type: "edit-plan", planId: "p", by: "ada", edits }) as const;
const add = (id: string, blockedBy: string[] = []): PlanEdit => ({
  do: "add",
  ticket: TicketDraft.parse({ id, title: `Do ${id}`, blockedBy }),
});
const listed = (home: TestHome) =>
  (home.plan("p").tickets as { ticketId: string; blockedBy: string[] }[]).map(({ ticketId, blockedBy }) =>
    [ticketId, ...blockedBy].join(" < "),
  );
const applied = (message: string): Answer => ({ result: "applied", message });

describe("edits of a plan that runs", () => {
  it("what is added runs, what is changed counts from then on, what is removed is kept aside", async () => {
    const home = homeWithPlan();
    const { runner, settle } = await testRunner(home);
    await runner.tick();
    await until(() => existsSync(join(home.dir, "started-A")));
    expect(await runner.intend(edit(add("C", ["A"]), add("D"), { do: "change", ticketId: "B", set: { title: "Do B anew" } }))).toEqual(
      applied('Plan "p": added C; added D; changed title of B.'),
    );
    await until(() => existsSync(join(home.dir, "started-D")));
    expect(await runner.intend(edit({ do: "undepend", ticketId: "C", on: "A" }, { do: "remove", ticketId: "B" }))).toEqual(
      applied('Plan "p": C no longer waits for A; removed B.'),
    );
    expect(await runner.intend(edit({ do: "remove", ticketId: "D" }))).toMatchObject({
      result: "refused",
      message: expect.stringContaining('Ticket "D" has begun (running), so it cannot be removed'),
    });
    expect(await runner.intend(edit({ do: "depend", ticketId: "A", on: "C" }))).toMatchObject({ result: "refused" });
    writeFileSync(join(home.dir, "go"), "");
    await settle("p", { A: "complete", C: "complete", D: "complete" });
    await until(() => home.plan("p").status === "complete");
    expect(listed(home)).toEqual(["A", "C", "D"]);
    expect(readdirSync(join(home.home, "state/plans/p/tickets")).sort()).toEqual(["A.json", "C.json", "D.json"]);
    const [kept = ""] = readdirSync(join(home.home, "state/plans/p/.orch/removed"));
    expect(JSON.parse(readFileSync(join(home.home, "state/plans/p/.orch/removed", kept, "B.json"), "utf8")).title).toBe("Do B anew");
    const reader = openIndex(join(home.home, "state"), { writer: false });
    expect([reader.plans.get("p")?.problems, [...(reader.plans.get("p")?.tickets.keys() ?? [])]]).toEqual([[], ["A", "C", "D"]]);
    expect(existsSync(join(home.dir, "started-B"))).toBe(false);
  });

  it("an edit of a file by hand and one by intent both count", async () => {
    const home = homeWithPlan("draft");
    const { runner } = await testRunner(home);
    await runner.tick();
    await runner.intend(edit({ do: "change", ticketId: "A", set: { title: "By intent" } }));
    const file = join(home.home, "state/plans/p/tickets/A.json");
    writeFileSync(file, JSON.stringify({ ...home.ticket("p", "A"), description: "By hand" }));
    expect(await runner.intend(edit({ do: "change", ticketId: "A", set: { priority: "P0" } }))).toMatchObject({ result: "applied" });
    await until(async () => {
      await runner.tick();
      return home.ticket("p", "A").description === "By hand";
    });
    expect(home.ticket("p", "A")).toMatchObject({ title: "By intent", description: "By hand", priority: "P0" });
  });

  it("a reader that looks on sees a ticket come and go", async () => {
    const home = homeWithPlan("draft");
    const { runner } = await testRunner(home);
    const reader = openIndex(join(home.home, "state"), { writer: false });
    const seen = async () => {
      await reader.poll();
      return [...(reader.plans.get("p")?.tickets.keys() ?? [])].join(" ");
    };
    await runner.intend(edit(add("C")));
    await until(async () => (await seen()) === "A B C");
    await runner.intend(edit({ do: "change", ticketId: "C", set: { title: "Committed" } }));
    await runner.intend(edit({ do: "remove", ticketId: "C" }));
    await until(async () => (await seen()) === "A B");
    expect(reader.plans.get("p")?.problems).toEqual([]);
    reader.close();
  });

  it("P5 done again after a crash at any point, an edit comes to the same", async () => {
    const intent = edit(
      add("C", ["B"]),
      { do: "change", ticketId: "A", set: { title: "Anew", blockedBy: [] } },
      { do: "depend", ticketId: "B", on: "C" },
    );
    const good = edit(add("C", ["A"]), { do: "change", ticketId: "A", set: { title: "Anew" } });
    const home = homeWithPlan("draft");
    const { runner } = await testRunner(home);
    expect(await runner.intend(intent, "1")).toMatchObject({ result: "refused", message: expect.stringContaining("B -> C -> B") });
    expect(existsSync(join(home.home, "state/plans/p/tickets/C.json"))).toBe(false);
    // As after a crash between the new file and the list: the file is there, and the list knows nothing of it.
    const { at: _, ...file } = { planId: "p", ticketId: "C", title: "Do C", at: "" };
    writeFileSync(join(home.home, "state/plans/p/tickets/C.json"), JSON.stringify(file));
    await until(async () => {
      await runner.tick();
      return runner.running().length === 0;
    });
    expect(await runner.intend(good, "2")).toEqual(applied('Plan "p": added C; changed title of A.'));
    expect(await runner.intend(good, "2")).toEqual(applied('Nothing to do: plan "p" is so already.'));
    expect([listed(home), home.ticket("p", "A").title]).toEqual([["A", "B < A", "C < A"], "Anew"]);
    // As after a crash between the list and the files of a ticket that was removed.
    const planFile = join(home.home, "state/plans/p/plan.json");
    const plan = home.plan("p");
    writeFileSync(planFile, JSON.stringify({ ...plan, tickets: (plan.tickets as unknown[]).slice(0, 2) }));
    await runner.tick();
    expect(await runner.intend(edit({ do: "remove", ticketId: "C" }), "3")).toEqual(applied('Plan "p": removed C.'));
    expect(readdirSync(join(home.home, "state/plans/p/tickets")).sort()).toEqual(["A.json", "B.json"]);
  });

  it("never writes over a file that somebody put there", async () => {
    const home = homeWithPlan("draft");
    const { runner } = await testRunner(home);
    await runner.tick();
    const file = join(home.home, "state/plans/p/tickets/C.json");
    writeFileSync(file, "mine");
    await expect(runner.intend(edit(add("D"), add("C")))).rejects.toMatchObject({ exit: "conflict" });
    expect([readFileSync(file, "utf8"), listed(home)]).toEqual(["mine", ["A", "B < A"]]);
    expect(existsSync(join(home.home, "state/plans/p/tickets/D.json"))).toBe(false);
  });
});

describe("archive-plan", () => {
  const archive = (failed = false) => ({ type: "archive-plan", planId: "p", by: "ada", failed }) as const;

  it("puts a plan away that is over, whole, and no other", async () => {
    const home = homeWithPlan();
    const { runner, settle } = await testRunner(home);
    expect(await runner.intend(archive())).toEqual({
      result: "refused",
      message: 'Plan "p" is not over: A, B have not ended.',
      hint: "to give it up: orchestrator cancel-plan p",
    });
    writeFileSync(join(home.dir, "go"), "");
    await settle("p", { A: "complete", B: "complete" });
    const dir = join(home.home, "state/archive/p");
    expect(await runner.intend(archive())).toEqual(applied(`Plan "p" was put away: ${dir}`));
    expect(readdirSync(join(home.home, "state/plans"))).toEqual([]);
    expect(readdirSync(dir).sort()).toEqual([".orch", "journal.jsonl", "plan.json", "tickets", "workflows"]);
    expect(JSON.parse(readFileSync(join(dir, "tickets/B.json"), "utf8"))).toMatchObject({ status: "complete" });
    expect(await runner.intend(archive())).toMatchObject({ result: "refused", message: 'There is no plan "p".' });
    await runner.tick();
    expect(readFileSync(join(home.home, "logs/orchestrator.log"), "utf8")).not.toContain("was removed");
  });

  it("asks before it puts failures away, and never over what is there", async () => {
    const home = homeWithPlan();
    const { runner } = await testRunner(home);
    runner.setDispatching(false);
    home.writePlan({ id: "q", workflow: "flow", onBlockerFailed: "skip" }, [{ ticketId: "A", status: "failed" }]);
    await runner.tick();
    expect(await runner.intend({ ...archive(), planId: "q" })).toMatchObject({
      result: "refused",
      message: 'Plan "q" is not over: A failed.',
      hint: "orchestrator retry q A, or put it away as it is with --failed",
    });
    mkdirSync(join(home.home, "state/archive/q"), { recursive: true });
    await expect(runner.intend({ ...archive(true), planId: "q" })).rejects.toMatchObject({ exit: "conflict" });
    expect(existsSync(join(home.home, "state/plans/q/plan.json"))).toBe(true);
  });
});
