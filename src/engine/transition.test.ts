import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import { type Activity, type Ticket, TicketFile } from "../domain/ticket.ts";
import { plusSeconds, secondsBetween } from "../domain/time.ts";
import { makeTicket, makeWorkflow } from "../testing/builders.ts";
import type { Step } from "./moves.ts";
import { type Policy, transition } from "./transition.ts";

const t0 = "2026-01-01T00:00:00.000Z";
const t1 = "2026-01-01T01:00:00.000Z";
const hold = { by: "ann", at: t0, reason: "lunch" };
const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10 };

const flow = makeWorkflow([
  { id: "build", type: "agent", promptTemplate: "build", onSuccess: "watch", onFailure: "help", on: { conflict: "watch" }, maxRetries: 1 },
  { id: "watch", type: "poll", command: "look", onSuccess: "settle", onFailure: "help", timeoutSeconds: 7200 },
  { id: "settle", type: "wait", seconds: 60, onSuccess: "ask" },
  { id: "ask", type: "gate", timeoutSeconds: 600, onSuccess: "done", onFailure: "build" },
  { id: "done", type: "terminal" },
  { id: "help", type: "terminal", notify: true },
]);

const states = ["queued", "ready", "running", "waiting", "awaiting", "finished"] as const satisfies readonly Activity["state"][];
const eventTypes = [
  "dispatched",
  "due",
  "faulted",
  "blocker_failed",
  "session",
  "passed",
  "failed",
  "pending",
  "interrupted",
  "lost",
  "stop_requested",
  "paused",
  "resumed",
  "retried",
  "skipped",
  "cancelled",
  "approved",
  "rejected",
  "sent",
  "taken_over",
  "handed_back",
] as const satisfies readonly TicketEvent["type"][];
/** Does not compile once a type of event or a state is missing above. */
const nothingMissing: [
  Exclude<TicketEvent["type"], (typeof eventTypes)[number]>,
  Exclude<Activity["state"], (typeof states)[number]>,
] extends [never, never]
  ? true
  : false = true;

const entered = { currentPhase: "build", enteredAt: t0, visits: { build: 1 }, retries: { build: 0 }, reasked: { build: 0 } };
const tickets: Record<Activity["state"], Ticket> = {
  queued: makeTicket(),
  ready: makeTicket({ ...entered, runs: 1, activity: { state: "ready", cause: "retry", notBefore: plusSeconds(t1, 60) } }),
  running: makeTicket({ ...entered, runs: 1, activity: { state: "running", runId: "0001-build", since: t0 } }),
  waiting: makeTicket({ currentPhase: "watch", enteredAt: t0, visits: { watch: 1 }, runs: 1, activity: { state: "waiting", until: t1 } }),
  awaiting: makeTicket({
    currentPhase: "ask",
    enteredAt: t0,
    visits: { ask: 1 },
    runs: 1,
    activity: { state: "awaiting", since: t0, until: t1 },
  }),
  finished: makeTicket({ ...entered, runs: 2, error: "broken", activity: { state: "finished", outcome: "failed", at: t0 } }),
};
const settling = makeTicket({ currentPhase: "settle", enteredAt: t0, visits: { settle: 1 }, activity: { state: "waiting", until: t1 } });

const news = { at: t1, runId: "0001-build" };
const session = { id: "s1", provider: "claude" };
const events: { [T in TicketEvent["type"]]: Extract<TicketEvent, { type: T }> } = {
  dispatched: { type: "dispatched", at: t1 },
  due: { type: "due", at: t1 },
  faulted: { type: "faulted", at: t1, reason: "no repository" },
  blocker_failed: { type: "blocker_failed", at: t1, reason: "t0 did not complete." },
  session: { type: "session", ...news, session },
  passed: { type: "passed", ...news, output: "fine", captured: { pr: "7" } },
  failed: { type: "failed", ...news, category: "test", reason: "2 tests fail", feedback: "fix a and b" },
  pending: { type: "pending", ...news, durationMs: 2000, reason: "not merged yet" },
  interrupted: { type: "interrupted", ...news, reason: "stopped" },
  lost: { type: "lost", ...news, reason: "the machine restarted" },
  stop_requested: { type: "stop_requested", at: t1 },
  paused: { type: "paused", at: t1, hold },
  resumed: { type: "resumed", at: t1 },
  retried: { type: "retried", at: t1, by: "ann", message: "try harder" },
  skipped: { type: "skipped", at: t1, by: "ann", phase: "watch" },
  cancelled: { type: "cancelled", at: t1, by: "ann", reason: "not wanted" },
  approved: { type: "approved", at: t1, by: "ann" },
  rejected: { type: "rejected", at: t1, by: "ann", feedback: "too slow" },
  sent: { type: "sent", at: t1, by: "ann", message: "keep the old endpoint" },
  taken_over: { type: "taken_over", at: t0, by: "ann", session },
  handed_back: { type: "handed_back", at: t1, by: "ann", keep: false },
};

const act = (ticket: Ticket, event: TicketEvent): Step => transition(ticket, flow, event, policy);
const held = (ticket: Ticket): Ticket => ({ ...ticket, hold });

const quoted: string[] = [];

/** A test of one line of the matrix in docs/engine.md. */
function cell(title: string, prove: (ticket: Ticket, event: TicketEvent) => void): void {
  quoted.push(title);
  const [, state, type] = /^(\w+) × (\w+): /.exec(title) ?? [];
  it(title, () => prove(tickets[state as Activity["state"]], events[type as TicketEvent["type"]]));
}

/** A cell in which nothing happens: the very same ticket, nothing to do, nobody to tell. */
function idle(title: string): void {
  cell(title, (ticket, event) => {
    for (const it of [ticket, held(ticket)]) {
      const step = act(it, event);
      expect(step).toEqual({ ticket: it, effects: [] });
      expect(step.ticket).toBe(it);
    }
  });
}

/** A cell in which a command is refused: the very same ticket, nothing to do, and a reason. */
function refuses(title: string, reason: RegExp): void {
  cell(title, (ticket, event) => refused(act(ticket, event), ticket, reason));
}

function refused(step: Step, ticket: Ticket, reason: RegExp): void {
  expect(step).toEqual({ ticket, effects: [], refused: expect.stringMatching(reason) });
  expect(step.ticket).toBe(ticket);
}

const startOf = (runId: string, phase: string) => ({ type: "start" as const, runId, phase });
const afresh = (phase: string) => ({
  currentPhase: phase,
  enteredAt: t1,
  visits: { [phase]: 1 },
  retries: { [phase]: 0 },
  reasked: { [phase]: 0 },
  lost: {},
  error: null,
});
const run = (status: string, more: object) => ({ phase: "build", status, startedAt: t0, completedAt: t1, runId: "0001-build", ...more });
const skipNote = (phase: string, startedAt = t0) => ({ phase, status: "skipped", startedAt, completedAt: t1, reason: "skipped by ann" });

describe("every state × every event", () => {
  describe("the scheduler", () => {
    cell("queued × dispatched: enters the first phase and starts its run", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, ...afresh("build"), runs: 1, activity: { state: "running", runId: "0001-build", since: t1 } },
        effects: [startOf("0001-build", "build")],
      });
      expect(act(held(ticket), event).ticket).toEqual(held(ticket));
    });
    cell("ready × dispatched: starts a run of its phase", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, runs: 2, activity: { state: "running", runId: "0002-build", since: t1 } },
        effects: [startOf("0002-build", "build")],
      });
      expect(act(held(ticket), event).ticket).toEqual(held(ticket));
    });
    idle("running × dispatched: changes nothing, one run at a time");
    cell("waiting × dispatched: looks again with a new run", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, runs: 2, activity: { state: "running", runId: "0002-watch", since: t1 } },
        effects: [startOf("0002-watch", "watch")],
      });
      expect(act(held(ticket), event).ticket).toEqual(held(ticket));
    });
    idle("awaiting × dispatched: changes nothing, a gate starts no run");
    idle("finished × dispatched: changes nothing, it has ended");

    idle("queued × due: changes nothing, no time was set");
    idle("ready × due: changes nothing, it starts when it is dispatched");
    idle("running × due: changes nothing, its run decides");
    cell("waiting × due: ends a wait phase whose time has come and takes onSuccess", (polling, event) => {
      expect(act(settling, event)).toEqual({
        ticket: {
          ...settling,
          phaseHistory: [{ phase: "settle", status: "success", startedAt: t0, completedAt: t1 }],
          currentPhase: "ask",
          enteredAt: t1,
          visits: { settle: 1, ask: 1 },
          retries: { ask: 0 },
          reasked: { ask: 0 },
          activity: { state: "awaiting", since: t1, until: plusSeconds(t1, 600) },
        },
        effects: [{ type: "notify", status: "awaiting_approval", reason: 'Phase "ask" waits for an approval.' }],
      });
      expect(act(settling, { ...event, at: t0 } as TicketEvent).ticket).toBe(settling);
      expect(act(polling, event).ticket).toBe(polling);
      const paused = held(settling);
      expect(act(paused, event).ticket).toBe(paused);
    });
    cell("awaiting × due: takes the gate's default once its time has come", (ticket, event) => {
      const { ticket: after, effects } = act(ticket, event);
      expect(after).toMatchObject({
        currentPhase: "build",
        activity: { state: "ready", cause: "next" },
        feedback: { ask: "Nobody answered in time." },
      });
      expect(after.phaseHistory).toEqual([
        { phase: "ask", status: "failure", startedAt: t0, completedAt: t1, reason: "Nobody answered in time." },
      ]);
      expect(effects).toEqual([]);
      const lenient = makeWorkflow([{ id: "ask", type: "gate", timeoutSeconds: 60, default: "approve" }]);
      expect(transition(ticket, lenient, event, policy).ticket.activity).toEqual({ state: "finished", outcome: "complete", at: t1 });
      expect(act(ticket, { type: "due", at: t0 }).ticket).toBe(ticket);
      const paused = held(ticket);
      expect(act(paused, event).ticket).toBe(paused);
    });
    idle("finished × due: changes nothing, it has ended");

    const needsPerson = (title: string) =>
      cell(title, (ticket, event) => {
        const { ticket: after, effects } = act(ticket, event);
        expect(after).toMatchObject({ error: "no repository", activity: { state: "finished", outcome: "needs_attention", at: t1 } });
        expect(effects).toEqual([{ type: "notify", status: "needs_attention", reason: "no repository" }]);
        expect(act(ticket, { type: "faulted", at: t1, reason: "late", runId: "0000-build" }).ticket).toBe(ticket);
      });
    needsPerson("queued × faulted: ends as needs_attention with the reason");
    needsPerson("ready × faulted: ends as needs_attention unless the fault is of an old run");
    cell("running × faulted: ends as needs_attention if the fault is of this run", (ticket, event) => {
      expect(act(ticket, event).ticket).toBe(ticket);
      expect(act(ticket, { ...event, runId: "0000-build" } as TicketEvent).ticket).toBe(ticket);
      const { ticket: after, effects } = act(ticket, { ...event, runId: "0001-build" } as TicketEvent);
      expect(after).toMatchObject({
        activity: { state: "finished", outcome: "needs_attention", at: t1 },
        phaseHistory: [run("failure", { reason: "no repository" })],
      });
      expect(effects).toEqual([{ type: "notify", status: "needs_attention", reason: "no repository" }]);
    });
    needsPerson("waiting × faulted: ends as needs_attention unless the fault is of an old run");
    needsPerson("awaiting × faulted: ends as needs_attention unless the fault is of an old run");
    idle("finished × faulted: changes nothing, it has ended");

    cell("queued × blocker_failed: ends as skipped with the reason", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, error: "t0 did not complete.", activity: { state: "finished", outcome: "skipped", at: t1 } },
        effects: [],
      });
    });
    idle("ready × blocker_failed: changes nothing, it has started");
    idle("running × blocker_failed: changes nothing, it has started");
    idle("waiting × blocker_failed: changes nothing, it has started");
    idle("awaiting × blocker_failed: changes nothing, it has started");
    idle("finished × blocker_failed: changes nothing, it has ended");
  });

  describe("news of a run", () => {
    idle("queued × session: changes nothing, it has no run");
    idle("ready × session: changes nothing, its last run is settled");
    cell("running × session: keeps the session of this run", (ticket, event) => {
      expect(act(ticket, event)).toEqual({ ticket: { ...ticket, currentSession: session }, effects: [] });
      expect(act(ticket, { ...event, runId: "0000-build" } as TicketEvent).ticket).toBe(ticket);
    });
    idle("waiting × session: changes nothing, its last run is settled");
    idle("awaiting × session: changes nothing, a gate has no run");
    idle("finished × session: changes nothing, it has ended");

    idle("queued × passed: changes nothing, it has no run");
    idle("ready × passed: changes nothing, its last run is settled");
    cell("running × passed: writes history and takes onSuccess, even while it is being stopped to run again", (ticket, event) => {
      const before = { ...ticket, feedback: { build: "old", ask: "kept" }, error: "old", currentSession: session };
      const after = {
        ...before,
        phaseHistory: [run("success", { output: "fine", session })],
        context: { pr: "7" },
        feedback: { ask: "kept" },
        error: null,
        currentSession: null,
        currentPhase: "watch",
        enteredAt: t1,
        visits: { build: 1, watch: 1 },
        retries: { build: 0, watch: 0 },
        reasked: { build: 0, watch: 0 },
        activity: { state: "ready", cause: "next" },
      };
      expect(act(before, event)).toEqual({ ticket: after, effects: [] });
      const stopping = held(act(before, events.stop_requested).ticket);
      expect(act(stopping, event)).toEqual({ ticket: held(after as Ticket), effects: [] });
    });
    idle("waiting × passed: changes nothing, its last run is settled");
    idle("awaiting × passed: changes nothing, a gate has no run");
    idle("finished × passed: changes nothing, it has ended");

    idle("queued × failed: changes nothing, it has no run");
    idle("ready × failed: changes nothing, its last run is settled");
    cell("running × failed: writes history, takes the edge of its category, else does what its reaction says", (ticket, event) => {
      const phaseHistory = [run("failure", { category: "test", reason: "2 tests fail" })];
      const retry = act(ticket, event);
      expect(retry).toEqual({
        ticket: {
          ...ticket,
          phaseHistory,
          feedback: { build: "fix a and b" },
          error: "2 tests fail",
          retries: { build: 1 },
          activity: { state: "ready", cause: "retry", notBefore: expect.any(String) },
        },
        effects: [],
      });
      const exhausted = act({ ...ticket, retries: { build: 1 } }, event);
      expect(exhausted.ticket).toMatchObject({
        currentPhase: "help",
        error: "2 tests fail",
        activity: { state: "finished", outcome: "needs_attention", at: t1 },
      });
      expect(exhausted.effects).toEqual([{ type: "notify", status: "needs_attention", reason: "2 tests fail" }]);
      const nudged = act(ticket, { ...event, category: "stuck", nudge: true } as TicketEvent);
      expect(nudged.ticket).toMatchObject({
        retries: { build: 0 },
        nudges: { build: 1 },
        stuck: { phase: "build", evidence: "2 tests fail", answer: "nudge" },
        activity: { state: "ready", cause: "retry" },
      });
      const special = act(ticket, { ...event, category: "conflict" } as TicketEvent);
      expect(special.ticket).toMatchObject({ currentPhase: "watch", retries: { build: 0 }, activity: { state: "ready", cause: "next" } });
      const isolation = { evidence: "HEAD moved", restore: "orchestrator restore --checkout" };
      const breach = act(ticket, { ...event, category: "isolation", isolation } as TicketEvent);
      expect(breach.ticket).toMatchObject({
        phaseHistory: [{ category: "isolation", isolation }],
        retries: ticket.retries,
        activity: { state: "finished", outcome: "needs_attention", at: t1 },
      });
      const spokenTo = act(act(ticket, events.sent).ticket, {
        ...event,
        reason: "HEAD moved",
        category: "isolation",
        isolation,
      } as TicketEvent);
      expect(spokenTo).toMatchObject({
        ticket: { activity: { state: "finished", outcome: "needs_attention" }, messages: [{ by: "ann" }] },
        effects: [{ type: "notify", status: "needs_attention", reason: "HEAD moved" }],
      });
      const cancelled = act(act(ticket, events.cancelled).ticket, { ...event, category: "isolation", isolation } as TicketEvent);
      expect(cancelled).toMatchObject({
        ticket: { activity: { state: "finished", outcome: "cancelled" } },
        effects: [{ type: "notify", status: "isolation_breach", reason: "HEAD moved" }],
      });
      const told = act(ticket, { ...event, isolation } as TicketEvent);
      expect(told).toEqual({
        ticket: { ...retry.ticket, phaseHistory: [{ ...phaseHistory[0], isolation }] },
        effects: [{ type: "notify", status: "isolation_breach", reason: "HEAD moved" }],
      });
    });
    idle("waiting × failed: changes nothing, its last run is settled");
    idle("awaiting × failed: changes nothing, a gate has no run");
    idle("finished × failed: changes nothing, it has ended");

    idle("queued × pending: changes nothing, it has no run");
    idle("ready × pending: changes nothing, its last run is settled");
    cell("running × pending: waits to look again, without history and without a place", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, windowUsedMs: 62_000, activity: { state: "waiting", until: plusSeconds(t1, 60), reason: "not merged yet" } },
        effects: [],
      });
    });
    idle("waiting × pending: changes nothing, its last run is settled");
    idle("awaiting × pending: changes nothing, a gate has no run");
    idle("finished × pending: changes nothing, it has ended");

    idle("queued × interrupted: changes nothing, it has no run");
    idle("ready × interrupted: changes nothing, its last run is settled");
    cell("running × interrupted: writes history and does what the stop was for, else is ready to resume at no cost", (ticket, event) => {
      const phaseHistory = [run("interrupted", { reason: "stopped" })];
      const again = { ticket: { ...ticket, phaseHistory, activity: { state: "ready", cause: "resume" } }, effects: [] };
      expect(act(ticket, event)).toEqual(again);
      expect(act(act(ticket, events.stop_requested).ticket, event)).toEqual(again);
      expect(act(act(ticket, events.skipped).ticket, event).ticket).toMatchObject({ currentPhase: "watch", activity: { state: "ready" } });
      expect(act(act(ticket, events.cancelled).ticket, event).ticket).toMatchObject({
        phaseHistory,
        error: "not wanted",
        activity: { state: "finished", outcome: "cancelled", at: t1 },
      });
    });
    idle("waiting × interrupted: changes nothing, its last run is settled");
    idle("awaiting × interrupted: changes nothing, a gate has no run");
    idle("finished × interrupted: changes nothing, it has ended");

    idle("queued × lost: changes nothing, it has no run");
    idle("ready × lost: changes nothing, its last run is settled");
    cell("running × lost: writes history and is ready to resume until maxLost is used up", (ticket, event) => {
      const phaseHistory = [run("lost", { reason: "the machine restarted" })];
      expect(act(ticket, event)).toEqual({
        ticket: { ...ticket, phaseHistory, lost: { build: 1 }, activity: { state: "ready", cause: "resume" } },
        effects: [],
      });
      expect(act({ ...ticket, lost: { build: 2 } }, event).ticket.activity).toEqual({ state: "ready", cause: "resume" });
      const { ticket: after, effects } = act({ ...ticket, lost: { build: 3 } }, event);
      const reason = 'Phase "build" lost its run 4 times: the machine restarted';
      expect(after).toMatchObject({ phaseHistory, error: reason, activity: { state: "finished", outcome: "needs_attention", at: t1 } });
      expect(effects).toEqual([{ type: "notify", status: "needs_attention", reason }]);
    });
    idle("waiting × lost: changes nothing, its last run is settled");
    idle("awaiting × lost: changes nothing, a gate has no run");
    idle("finished × lost: changes nothing, it has ended");

    idle("queued × stop_requested: changes nothing, there is nothing to stop");
    idle("ready × stop_requested: changes nothing, there is nothing to stop");
    cell("running × stop_requested: stops its run, to run the phase again", (ticket, event) => {
      const after = { next: "again" as const };
      const step = act(ticket, event);
      expect(step).toEqual({
        ticket: { ...ticket, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      expect(act(step.ticket, event)).toEqual({ ticket: step.ticket, effects: [] });
    });
    idle("waiting × stop_requested: changes nothing, there is nothing to stop");
    idle("awaiting × stop_requested: changes nothing, there is nothing to stop");
    idle("finished × stop_requested: changes nothing, there is nothing to stop");
  });

  describe("what people do", () => {
    const holds = (title: string) =>
      cell(title, (ticket, event) => {
        const step = act(ticket, event);
        expect(step).toEqual({ ticket: held(ticket), effects: [] });
        refused(act(step.ticket, event), step.ticket, /already paused by ann/);
      });
    holds("queued × paused: keeps its place, gets a hold");
    holds("ready × paused: keeps its place, gets a hold");
    cell("running × paused: gets a hold and stops its run, to run the phase again", (ticket, event) => {
      const after = { next: "again" as const };
      const step = act(ticket, event);
      expect(step).toEqual({
        ticket: { ...ticket, hold, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      refused(act(step.ticket, event), step.ticket, /already paused by ann/);
      const leaving = act(ticket, events.skipped).ticket;
      expect(act(leaving, event)).toEqual({ ticket: held(leaving), effects: [] });
    });
    holds("waiting × paused: keeps its time, gets a hold");
    holds("awaiting × paused: stays at its gate, gets a hold");
    refuses("finished × paused: is refused, it has ended", /has ended \(failed\)/);

    const goesOn = (title: string) =>
      cell(title, (ticket, event) => {
        expect(act(held(ticket), event)).toEqual({ ticket, effects: [] });
        refused(act(ticket, event), ticket, /is not paused/);
      });
    goesOn("queued × resumed: loses its hold, and is refused without one");
    cell("ready × resumed: loses its hold and goes before new work, and is refused without one", (ticket, event) => {
      expect(act(held(ticket), event)).toEqual({ ticket: { ...ticket, activity: { ...ticket.activity, cause: "resume" } }, effects: [] });
      refused(act(ticket, event), ticket, /is not paused/);
    });
    cell("running × resumed: loses its hold while the stop goes on, and is refused without one", (ticket, event) => {
      const stopping = act(ticket, events.paused).ticket;
      expect(act(stopping, event)).toEqual({ ticket: { ...stopping, hold: null }, effects: [] });
      refused(act(ticket, event), ticket, /is not paused/);
    });
    goesOn("waiting × resumed: loses its hold and keeps its time, and is refused without one");
    goesOn("awaiting × resumed: loses its hold and stays at its gate, and is refused without one");
    goesOn("finished × resumed: loses its hold and stays finished, and is refused without one");

    refuses("queued × retried: is refused, it has not started", /has not started/);
    cell("ready × retried: enters its phase afresh, without hold and backoff", (ticket, event) => {
      const worn = { ...held(ticket), visits: { build: 5 }, retries: { build: 1 }, lost: { build: 3 }, error: "old" };
      expect(act(worn, event)).toEqual({
        ticket: { ...ticket, ...afresh("build"), feedback: { operator: "try harder" }, activity: { state: "ready", cause: "retry" } },
        effects: [],
      });
    });
    refuses("running × retried: is refused, its run comes first", /is running; pause it first, or skip/);
    cell("waiting × retried: enters its phase afresh, with a new window", (ticket, event) => {
      expect(act(held(ticket), event)).toEqual({
        ticket: { ...ticket, ...afresh("watch"), feedback: { operator: "try harder" }, activity: { state: "ready", cause: "retry" } },
        effects: [],
      });
    });
    cell("awaiting × retried: enters its gate afresh, with a new time limit", (ticket, event) => {
      const { ticket: after, effects } = act(held(ticket), event);
      expect(after).toEqual({
        ...ticket,
        ...afresh("ask"),
        feedback: { operator: "try harder" },
        activity: { state: "awaiting", since: t1, until: plusSeconds(t1, 600) },
      });
      expect(effects).toEqual([{ type: "notify", status: "awaiting_approval", reason: 'Phase "ask" waits for an approval.' }]);
    });
    cell("finished × retried: enters the phase that ended it afresh, and is refused when complete", (ticket, event) => {
      const again = { ...afresh("build"), feedback: { operator: "try harder" }, activity: { state: "ready", cause: "retry" } };
      expect(act(held(ticket), event)).toEqual({ ticket: { ...ticket, ...again }, effects: [] });
      const escalated = { ...ticket, currentPhase: "help", phaseHistory: [{ ...run("failure", {}), status: "failure" as const }] };
      expect(act(escalated, event)).toEqual({ ticket: { ...escalated, ...again }, effects: [] });
      const complete: Ticket = { ...ticket, activity: { state: "finished", outcome: "complete", at: t0 } };
      refused(act(complete, event), complete, /is complete; "skip" starts it again/);
    });

    const jumps = (title: string, note: object, also: (ticket: Ticket) => void = () => {}) =>
      cell(title, (ticket, event) => {
        const worn = { ...ticket, visits: { ...ticket.visits, watch: 5 }, lost: { watch: 3 }, error: "old" };
        expect(act(worn, event)).toEqual({
          ticket: { ...ticket, ...afresh("watch"), phaseHistory: [note], activity: { state: "ready", cause: "next" } },
          effects: [],
        });
        expect(act(held(ticket), event).ticket.hold).toEqual(hold);
        refused(
          act(ticket, { ...event, phase: "bogus" } as TicketEvent),
          ticket,
          /no phase "bogus"; it has build, watch, settle, ask, done, help\./,
        );
        expect(act(ticket, { ...event, phase: "done" } as TicketEvent)).toMatchObject({
          ticket: { currentPhase: "done", activity: { state: "finished", outcome: "complete", at: t1 } },
          effects: [],
        });
        also(ticket);
      });
    jumps("queued × skipped: notes the skip and enters the named phase, before its blockers", skipNote("build", t1));
    jumps("ready × skipped: notes the skip and enters the named phase afresh", skipNote("build"));
    cell("running × skipped: stops its run, then notes the skip and enters the named phase afresh", (ticket, event) => {
      const worn = { ...ticket, visits: { build: 1, watch: 5 }, lost: { watch: 3 }, error: "old" };
      const after = { next: "enter" as const, phase: "watch" };
      const stopping = act(worn, event);
      expect(stopping).toEqual({
        ticket: { ...worn, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      for (const type of ["passed", "failed", "pending", "interrupted", "lost", "faulted"] as const) {
        const { ticket: left, effects } = act(stopping.ticket, { ...events[type], runId: "0001-build" });
        expect(left).toMatchObject({ ...afresh("watch"), activity: { state: "ready", cause: "next" } });
        expect(left.phaseHistory.at(-1)).toEqual({
          phase: "build",
          status: "skipped",
          startedAt: t0,
          completedAt: t1,
          reason: "skipped to watch",
        });
        expect(effects).toEqual([]);
      }
      refused(act(ticket, { ...event, phase: "bogus" } as TicketEvent), ticket, /no phase "bogus"/);
    });
    jumps("waiting × skipped: notes the skip and enters the named phase afresh", skipNote("watch"));
    jumps("awaiting × skipped: notes the skip and enters the named phase afresh", skipNote("ask"));
    jumps("finished × skipped: notes the skip and enters the named phase afresh", skipNote("build"));

    const cancels = (title: string) =>
      cell(title, (ticket, event) => {
        expect(act(ticket, event)).toEqual({
          ticket: { ...ticket, error: "not wanted", activity: { state: "finished", outcome: "cancelled", at: t1 } },
          effects: [],
        });
      });
    cancels("queued × cancelled: ends as cancelled with the reason");
    cancels("ready × cancelled: ends as cancelled with the reason");
    cell("running × cancelled: stops its run, then ends as cancelled", (ticket, event) => {
      const after = { next: "cancel" as const, reason: "not wanted" };
      const stopping = act(ticket, event);
      expect(stopping).toEqual({
        ticket: { ...ticket, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      for (const type of ["passed", "failed", "pending", "interrupted", "lost", "faulted"] as const) {
        const { ticket: ended, effects } = act(stopping.ticket, { ...events[type], runId: "0001-build" });
        expect(ended).toMatchObject({ error: "not wanted", activity: { state: "finished", outcome: "cancelled", at: t1 } });
        expect(effects).toEqual([]);
      }
    });
    cancels("waiting × cancelled: ends as cancelled with the reason");
    cancels("awaiting × cancelled: ends as cancelled with the reason");
    refuses("finished × cancelled: is refused, it has ended", /already ended \(failed\)/);

    refuses("queued × approved: is refused, it is at no gate", /not waiting for an approval/);
    refuses("ready × approved: is refused, it is at no gate", /not waiting for an approval/);
    refuses("running × approved: is refused, it is at no gate", /not waiting for an approval/);
    refuses("waiting × approved: is refused, it is at no gate", /not waiting for an approval/);
    cell("awaiting × approved: notes the approval and takes onSuccess", (ticket, event) => {
      expect(act({ ...ticket, feedback: { ask: "old", build: "kept" } }, event)).toEqual({
        ticket: {
          ...ticket,
          feedback: { build: "kept" },
          phaseHistory: [{ phase: "ask", status: "success", startedAt: t0, completedAt: t1, reason: "approved by ann" }],
          currentPhase: "done",
          enteredAt: t1,
          visits: { ask: 1, done: 1 },
          retries: { done: 0 },
          reasked: { done: 0 },
          activity: { state: "finished", outcome: "complete", at: t1 },
        },
        effects: [],
      });
    });
    refuses("finished × approved: is refused, it is at no gate", /not waiting for an approval/);

    refuses("queued × rejected: is refused, it is at no gate", /not waiting for an approval/);
    refuses("ready × rejected: is refused, it is at no gate", /not waiting for an approval/);
    refuses("running × rejected: is refused, it is at no gate", /not waiting for an approval/);
    refuses("waiting × rejected: is refused, it is at no gate", /not waiting for an approval/);
    cell("awaiting × rejected: keeps the feedback and takes onFailure", (ticket, event) => {
      expect(act(ticket, event)).toEqual({
        ticket: {
          ...ticket,
          error: "too slow",
          feedback: { ask: "too slow" },
          phaseHistory: [{ phase: "ask", status: "failure", startedAt: t0, completedAt: t1, reason: "too slow" }],
          currentPhase: "build",
          enteredAt: t1,
          visits: { ask: 1, build: 1 },
          retries: { build: 0 },
          reasked: { build: 0 },
          activity: { state: "ready", cause: "next" },
        },
        effects: [],
      });
    });
    refuses("finished × rejected: is refused, it is at no gate", /not waiting for an approval/);
  });

  describe("messages and takeovers", () => {
    const messages = [{ by: "ann", at: t1, text: "keep the old endpoint" }];
    const tells = (title: string, activity: (ticket: Ticket) => Activity = (ticket) => ticket.activity) =>
      cell(title, (ticket, event) => {
        for (const it of [ticket, held(ticket)]) {
          expect(act(it, event)).toEqual({ ticket: { ...it, messages, activity: activity(it) }, effects: [] });
        }
      });
    tells("queued × sent: keeps the message for its first agent");
    tells("ready × sent: keeps the message for its next agent, without backoff", () => ({ state: "ready", cause: "retry" }));
    cell("running × sent: keeps the message and stops the run of an agent, to run the phase again with it", (ticket, event) => {
      const after = { next: "tell" as const };
      const step = act(ticket, event);
      expect(step).toEqual({
        ticket: { ...ticket, messages, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      const ready = { currentPhase: "build", activity: { state: "ready", cause: "resume" }, messages, retries: ticket.retries };
      for (const result of [events.passed, events.failed, events.interrupted, events.lost]) {
        expect(act(step.ticket, result)).toMatchObject({ ticket: ready, effects: [] });
      }
      const again = act(act(step.ticket, events.interrupted).ticket, { type: "dispatched", at: plusSeconds(t1, 1) }).ticket;
      const runId = again.activity.state === "running" ? again.activity.runId : "";
      const later = { at: plusSeconds(t1, 2), runId };
      expect(act(again, { ...events.failed, ...later }).ticket.messages).toEqual(messages);
      expect(act(again, { ...events.passed, ...later }).ticket.messages).toEqual([]);
      const twice = act(step.ticket, event);
      expect(twice).toMatchObject({ ticket: { messages: [...messages, ...messages] }, effects: [] });
      const polling = { ...ticket, currentPhase: "watch" };
      expect(act(polling, event)).toEqual({ ticket: { ...polling, messages }, effects: [] });
      const leaving = act(ticket, events.cancelled).ticket;
      refused(act(leaving, event), leaving, /is being cancelled/);
      const full = { ...ticket, messages: Array.from({ length: 20 }, () => messages[0] as (typeof messages)[0]) };
      refused(act(full, event), full, /has 20 messages already/);
    });
    tells("waiting × sent: keeps the message for its next agent");
    refuses("awaiting × sent: is refused, a gate has answers of its own", /"approve" and "reject" take your words along/);
    cell("finished × sent: enters the phase that ended it afresh with the message, and is refused without agent", (ticket, event) => {
      expect(act(held(ticket), event)).toEqual({
        ticket: { ...ticket, ...afresh("build"), messages, activity: { state: "ready", cause: "retry" } },
        effects: [],
      });
      const polled = { ...ticket, currentPhase: "watch" };
      refused(act(polled, event), polled, /ended in phase "watch", in which no agent works/);
      const complete: Ticket = { ...ticket, activity: { state: "finished", outcome: "complete", at: t0 } };
      refused(act(complete, event), complete, /is complete; "skip" starts it again/);
    });

    const takeover = { by: "ann", at: t0, session };
    const own = { by: "ann", at: t0, reason: "taken over", takeover };
    const before = { by: "bob", at: t0, reason: "lunch" };
    const takes = (title: string) =>
      cell(title, (ticket, event) => {
        const step = act(ticket, event);
        expect(step).toEqual({ ticket: { ...ticket, hold: own }, effects: [] });
        refused(act(step.ticket, event), step.ticket, /already|is taken over by ann since/);
        expect(act({ ...ticket, hold: before }, event).ticket.hold).toEqual({ ...before, takeover });
        if (ticket.activity.state !== "queued") refused(act(step.ticket, events.retried), step.ticket, /is taken over by ann; "resume"/);
      });
    takes("queued × taken_over: keeps its place, gets a hold with the takeover");
    takes("ready × taken_over: keeps its place, gets a hold with the takeover");
    cell("running × taken_over: gets a hold with the takeover and stops its run, to run the phase again", (ticket, event) => {
      const after = { next: "again" as const };
      const step = act(ticket, event);
      expect(step).toEqual({
        ticket: { ...ticket, hold: own, activity: { ...ticket.activity, stop: after } },
        effects: [{ type: "stop", runId: "0001-build", after }],
      });
      expect(act(step.ticket, events.interrupted).ticket).toMatchObject({ hold: own, activity: { state: "ready", cause: "resume" } });
    });
    takes("waiting × taken_over: keeps its time, gets a hold with the takeover");
    takes("awaiting × taken_over: stays at its gate, gets a hold with the takeover");
    refuses("finished × taken_over: is refused, it has ended", /has ended \(failed\); "resume-session"/);

    const entry = { status: "takeover", startedAt: t0, completedAt: t1, by: "ann", session };
    const givesBack = (title: string, activity: (ticket: Ticket) => Activity = (ticket) => ticket.activity) =>
      cell(title, (ticket, event) => {
        const taken = { ...ticket, hold: own };
        const phaseHistory = [{ ...entry, phase: ticket.currentPhase ?? "" }];
        expect(act(taken, event)).toEqual({ ticket: { ...ticket, phaseHistory, activity: activity(ticket) }, effects: [] });
        expect(act(taken, events.resumed)).toEqual(act(taken, event));
        const kept = act(taken, { ...event, keep: true } as TicketEvent).ticket;
        expect(kept).toEqual({ ...ticket, phaseHistory, hold: { by: "ann", at: t0, reason: "taken over" } });
        expect(act({ ...taken, hold: { ...before, takeover } }, event).ticket).toEqual({ ...ticket, phaseHistory, hold: before });
        const other = { id: "s2", provider: "claude" };
        expect(act(taken, { ...event, session: other } as TicketEvent).ticket.phaseHistory[0]?.session).toEqual(other);
        const paused = held(ticket);
        refused(act(paused, event), paused, /is not taken over/);
      });
    givesBack("queued × handed_back: notes the takeover and loses its hold unless that is kept");
    givesBack("ready × handed_back: notes the takeover, loses its hold unless that is kept, and goes before new work", (ticket) => ({
      ...(ticket.activity as Extract<Activity, { state: "ready" }>),
      cause: "resume",
    }));
    givesBack("running × handed_back: notes the takeover and loses its hold unless that is kept, while the stop goes on");
    givesBack("waiting × handed_back: notes the takeover, loses its hold unless that is kept, and keeps its time");
    givesBack("awaiting × handed_back: notes the takeover, loses its hold unless that is kept, and stays at its gate");
    givesBack("finished × handed_back: notes the takeover, loses its hold unless that is kept, and stays finished");
  });

  it("is the matrix of docs/engine.md, line by line and without a gap", () => {
    const page = readFileSync(new URL("../../docs/engine.md", import.meta.url), "utf8");
    const lines = [...page.matchAll(/^\| (\w+ × \w+) +\| (.+?) +\|\n(?!\| ---)/gm)].map(([, pair, sentence]) => `${pair}: ${sentence}`);
    expect(lines.toSorted()).toEqual(quoted.toSorted());
    const pairs = eventTypes.flatMap((type) => states.map((state) => `${state} × ${type}`));
    expect(quoted.map((title) => title.slice(0, title.indexOf(":"))).toSorted()).toEqual(pairs.toSorted());
    expect(nothingMissing).toBe(true);
  });
});

/** Fails every run of a one-phase workflow at once and returns the step that ended the ticket and how many runs there were. */
function failOut(phases: Parameters<typeof makeWorkflow>[0], more: Partial<Extract<TicketEvent, { type: "failed" }>> = {}) {
  const workflow = makeWorkflow(phases);
  let ticket = makeTicket();
  let at = t0;
  let runs = 0;
  while (ticket.activity.state !== "finished" && runs < 1000) {
    const step = transition(ticket, workflow, { type: "dispatched", at }, policy);
    ticket = step.ticket;
    if (ticket.activity.state !== "running") continue;
    runs++;
    at = plusSeconds(at, 1);
    const failed: TicketEvent = { type: "failed", at, runId: ticket.activity.runId, category: "test", reason: "red", ...more };
    ticket = transition(ticket, workflow, failed, policy).ticket;
  }
  return { ticket, runs };
}

describe("edges", () => {
  it("without onSuccess a pass completes, without onFailure a failure fails the ticket", () => {
    const lone = makeWorkflow([{ id: "build", type: "script", command: "make" }]);
    expect(transition(tickets.running, lone, events.passed, policy).ticket.activity).toEqual({
      state: "finished",
      outcome: "complete",
      at: t1,
    });
    const failed = transition(tickets.running, lone, events.failed, policy);
    expect(failed.ticket).toMatchObject({ error: "2 tests fail", activity: { state: "finished", outcome: "failed", at: t1 } });
    expect(failed.effects).toEqual([{ type: "notify", status: "failed", reason: "2 tests fail" }]);
  });

  it("an edge to a phase that does not exist asks for a person and names the phases there are", () => {
    const dangling = makeWorkflow([{ id: "build", type: "script", command: "make", onSuccess: "nowhere" }]);
    const { ticket, effects } = transition(tickets.running, dangling, events.passed, policy);
    const reason = 'Workflow "flow" has no phase "nowhere"; it has build.';
    expect(ticket).toMatchObject({ error: reason, activity: { state: "finished", outcome: "needs_attention" } });
    expect(effects).toEqual([{ type: "notify", status: "needs_attention", reason }]);
    expect(transition(ticket, dangling, events.retried, policy).ticket).toMatchObject({
      currentPhase: "build",
      activity: { state: "ready", cause: "retry" },
    });
  });

  it("a ticket that is dispatched in a gate or a wait enters it instead of starting a run", () => {
    const at = (phase: string) => makeTicket({ currentPhase: phase, activity: { state: "ready", cause: "resume" } });
    expect(act(at("ask"), events.dispatched).ticket.activity).toEqual({ state: "awaiting", since: t1, until: plusSeconds(t1, 600) });
    expect(act(at("settle"), events.dispatched).ticket.activity).toEqual({ state: "waiting", until: plusSeconds(t1, 60) });
    expect(act(at("done"), events.dispatched).ticket.activity).toEqual({ state: "finished", outcome: "complete", at: t1 });
  });

  it("a workflow that starts at a gate asks first", () => {
    const careful = makeWorkflow([
      { id: "ask", type: "gate", message: "Begin?", onSuccess: "build" },
      { id: "build", type: "script", command: "make" },
    ]);
    const step = transition(tickets.queued, careful, events.dispatched, policy);
    expect(step.ticket.activity).toEqual({ state: "awaiting", since: t1 });
    expect(step.effects).toEqual([{ type: "notify", status: "awaiting_approval", reason: "Begin?" }]);
    expect(transition(step.ticket, careful, events.due, policy).ticket).toBe(step.ticket);
  });
});

describe("P7 bounds", () => {
  const script = { type: "script", command: "make" } as const;

  it("maxRetries: 3 means four runs, then onFailure", () => {
    const { ticket, runs } = failOut([
      { ...script, id: "build", maxRetries: 3, onFailure: "help" },
      { id: "help", type: "terminal", notify: true },
    ]);
    expect(runs).toBe(4);
    expect(ticket).toMatchObject({ currentPhase: "help", activity: { outcome: "needs_attention" }, retries: { build: 3 } });
  });

  it.each([["retry"], ["build"]])("onFailure: %s runs again as maxRetries allows, then fails", (onFailure) => {
    const { ticket, runs } = failOut([{ ...script, id: "build", maxRetries: 2, onFailure }]);
    expect(runs).toBe(3);
    expect(ticket.activity).toMatchObject({ outcome: "failed" });
  });

  it("a loop of phases ends in needs_attention once maxVisits is used up, and says why", () => {
    const { ticket, runs } = failOut([
      { ...script, id: "verify", onFailure: "fix" },
      { ...script, id: "fix", onFailure: "verify", maxVisits: 3 },
    ]);
    expect(runs).toBe(4 + 3);
    expect(ticket).toMatchObject({
      currentPhase: "fix",
      activity: { outcome: "needs_attention" },
      error: 'Phase "fix" would be entered 4 times; its limit is 3. Last failure: red',
    });
  });

  it("a phase may be entered five times unless it says otherwise", () => {
    const { runs } = failOut([
      { ...script, id: "a", onFailure: "b" },
      { ...script, id: "b", onFailure: "a", maxVisits: 100 },
    ]);
    expect(runs).toBe(5 + 5);
  });

  it("bounds also hold for phases named like a member of every object", () => {
    const { ticket, runs } = failOut(
      [
        { ...script, id: "constructor", onFailure: "toString", maxRetries: 1 },
        { ...script, id: "toString", onFailure: "constructor", maxVisits: 2 },
      ],
      { reask: true },
    );
    expect(runs).toBe(3 * 3 + 2 * 2);
    expect(ticket.activity).toMatchObject({ outcome: "needs_attention" });
  });

  it("retry after exhaustion starts all counts afresh", () => {
    const { ticket } = failOut([
      { ...script, id: "build", maxRetries: 1, onFailure: "fix" },
      { ...script, id: "fix", onFailure: "build" },
    ]);
    expect(ticket.activity).toMatchObject({ outcome: "needs_attention" });
    expect(act(ticket, events.retried).ticket).toMatchObject({
      activity: { state: "ready", cause: "retry" },
      visits: { build: 1 },
      retries: { build: 0 },
      error: null,
    });
  });

  it("a missing verdict is asked for once more per visit, without counting as a retry", () => {
    const first = act(tickets.running, { ...events.failed, reask: true }).ticket;
    expect(first).toMatchObject({ reasked: { build: 1 }, retries: { build: 0 }, activity: { state: "ready", cause: "retry" } });
    expect(first.activity).not.toHaveProperty("notBefore");
    const second = act(act(first, events.dispatched).ticket, { ...events.failed, runId: "0002-build", reask: true }).ticket;
    expect(second).toMatchObject({ reasked: { build: 1 }, retries: { build: 1 } });
  });

  it("backoff doubles up to five minutes, and spreads tickets by up to a quarter", () => {
    const patient = makeWorkflow([{ ...script, id: "build", maxRetries: 20 }]);
    const pause = (used: number, ticketId: string) => {
      const before = { ...tickets.running, ticketId, retries: { build: used } };
      const { activity } = transition(before, patient, events.failed, policy).ticket;
      return activity.state === "ready" ? (Date.parse(activity.notBefore ?? "") - Date.parse(t1)) / 1000 : Number.NaN;
    };
    for (let used = 0; used < 20; used++) {
      const base = Math.min(300, 2 * 2 ** used);
      const pauses = Array.from({ length: 20 }, (_, i) => pause(used, `t${i}`));
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(base);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(base * 1.25);
      expect(new Set(pauses).size).toBeGreaterThan(10);
    }
  });

  const watching = (fields: object) =>
    makeTicket({
      currentPhase: "watch",
      visits: { watch: 1 },
      runs: 1,
      activity: { state: "running", runId: "0001-watch", since: t0 },
      ...fields,
    });
  const poll = makeWorkflow([{ id: "watch", type: "poll", command: "look", timeoutSeconds: 100, intervalSeconds: 30, maxRetries: 1 }]);
  const pendingAt = (seconds: number, durationMs: number, runId = "0001-watch"): TicketEvent => ({
    type: "pending",
    at: plusSeconds(t0, seconds),
    runId,
    durationMs,
  });

  const eightHours = 8 * 3600;

  it("a poll looks every interval, the last time at the end of its window", () => {
    const looked = (windowUsedMs: number) => transition(watching({ windowUsedMs }), poll, pendingAt(5, 1000), policy).ticket;
    expect(looked(0)).toMatchObject({ windowUsedMs: 31_000, activity: { state: "waiting", until: plusSeconds(t0, 35) } });
    expect(looked(89_000)).toMatchObject({ windowUsedMs: 100_000, activity: { state: "waiting", until: plusSeconds(t0, 15) } });
  });

  it("a poll that is not done within its window fails with timeout, and a retry gets a window of its own", () => {
    const late = transition(watching({ windowUsedMs: 100_000 }), poll, pendingAt(100, 1), policy).ticket;
    expect(late).toMatchObject({
      windowUsedMs: 0,
      error: 'Phase "watch" was not done within 100 s.',
      phaseHistory: [{ phase: "watch", status: "failure", category: "timeout" }],
      retries: { watch: 1 },
      activity: { state: "ready", cause: "retry" },
    });
    const again = transition(late, poll, { type: "dispatched", at: plusSeconds(t0, 103) }, policy).ticket;
    expect(transition(again, poll, pendingAt(104, 0, "0002-watch"), policy).ticket.activity).toEqual({
      state: "waiting",
      until: plusSeconds(t0, 134),
    });
  });

  it.each([
    ["the clock is set back by an hour", -3600],
    ["the machine is suspended, or the daemon down, for eight hours", eightHours],
  ])("a poll times out after the same looks as ever when between two of them %s", (_, jump) => {
    /** Seconds from one look to the next, until the poll has failed; `jump` comes on top after the second look. */
    const pauses = (jumpSeconds: number) => {
      let ticket = watching({});
      let at = t0;
      const planned: number[] = [];
      for (let i = 0; ticket.activity.state === "running"; i++) {
        const runId = ticket.activity.runId;
        ticket = transition(ticket, poll, { type: "pending", at, runId, durationMs: 2000 }, policy).ticket;
        if (ticket.activity.state !== "waiting") break;
        planned.push(secondsBetween(at, ticket.activity.until));
        at = plusSeconds(ticket.activity.until, i === 1 ? jumpSeconds : 0);
        ticket = transition(ticket, poll, { type: "dispatched", at }, policy).ticket;
        at = plusSeconds(at, 2);
      }
      expect(ticket.phaseHistory).toMatchObject([{ status: "failure", category: "timeout" }]);
      return planned;
    };
    expect(pauses(jump)).toEqual(pauses(0));
    expect(pauses(0)).toEqual([30, 30, 30, 2]);
  });

  it("a look during which the machine was suspended uses what a look may take at most", () => {
    const ticket = transition(watching({}), poll, pendingAt(eightHours, eightHours * 1000), policy).ticket;
    expect(ticket).toMatchObject({ windowUsedMs: 90_000, activity: { state: "waiting", until: plusSeconds(t0, eightHours + 30) } });
  });

  it("a poll whose ticket says nothing of its window yet has all of it", () => {
    const { windowUsedMs: _, ...old } = watching({ enteredAt: t0 });
    const ticket = { ...TicketFile.parse(old), activity: old.activity };
    const looked = transition(ticket, poll, pendingAt(eightHours, 1000), policy).ticket;
    expect(looked).toMatchObject({ windowUsedMs: 31_000, activity: { state: "waiting", until: plusSeconds(t0, eightHours + 30) } });
  });

  it("P7 whatever the clock does, the looks of a poll use up its window", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ jump: fc.integer({ min: -1e6, max: 1e6 }), durationMs: fc.integer({ min: -10, max: 1e8 }) })),
        (looks) => {
          let ticket = watching({});
          let at = t0;
          for (let i = 0; i <= 4 && ticket.activity.state === "running"; i++) {
            const { jump, durationMs } = looks[i] ?? { jump: 0, durationMs: 0 };
            at = plusSeconds(at, jump);
            ticket = transition(ticket, poll, { type: "pending", at, runId: ticket.activity.runId, durationMs }, policy).ticket;
            ticket = transition(ticket, poll, { type: "dispatched", at }, policy).ticket;
          }
          expect(ticket.retries).toEqual({ watch: 1 });
        },
      ),
    );
  });

  it("a script that answers try later rests a minute, for a day at most", () => {
    const later = makeWorkflow([{ ...script, id: "build" }]);
    const pending: TicketEvent = { type: "pending", at: plusSeconds(t0, 5), runId: "0001-build", durationMs: 5000 };
    const looked = (windowUsedMs: number) => transition({ ...tickets.running, windowUsedMs }, later, pending, policy).ticket;
    expect(looked(0)).toMatchObject({ windowUsedMs: 65_000, activity: { state: "waiting", until: plusSeconds(t0, 65) } });
    expect(looked(86_400_000).activity).toMatchObject({ state: "finished", outcome: "failed" });
  });

  it("an agent that the machine does not let start for a day did not get nowhere", () => {
    const build = makeWorkflow([{ id: "build", type: "agent", promptTemplate: "b", maxRetries: 1 }]);
    const reason = "It could not be started: ENOSPC";
    const pending: TicketEvent = { type: "pending", at: plusSeconds(t0, 5), runId: "0001-build", durationMs: 0, reason };
    const { ticket } = transition({ ...tickets.running, windowUsedMs: 86_400_000 }, build, pending, policy);
    expect(ticket).toMatchObject({
      activity: { state: "ready", cause: "retry" },
      error: `Phase "build" was not done within 86400 s. ${reason}`,
      retries: { build: 1 },
      nudges: {},
      stuck: null,
    });
    expect(ticket.phaseHistory.at(-1)).toMatchObject({ status: "failure", category: "infrastructure" });
  });

  it("the history keeps its last 200 entries and feedback its first 8 KiB", () => {
    const entry = { phase: "build", status: "success" as const, startedAt: t0, completedAt: t0 };
    const phaseHistory = Array.from({ length: 200 }, (_, i) => ({ ...entry, reason: String(i) }));
    const after = act({ ...tickets.running, phaseHistory }, { ...events.failed, feedback: "x".repeat(10_000) }).ticket;
    expect(after.phaseHistory).toHaveLength(200);
    expect(after.phaseHistory[0]).toMatchObject({ reason: "1" });
    expect(after.phaseHistory[199]).toMatchObject({ status: "failure", category: "test" });
    expect(after.feedback.build).toBe(`${"x".repeat(8192)}\n[… 1808 more characters]`);
  });
});
