import { expect, it } from "vitest";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { planRows } from "./rows.ts";

const workflow = makeWorkflow([
  { id: "one", type: "script", command: "run.sh", onSuccess: "done" },
  { id: "done", type: "terminal" },
]);

it("counts are those of the rows shown, broken and missing tickets included", () => {
  const view = makePlanView({
    plan: { tickets: [{ ticketId: "a" }, { ticketId: "b", blockedBy: ["a"] }, { ticketId: "gone" }, { ticketId: "bad" }] },
    tickets: [makeTicket({ ticketId: "a", currentPhase: "one" }), makeTicket({ ticketId: "b" })],
    broken: { bad: "bad.json:1:1: no JSON" },
    workflows: [workflow],
  });
  const [row, ...others] = planRows(makeWorld([view], { other: "plan.json cannot be read" }), new Map()).toReversed();
  const shown = row?.tickets.map(({ ticketId, status }) => [ticketId, status]);
  expect(shown?.toSorted()).toEqual([
    ["a", "ready"],
    ["b", "queued"],
    ["bad", "unreadable"],
    ["gone", "unreadable"],
  ]);
  expect(Object.values(row?.counts ?? {}).reduce((sum, n) => sum + n, 0)).toBe(row?.total);
  expect(row?.counts).toMatchObject({ ready: 1, queued: 1, unreadable: 2, complete: 0 });
  expect(row?.tickets.find(({ ticketId }) => ticketId === "a")?.phase).toEqual({ id: "one", index: 1, of: 2 });
  expect(others.map(({ id, status, problems }) => ({ id, status, problems }))).toEqual([
    { id: "other", status: "unreadable", problems: ["plan.json cannot be read"] },
  ]);
});

it("a hold shows as paused, with who and when", () => {
  const hold = { by: "ada", at: "2026-01-01T00:00:00.000Z", reason: "later" };
  const view = makePlanView({ tickets: [makeTicket({ hold })], workflows: [workflow] });
  expect(planRows(makeWorld([view]), new Map())[0]?.tickets[0]).toMatchObject({ status: "paused", hold });
});
