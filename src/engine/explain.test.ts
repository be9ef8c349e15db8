import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { plusSeconds } from "../domain/time.ts";
import { anyLimits, anyMove, anyWorkflow, anyWorld, eventOf, middle, start } from "../testing/arbitraries.ts";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { explain, type Reason } from "./explain.ts";
import { schedule } from "./schedule.ts";
import { transition } from "./transition.ts";
import { type Limits, type PlanView, ticketIds, type World } from "./world.ts";

const now = middle;
const roomy: Limits = { maxConcurrency: 64, agents: new Map(), defaultAgent: "claude", pollInterval: 3600, worktreeRoot: "/worktrees" };
const on = { now, daemonRuns: true };
const hold = { by: "ann", at: start, reason: "lunch" };
const flow = makeWorkflow([{ id: "build", type: "agent", promptTemplate: "build" }]);

/** Causes that no command of ours changes: their message says what to wait for or what to edit. */
const withoutCommand = new Set<Reason["code"]>(["poll_wait", "blocker_cycle", "unknown_blocker", "next"]);

function isUseful(reason: Reason): void {
  expect(reason.message).not.toBe("");
  const ended = reason.code === "ended" && reason.message.includes("complete");
  if (!withoutCommand.has(reason.code) && !ended) expect(reason.command, reason.code).toMatch(/^orchestrator \w/);
}

describe("P11 any ticket", () => {
  it("has a cause, and a command that changes it", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, fc.boolean(), (world, limits, daemonRuns) => {
        for (const view of world.plans.values()) {
          for (const ticketId of ticketIds(view)) {
            const reasons = explain(world, view.plan.id, ticketId, limits, { now, daemonRuns });
            expect(reasons).not.toEqual([]);
            const absent = !view.tickets.has(ticketId) && !view.broken.has(ticketId);
            if (!absent) for (const reason of reasons) isUseful(reason);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("has one in every state that events can bring it to", () => {
    fc.assert(
      fc.property(anyWorkflow, fc.array(anyMove, { maxLength: 40 }), (workflow, moves) => {
        let ticket = makeTicket();
        let at = start;
        for (const move of moves) {
          at = plusSeconds(at, move.seconds);
          ticket = transition(ticket, workflow, eventOf(move, ticket, workflow, at), { retryBackoffSeconds: 2, pollInterval: 10 }).ticket;
          const world = makeWorld([makePlanView({ tickets: [ticket], workflows: [workflow] })]);
          const reasons = explain(world, "plan", "t1", roomy, { now: at, daemonRuns: true });
          expect(reasons).not.toEqual([]);
          reasons.forEach(isUseful);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("starts next exactly when the scheduler would choose it, if nobody else were there to choose", () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        for (const view of world.plans.values()) {
          for (const { ticketId, activity } of view.tickets.values()) {
            const chosen = schedule(withOthersHeld(world, view.plan.id, ticketId), roomy, now).decisions.length > 0;
            const says = explain(world, view.plan.id, ticketId, roomy, on).some((reason) => reason.code === "next");
            // Waiting tickets, gates and failed blockers are explained by what they wait for, also at the moment it ends.
            if (says || activity.state === "ready") expect(says || isFault(world, view.plan.id, ticketId)).toBe(chosen);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });
});

function withOthersHeld(world: World, planId: string, ticketId: string): World {
  const held = (view: PlanView): PlanView => ({
    ...view,
    tickets: new Map(
      [...view.tickets].map(([id, ticket]) => [
        id,
        view.plan.id === planId && id === ticketId ? ticket : { ...ticket, hold: ticket.hold ?? hold },
      ]),
    ),
  });
  return { ...world, plans: new Map([...world.plans].map(([id, view]) => [id, held(view)])) };
}

function isFault(world: World, planId: string, ticketId: string): boolean {
  return schedule(world, roomy, now).decisions.some(
    (decision) => decision.do === "fault" && decision.planId === planId && decision.ticketId === ticketId,
  );
}

describe("causes", () => {
  const why = (ticket: Ticket, parts: Parameters<typeof makePlanView>[0] = {}, limits = roomy, facts = on) =>
    explain(makeWorld([makePlanView({ tickets: [ticket], workflows: [flow], ...parts })]), "plan", ticket.ticketId, limits, facts);
  const ready = makeTicket({ currentPhase: "build", activity: { state: "ready", cause: "next" } });
  const doing = (activity: Ticket["activity"], more: object = {}) => makeTicket({ currentPhase: "build", activity, ...more });

  it("of plans and tickets that cannot be read or are not there", () => {
    const world = makeWorld([makePlanView({ broken: { t9: "tickets/t9.json:3:1 not JSON" } })], { bad: "plan.json:1:1 not JSON" });
    expect(explain(world, "bad", "t1", roomy, on)).toEqual([
      { code: "broken_plan", message: "plan.json:1:1 not JSON", command: "orchestrator check" },
    ]);
    expect(explain(world, "none", "t1", roomy, on)).toMatchObject([{ code: "broken_plan", message: 'There is no plan "none".' }]);
    expect(explain(world, "plan", "t9", roomy, on)).toEqual([
      { code: "broken_ticket", message: "tickets/t9.json:3:1 not JSON", command: "orchestrator check" },
    ]);
    expect(explain(world, "plan", "t1", roomy, on)).toMatchObject([{ code: "broken_ticket", message: 'Plan "plan" has no ticket "t1".' }]);
    expect(why(ready, { broken: { t1: "not JSON" } })[0]).toMatchObject({ code: "broken_ticket", message: "not JSON" });
    expect(why(ready, { twin: "P and p" })[0]).toEqual({ code: "broken_plan", message: "P and p", command: "orchestrator check" });
  });

  it("of tickets that have ended", () => {
    expect(why(doing({ state: "finished", outcome: "complete", at: start }))).toEqual([
      { code: "ended", message: "It has ended as complete." },
    ]);
    expect(why(doing({ state: "finished", outcome: "failed", at: start }, { error: "red" }))).toEqual([
      { code: "ended", message: "It has ended as failed: red", command: "orchestrator retry plan t1" },
    ]);
    const isolation = { evidence: "HEAD moved", restore: "orchestrator restore --checkout --ref r" };
    const phaseHistory = [
      { phase: "build", status: "failure" as const, startedAt: start, completedAt: start, category: "isolation" as const, isolation },
    ];
    expect(why(doing({ state: "finished", outcome: "needs_attention", at: start }, { error: "HEAD moved", phaseHistory }))).toEqual([
      { code: "ended", message: "It has ended as needs_attention: HEAD moved", command: "orchestrator retry plan t1" },
      {
        code: "isolation",
        message: "What changed in your checkout can be taken back.",
        command: "orchestrator restore --checkout --ref r",
      },
    ]);
  });

  it("of an edit that was refused, after what keeps the ticket", () => {
    const refusal = { code: "edit_refused", message: "The last edit of its file was not followed. status: no" };
    expect(why(doing({ state: "finished", outcome: "failed", at: start }, { error: "red", refusedEdit: "status: no" }))).toEqual([
      { code: "ended", message: "It has ended as failed: red", command: "orchestrator retry plan t1" },
      refusal,
    ]);
    expect(why({ ...ready, refusedEdit: "status: no" })).toEqual([expect.objectContaining({ code: "next" }), refusal]);
  });

  it("of an agent that got nowhere, after what keeps the ticket", () => {
    const stuck = { phase: "build", evidence: "It was silent.", answer: "nudge" as const };
    const told = {
      code: "stuck",
      message: "The agent got nowhere and is told what was seen, in its own conversation. Seen: It was silent.",
      command: "orchestrator logs plan t1",
    };
    expect(why({ ...ready, stuck })).toEqual([expect.objectContaining({ code: "next" }), told]);
    expect(why(doing({ state: "running", runId: "0002-build", since: start }, { stuck: { ...stuck, answer: "anew" } }))).toEqual([
      expect.objectContaining({ code: "running" }),
      { ...told, message: "The agent got nowhere and begins anew and is to try another way. Seen: It was silent." },
    ]);
  });

  it("of tickets that run or stop", () => {
    expect(why(doing({ state: "running", runId: "0001-build", since: start }))).toEqual([
      { code: "running", message: `Phase "build" runs since ${start}.`, command: "orchestrator logs plan t1 --follow" },
    ]);
    expect(why(doing({ state: "running", runId: "0001-build", since: start, stop: { next: "again" } }))).toMatchObject([
      { code: "stopping" },
    ]);
  });

  it("of holds, all of them at once", () => {
    expect(why({ ...ready, hold }, { plan: { hold } })).toEqual([
      { code: "plan_held", message: 'Plan "plan" is paused by ann (lunch).', command: "orchestrator resume-plan plan" },
      { code: "held", message: `ann paused it at ${start} (lunch).`, command: "orchestrator resume plan t1" },
    ]);
    const takeover = { by: "bob", at: start, session: { id: "s1", provider: "claude" } };
    expect(why({ ...ready, hold: { ...hold, takeover } })).toEqual([
      { code: "held", message: `bob took it over at ${start} (claude s1).`, command: "orchestrator resume plan t1" },
    ]);
    expect(why(ready, { plan: { status: "draft" } })).toMatchObject([
      { code: "plan_held", message: 'Plan "plan" is a draft and waits for approval.' },
    ]);
  });

  it("of blockers", () => {
    const queued = makeTicket();
    const behind = (blocker: Ticket[], blockedBy = ["t0"]) =>
      why(queued, { plan: { tickets: [{ ticketId: "t1", blockedBy }] }, tickets: [queued, ...blocker] });
    const t0 = makeTicket({ ticketId: "t0" });
    expect(behind([t0])).toEqual([{ code: "blocked", message: "It waits for t0.", command: "orchestrator why plan t0" }]);
    expect(behind([{ ...t0, activity: { state: "finished", outcome: "failed", at: start } }])).toEqual([
      { code: "blocker_failed", message: "t0 did not complete.", command: "orchestrator retry plan t0" },
    ]);
    expect(behind([], ["t00"])).toEqual([
      {
        code: "unknown_blocker",
        message: 'plan.json says it is blocked by t00, which the plan does not have. Did you mean "t1"?',
      },
    ]);
    expect(behind([], ["t1"])).toEqual([
      { code: "blocker_cycle", message: "Its blockers form a cycle: t1 → t1. Remove one from blockedBy in plan.json." },
    ]);
  });

  it("of times, approvals, workflows and the daemon", () => {
    const later = plusSeconds(now, 60);
    expect(why(doing({ state: "ready", cause: "retry", notBefore: later }, { error: "red" }))).toEqual([
      { code: "backoff", message: `It runs again at ${later}, after: red`, command: "orchestrator retry plan t1" },
    ]);
    expect(why(doing({ state: "waiting", until: later, reason: "not merged" }))).toEqual([
      { code: "poll_wait", message: `Phase "build" looks again at ${later} (not merged).` },
    ]);
    expect(why(doing({ state: "awaiting", since: start }))).toEqual([
      { code: "approval", message: `Phase "build" waits for an approval since ${start}.`, command: "orchestrator approve plan t1" },
    ]);
    expect(why({ ...ready, workflow: "nope" })).toEqual([
      { code: "no_workflow", message: 'Workflow "nope" is not known.', command: "orchestrator workflow lint" },
    ]);
    expect(why(ready, {}, roomy, { now, daemonRuns: false })).toEqual([
      { code: "daemon_off", message: "No daemon is running.", command: "orchestrator daemon" },
    ]);
    expect(why(ready)).toEqual([{ code: "next", message: "It starts with the daemon's next look." }]);
  });

  it("of limits, also those taken up by a run whose workflow cannot be read any more", () => {
    const other = makeTicket({ ticketId: "t2", currentPhase: "build", activity: { state: "running", runId: "0001-build", since: start } });
    const full = [{ code: "limit", message: "All 1 places for runs are taken.", command: "orchestrator status" }];
    const one = { ...roomy, maxConcurrency: 1 };
    expect(why(ready, { tickets: [ready, other] }, one)).toEqual(full);
    expect(why(ready, { tickets: [ready, { ...other, workflow: "gone" }] }, one)).toEqual(full);
    expect(why(ready, { tickets: [ready, other] }, { ...roomy, agents: new Map([["claude", 1]]) })).toEqual([
      { code: "limit", message: "All 1 places for agent claude are taken.", command: "orchestrator status" },
    ]);
  });
});
