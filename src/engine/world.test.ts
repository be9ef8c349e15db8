import { describe, expect, it } from "vitest";
import type { Outcome, Ticket } from "../domain/ticket.ts";
import { makePlanView, makeTicket } from "../testing/builders.ts";
import { blockerCycle, planStatus, ticketIds } from "./world.ts";

const at = "2026-01-01T00:00:00.000Z";
const hold = { by: "ann", at, reason: "lunch" };
const ended = (ticketId: string, outcome: Outcome): Ticket => makeTicket({ ticketId, activity: { state: "finished", outcome, at } });
const queued = (ticketId: string): Ticket => makeTicket({ ticketId });
const statusOf = (parts: Parameters<typeof makePlanView>[0]) => planStatus(makePlanView(parts));
const chain = (length: number) => Array.from({ length }, (_, i) => ({ ticketId: `t${i}`, blockedBy: i + 1 < length ? [`t${i + 1}`] : [] }));

describe("the status of a plan", () => {
  it("draft and paused are what a person said", () => {
    const tickets = [ended("t1", "complete")];
    expect(statusOf({ plan: { status: "draft" }, tickets })).toBe("draft");
    expect(statusOf({ plan: { status: "paused" }, tickets })).toBe("paused");
    expect(statusOf({ plan: { hold }, tickets })).toBe("paused");
  });

  it("a plan without tickets is active", () => {
    expect(statusOf({})).toBe("active");
  });

  it("C17 complete once all tickets are complete or skipped", () => {
    expect(statusOf({ tickets: [ended("t1", "complete"), ended("t2", "skipped")] })).toBe("complete");
    expect(statusOf({ tickets: [ended("t1", "complete"), queued("t2")] })).toBe("active");
  });

  it("P10 a listed ticket without a file and an unreadable one keep it from completing", () => {
    const tickets = [ended("t1", "complete")];
    expect(statusOf({ plan: { tickets: [{ ticketId: "t1" }, { ticketId: "t2" }] }, tickets })).toBe("blocked");
    expect(statusOf({ tickets, broken: { t1: "not JSON" } })).toBe("blocked");
    expect(statusOf({ tickets, broken: { t2: "not JSON" } })).toBe("blocked");
  });

  it("held for the sake of another plan it is blocked, unless all is done", () => {
    expect(statusOf({ tickets: [ended("t1", "complete"), queued("t2")], twin: "P and p" })).toBe("blocked");
    expect(statusOf({ tickets: [ended("t1", "complete")], twin: "P and p" })).toBe("complete");
  });

  it("a ticket with a file that the plan does not list counts too", () => {
    expect(statusOf({ plan: { tickets: [] }, tickets: [queued("t1")] })).toBe("active");
    expect(statusOf({ plan: { tickets: [] }, tickets: [ended("t1", "complete")] })).toBe("complete");
  });

  it.each(["failed", "needs_attention", "cancelled"] as const)(
    "blocked when what is left ended as %s or waits for such a one",
    (outcome) => {
      const plan = { tickets: [{ ticketId: "t1" }, { ticketId: "t2", blockedBy: ["t1"] }] };
      expect(statusOf({ plan, tickets: [ended("t1", outcome), queued("t2")] })).toBe("blocked");
      expect(statusOf({ plan: { ...plan, onBlockerFailed: "run" }, tickets: [ended("t1", outcome), queued("t2")] })).toBe("active");
      expect(statusOf({ plan: { ...plan, onBlockerFailed: "skip" }, tickets: [ended("t1", outcome), queued("t2")] })).toBe("active");
      expect(statusOf({ plan: { ...plan, onBlockerFailed: "skip" }, tickets: [ended("t1", outcome), ended("t2", "skipped")] })).toBe(
        "blocked",
      );
    },
  );

  it("blocked as long as one of several blockers failed", () => {
    const plan = { tickets: [{ ticketId: "t1" }, { ticketId: "t2" }, { ticketId: "t3", blockedBy: ["t1", "t2"] }] };
    expect(statusOf({ plan, tickets: [ended("t1", "complete"), ended("t2", "failed"), queued("t3")] })).toBe("blocked");
    expect(statusOf({ plan, tickets: [ended("t1", "complete"), ended("t2", "complete"), queued("t3")] })).toBe("active");
  });

  it("blocked behind held, missing and unreadable blockers, active beside them", () => {
    const plan = { tickets: [{ ticketId: "t1" }, { ticketId: "t2", blockedBy: ["t1"] }] };
    const held = { ...queued("t1"), hold };
    expect(statusOf({ plan, tickets: [held, queued("t2")] })).toBe("blocked");
    expect(statusOf({ plan, tickets: [queued("t2")] })).toBe("blocked");
    expect(statusOf({ plan, tickets: [ended("t1", "complete"), queued("t2")], broken: { t1: "not JSON" } })).toBe("blocked");
    expect(statusOf({ tickets: [held, queued("t2")] })).toBe("active");
  });

  it("S0.19 is active again once a ticket of a complete or blocked plan is retried or added", () => {
    const going = makeTicket({ ticketId: "t2", currentPhase: "a", activity: { state: "ready", cause: "retry" } });
    expect(statusOf({ plan: { status: "complete" }, tickets: [ended("t1", "complete"), going] })).toBe("active");
    expect(statusOf({ plan: { status: "blocked" }, tickets: [ended("t1", "complete"), going] })).toBe("active");
  });

  it("a ticket at a gate counts as moving", () => {
    expect(statusOf({ tickets: [makeTicket({ currentPhase: "ask", activity: { state: "awaiting", since: at } })] })).toBe("active");
  });

  it("a cycle of blockers blocks its plan, also for those behind it, and nobody beside it", () => {
    const cycle = [
      { ticketId: "t1", blockedBy: ["t2"] },
      { ticketId: "t2", blockedBy: ["t1"] },
      { ticketId: "t3", blockedBy: ["t2"] },
    ];
    const tickets = ["t1", "t2", "t3"].map(queued);
    expect(statusOf({ plan: { tickets: cycle }, tickets })).toBe("blocked");
    expect(statusOf({ plan: { tickets: [{ ticketId: "t1", blockedBy: ["t1"] }] }, tickets: [queued("t1")] })).toBe("blocked");
    expect(statusOf({ plan: { tickets: [...cycle, { ticketId: "t4" }] }, tickets: [...tickets, queued("t4")] })).toBe("active");
  });

  it("a chain of 10,000 blockers does not overflow the stack", () => {
    const tickets = Array.from({ length: 10_000 }, (_, i) => queued(`t${i}`));
    const plan = { tickets: chain(10_000) };
    expect(statusOf({ plan, tickets })).toBe("active");
    expect(statusOf({ plan, tickets: tickets.with(9999, ended("t9999", "failed")) })).toBe("blocked");
  });
});

describe("cycles of blockers", () => {
  const cycleOf = (entries: { ticketId: string; blockedBy?: string[] }[], ticketId: string) =>
    blockerCycle(makePlanView({ plan: { tickets: entries } }), ticketId);

  it("are shown as the way round, from any ticket that leads into one", () => {
    const entries = [
      { ticketId: "t1", blockedBy: ["t0", "t2"] },
      { ticketId: "t2", blockedBy: ["t3"] },
      { ticketId: "t3", blockedBy: ["t1"] },
      { ticketId: "t4", blockedBy: ["t1"] },
      { ticketId: "t0" },
    ];
    expect(cycleOf(entries, "t1")).toEqual(["t1", "t2", "t3", "t1"]);
    expect(cycleOf(entries, "t4")).toEqual(["t1", "t2", "t3", "t1"]);
    expect(cycleOf(entries, "t0")).toBeUndefined();
    expect(cycleOf([{ ticketId: "t1", blockedBy: ["t1"] }], "t1")).toEqual(["t1", "t1"]);
  });

  it("a diamond is none", () => {
    const entries = [
      { ticketId: "top" },
      { ticketId: "left", blockedBy: ["top"] },
      { ticketId: "right", blockedBy: ["top"] },
      { ticketId: "bottom", blockedBy: ["left", "right"] },
    ];
    expect(cycleOf(entries, "bottom")).toBeUndefined();
  });

  it("a chain of 10,000 blockers does not overflow the stack", () => {
    expect(cycleOf(chain(10_000), "t0")).toBeUndefined();
  });
});

it("a plan is made of what it lists, has files for and cannot read", () => {
  const view = makePlanView({ plan: { tickets: [{ ticketId: "listed" }] }, tickets: [queued("file")], broken: { broken: "not JSON" } });
  expect(ticketIds(view)).toEqual(new Set(["listed", "file", "broken"]));
});
