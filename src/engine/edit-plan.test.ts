import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockerCycles } from "../domain/blocker-cycles.ts";
import { TicketDraft } from "../domain/draft.ts";
import type { Plan } from "../domain/plan.ts";
import type { PlanEdit } from "../domain/plan-edit.ts";
import type { Activity } from "../domain/ticket.ts";
import { makePlanView, makeTicket } from "../testing/builders.ts";
import { type EditedPlan, editPlan } from "./edit-plan.ts";
import type { PlanView } from "./world.ts";

const states = {
  queued: { state: "queued" },
  running: { state: "running", runId: "0001-work", since: "2026-01-01T00:00:00.000Z" },
  failed: { state: "finished", outcome: "failed", at: "2026-01-01T00:00:00.000Z" },
  complete: { state: "finished", outcome: "complete", at: "2026-01-01T00:00:00.000Z" },
} as const satisfies Record<string, Activity>;

/** The plan "plan": a, b after a, c after b; with these states. */
function view(of: Partial<Record<"a" | "b" | "c", keyof typeof states>> = {}): PlanView {
  const tickets = (["a", "b", "c"] as const).map((ticketId) =>
    makeTicket({ ticketId, title: ticketId, description: "Old.", activity: states[of[ticketId] ?? "queued"] }),
  );
  const list = [
    { ticketId: "a", order: 1 },
    { ticketId: "b", order: 2, blockedBy: ["a"] },
    { ticketId: "c", order: 3, blockedBy: ["b"] },
  ];
  return makePlanView({ plan: { tickets: list }, tickets });
}

const draft = (id: string, blockedBy: string[] = []) => TicketDraft.parse({ id, title: id, blockedBy });
const add = (id: string, blockedBy: string[] = []): PlanEdit => ({ do: "add", ticket: draft(id, blockedBy) });
const change = (ticketId: string, set: Extract<PlanEdit, { do: "change" }>["set"]): PlanEdit => ({ do: "change", ticketId, set });
const depend = (ticketId: string, on: string): PlanEdit => ({ do: "depend", ticketId, on });

/** The result with its list worked out; the reasons when it is refused. */
function edited(before: PlanView, ...edits: PlanEdit[]) {
  const result = editPlan(before, edits);
  if ("refused" in result) return result.refused;
  const { list, changed, ...rest } = result;
  return { ...rest, changed: Object.fromEntries(changed), list: shape(list(before.plan.tickets)) };
}

function shape(list: Plan["tickets"]): string[] {
  return list.map(({ ticketId, order, blockedBy }) => [`${order} ${ticketId}`, ...blockedBy].join(" < "));
}

const nothing = { added: [], changed: {}, removed: [], fields: {}, done: [] };

describe("editPlan", () => {
  it("adds tickets at the end, also when they wait for each other", () => {
    expect(edited(view(), add("d", ["c"]), add("e", ["d", "d"]))).toEqual({
      ...nothing,
      added: [draft("d", ["c"]), draft("e", ["d", "d"])],
      list: ["1 a", "2 b < a", "3 c < b", "4 d < c", "5 e < d"],
      done: ["added d", "added e"],
    });
  });

  it("changes what is different and leaves the rest", () => {
    expect(edited(view(), change("a", { title: "A", description: "Old.", priority: "P1" }), { do: "plan", set: { goal: "Why." } })).toEqual(
      {
        ...nothing,
        changed: { a: { title: "A", priority: "P1" } },
        fields: { goal: "Why." },
        list: ["1 a", "2 b < a", "3 c < b"],
        done: ["changed title, priority of a", "changed goal of the plan"],
      },
    );
  });

  it("removes a ticket that nobody waits for", () => {
    expect(edited(view(), { do: "remove", ticketId: "c" })).toMatchObject({ removed: ["c"], list: ["1 a", "2 b < a"] });
    expect(edited(view(), { do: "remove", ticketId: "a" })).toEqual(['ticket "b" waits for "a"; take that out first']);
    expect(edited(view(), { do: "undepend", ticketId: "b", on: "a" }, { do: "remove", ticketId: "a" })).toMatchObject({ removed: ["a"] });
  });

  it("refuses a circle by name, and what a ticket would wait for that is not there", () => {
    expect(edited(view(), depend("a", "c"))).toEqual(["tickets would wait for each other in a circle: a -> c -> b -> a"]);
    expect(edited(view(), depend("a", "a"))).toEqual(["tickets would wait for each other in a circle: a -> a"]);
    expect(edited(view(), depend("a", "bb"))).toEqual(['ticket "a" is blocked by "bb", which the plan does not have (did you mean "b"?)']);
    expect(edited(view(), change("x", { title: "X" }), add("A"))).toEqual([
      'plan "plan" has no ticket "x" (did you mean "a"?)',
      'plan "plan" has a ticket "a" already',
    ]);
  });

  it("a circle that was there before does not keep other edits from being done", () => {
    const before = view();
    const plan = {
      ...before.plan,
      tickets: before.plan.tickets.map((entry) => (entry.ticketId === "a" ? { ...entry, blockedBy: ["c"] } : entry)),
    };
    expect(edited({ ...before, plan }, change("a", { title: "A" }))).toMatchObject({ changed: { a: { title: "A" } } });
  });

  it("lets a ticket that has begun be told more, and nothing else", () => {
    const running = view({ a: "running" });
    expect(edited(running, change("a", { description: "More.", acceptanceCriteria: ["x"] }))).toMatchObject({
      changed: { a: { description: "More.", acceptanceCriteria: ["x"] } },
    });
    expect(edited(running, change("a", { branch: "other", workflow: "w" }))).toEqual([
      'ticket "a" has begun (running), so its workflow and branch can no longer change',
    ]);
    expect(edited(running, add("d"), depend("a", "d"))).toEqual([
      'ticket "a" has begun (running), so it can wait for nothing more; put what it lacks into a ticket of its own',
    ]);
    expect(edited(running, { do: "undepend", ticketId: "b", on: "a" }, { do: "remove", ticketId: "a" })).toEqual([
      'ticket "a" has begun (running), so it cannot be removed; cancel it: orchestrator cancel plan a',
    ]);
    expect(edited(running, { do: "plan", set: { workflow: "w", maxParallel: 2 } })).toEqual([
      'ticket "a" has begun, so the plan\'s workflow can no longer change',
    ]);
    expect(edited(view({ a: "failed" }), change("a", { description: "More." }))).toMatchObject({
      changed: { a: { description: "More." } },
    });
    expect(edited(view({ a: "complete" }), change("a", { description: "More." }))).toEqual([
      'ticket "a" has ended (complete); add another ticket for what is left',
    ]);
  });

  it("takes all or nothing", () => {
    expect(edited(view(), add("d"), depend("a", "c"))).toEqual(["tickets would wait for each other in a circle: a -> c -> b -> a"]);
    const all = ["c", "b", "a"].map((ticketId): PlanEdit => ({ do: "remove", ticketId }));
    expect(edited(view(), ...all)).toEqual(["a plan needs a ticket; to give it up: orchestrator cancel-plan plan"]);
  });

  it("what these same edits add they may change and take away", () => {
    const full = { do: "add", ticket: { ...draft("d"), priority: "P0" } } as const;
    expect(edited(view(), full, change("d", { title: "D", priority: null }))).toMatchObject({ added: [{ ...draft("d"), title: "D" }] });
    expect(edited(view(), full, { do: "remove", ticketId: "d" })).toMatchObject({ added: [], removed: [] });
  });

  it("P5 done again after a crash, what was done counts as done, and what is left behind goes", () => {
    const before = view({ c: "running" });
    const { plan, tickets } = before;
    const again = { ...draft("c", ["b"]), description: "Old." };
    expect(edited(before, { do: "add", ticket: again })).toMatchObject({ added: [], done: [] });
    expect(edited(before, { do: "add", ticket: { ...again, blockedBy: ["a"] } })).toEqual(['plan "plan" has a ticket "c" already']);
    const offTheList = { ...view(), plan: { ...plan, tickets: plan.tickets.filter(({ ticketId }) => ticketId !== "c") } };
    const remove = { do: "remove", ticketId: "c" } as const;
    expect(edited(offTheList, remove)).toMatchObject({ removed: ["c"], list: ["1 a", "2 b < a"] });
    expect(edited(offTheList, remove, remove)).toEqual(['plan "plan" has no ticket "c" (did you mean "a"?)']);
    expect(edited({ ...offTheList, tickets }, remove)).toMatchObject([expect.stringContaining('ticket "c" has begun')]);
  });

  it("names the file that keeps a ticket from being added", () => {
    const torn = { ...view(), broken: new Map([["d", "d.json:1:1: oh"]]) };
    expect(edited(torn, add("d"))).toEqual(['plan "plan" has a ticket "d" already, which cannot be read: d.json:1:1: oh']);
  });

  it("a list that changed meanwhile keeps what it gained", () => {
    const before = view();
    const result = editPlan(before, [depend("c", "a")]) as EditedPlan;
    const grown = [...before.plan.tickets, { ticketId: "z", order: 9, blockedBy: [], note: "mine" }];
    expect(shape(result.list(grown))).toEqual(["1 a", "2 b < a", "3 c < b < a", "9 z"]);
  });

  it("whatever the edits, a plan without circles stays one, and done again nothing is left to do", () => {
    const ids = fc.constantFrom("a", "b", "c", "d", "e");
    const edit: fc.Arbitrary<PlanEdit> = fc.oneof(
      fc.tuple(ids, fc.array(ids, { maxLength: 2 })).map(([id, blockedBy]) => add(id, blockedBy)),
      fc.tuple(ids, ids).map(([id, on]) => depend(id, on)),
      fc.tuple(ids, ids).map(([ticketId, on]): PlanEdit => ({ do: "undepend", ticketId, on })),
      ids.map((ticketId): PlanEdit => ({ do: "remove", ticketId })),
      fc.tuple(ids, fc.string(), fc.array(ids, { maxLength: 3 })).map(([id, title, blockedBy]) => change(id, { title, blockedBy })),
    );
    const state = fc.constantFrom<keyof typeof states>("queued", "queued", "running", "complete");
    fc.assert(
      fc.property(fc.record({ a: state, b: state, c: state }), fc.array(edit, { maxLength: 6 }), (of, edits) => {
        const before = view(of);
        const result = editPlan(before, edits);
        if ("refused" in result) return result.refused.length > 0;
        const list = result.list(before.plan.tickets);
        expect(blockerCycles(list)).toEqual([]);
        const known = list.map(({ ticketId }) => ticketId);
        expect(list.flatMap(({ blockedBy }) => blockedBy).filter((id) => !known.includes(id))).toEqual([]);
        expect(result.list(list)).toEqual(list);
        return true;
      }),
      { numRuns: 50 },
    );
  });
});
