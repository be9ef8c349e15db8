import fc from "fast-check";
import type { TicketEvent } from "../domain/event.ts";
import type { Activity, Outcome, Ticket } from "../domain/ticket.ts";
import { type Instant, plusSeconds } from "../domain/time.ts";
import type { Workflow } from "../domain/workflow.ts";
import type { Limits, World } from "../engine/world.ts";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "./builders.ts";

/** When the stories of random tickets and worlds begin. */
export const start: Instant = "2026-01-01T00:00:00.000Z";

const terminals = ["done", "help"];

/** Valid workflows of one to four phases of any kind with random edges and bounds, and two terminal ones. */
export const anyWorkflow: fc.Arbitrary<Workflow> = fc.integer({ min: 1, max: 4 }).chain((size) => {
  const ids = ["build", "constructor", "review", "ship"].slice(0, size);
  const target = fc.constantFrom(...ids, ...terminals);
  const phase = fc.record({
    type: fc.constantFrom("script" as const, "agent" as const, "poll" as const, "gate" as const, "wait" as const),
    onSuccess: fc.option(target),
    onFailure: fc.option(fc.oneof(target, fc.constant("retry"))),
    conflict: fc.option(target, { nil: undefined }),
    maxRetries: fc.nat(3),
    maxVisits: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    maxLost: fc.nat(2),
    seconds: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: undefined }),
    approve: fc.boolean(),
  });
  return fc.array(phase, { minLength: size, maxLength: size }).map((phases) =>
    makeWorkflow([
      ...phases.map(({ type, onSuccess, onFailure, conflict, maxRetries, maxVisits, maxLost, seconds, approve }, i) => {
        const id = ids[i] ?? "";
        if (type === "wait") return { type, id, onSuccess, maxVisits, seconds: seconds ?? 60 };
        const step = { id, onSuccess, onFailure, maxRetries, maxVisits, timeoutSeconds: seconds, on: conflict ? { conflict } : undefined };
        if (type === "gate") return { type, ...step, default: approve ? ("approve" as const) : ("reject" as const) };
        if (type === "agent") return { type, ...step, maxLost, promptTemplate: id };
        return { type, ...step, maxLost, command: id };
      }),
      { id: "done", type: "terminal" as const },
      { id: "help", type: "terminal" as const, notify: true },
    ]),
  );
});

/** Something that happens next, before it is known to which state of a ticket. */
export interface Move {
  type: TicketEvent["type"];
  /** News of a run that is not the one under way. */
  stale: boolean;
  /** Time since the move before. */
  seconds: number;
  pick: number;
  reask: boolean;
}

const usual = ["dispatched", "due", "passed", "failed", "pending", "lost", "interrupted"] as const;
const commands = [
  ...(["paused", "resumed", "retried", "skipped", "cancelled", "approved", "rejected"] as const),
  ...(["sent", "taken_over", "handed_back"] as const),
] as const;
const others = ["faulted", "blocker_failed", "session", "stop_requested"] as const;

/** Moves of all kinds, those that carry a ticket on most often. */
export const anyMove: fc.Arbitrary<Move> = fc.record({
  type: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("dispatched" as const, "passed" as const, "failed" as const) },
    { weight: 6, arbitrary: fc.constantFrom(...usual) },
    { weight: 3, arbitrary: fc.constantFrom(...commands) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  ),
  stale: fc.integer({ min: 0, max: 5 }).map((n) => n === 5),
  seconds: fc.oneof(fc.nat(10), fc.nat(10_000)),
  pick: fc.nat(),
  reask: fc.boolean(),
});

const failures = ["conflict", "test", "test", "stuck", "test", "stalled"] as const;

/** The event that a move is for a ticket as it stands. News of a run is about the run under way unless the move is stale. */
export function eventOf({ type, stale, pick, reask }: Move, ticket: Ticket, workflow: Workflow, at: Instant): TicketEvent {
  const past = ticket.phaseHistory.findLast((entry) => entry.runId !== undefined)?.runId ?? "0000-never";
  const { activity } = ticket;
  const live = activity.state === "running" ? activity.runId : past;
  const news = { at, runId: stale ? past : live };
  const phases = [...workflow.phases.map((phase) => phase.id), "bogus"];
  const by = "ann";
  switch (type) {
    case "dispatched":
    case "due":
    case "stop_requested":
    case "resumed":
      return { type, at };
    case "faulted":
      return activity.state === "running" || stale ? { type, ...news, reason: "no repository" } : { type, at, reason: "no repository" };
    case "blocker_failed":
      return { type, at, reason: "t0 did not complete." };
    case "session":
      return { type, ...news, session: { id: `s${pick}`, provider: "claude" } };
    case "passed":
      return { type, ...news };
    case "pending":
      return { type, ...news, durationMs: pick % 100_000 };
    case "failed":
      return { type, ...news, category: failures[pick % failures.length] ?? "test", reason: "red", reask, nudge: pick % 2 === 0 };
    case "interrupted":
    case "lost":
      return { type, ...news, reason: "gone" };
    case "paused":
      return { type, at, hold: { by, at, reason: "lunch" } };
    case "retried":
      return { type, at, by };
    case "skipped":
      return { type, at, by, phase: phases[pick % phases.length] ?? "" };
    case "cancelled":
      return { type, at, by, reason: "not wanted" };
    case "approved":
      return { type, at, by };
    case "rejected":
      return { type, at, by, feedback: "too slow" };
    case "sent":
      return { type, at, by, message: "use the old endpoint" };
    case "taken_over":
      return { type, at, by, ...(pick % 2 === 0 ? {} : { session: { id: `s${pick}`, provider: "claude" } }) };
    case "handed_back":
      return { type, at, by, keep: pick % 2 === 0 };
  }
}

/** Half way through the times of a random world: some of its tickets are due, some are not. */
export const middle: Instant = plusSeconds(start, 50);

const someTime = fc.nat(100).map((seconds) => plusSeconds(start, seconds));

/** One of everything that counts against limits in its own way. */
const worldFlow = makeWorkflow([
  { id: "work", type: "agent", promptTemplate: "work" },
  { id: "other", type: "agent", promptTemplate: "other", agent: "codex" },
  { id: "test", type: "script", command: "test" },
  { id: "watch", type: "poll", command: "look" },
  { id: "settle", type: "wait", seconds: 60 },
  { id: "ask", type: "gate", timeoutSeconds: 60 },
  { id: "land", type: "merge" },
]);
const phaseOfState: Record<Activity["state"], string[]> = {
  queued: [],
  ready: ["work", "other", "test", "watch", "settle", "land", "nowhere"],
  running: ["work", "other", "test", "watch", "land", "nowhere"],
  waiting: ["watch", "settle", "test"],
  awaiting: ["ask"],
  finished: ["work"],
};

const anyActivity: fc.Arbitrary<Activity> = fc.oneof(
  fc.constant<Activity>({ state: "queued" }),
  fc.constantFrom("next" as const, "resume" as const, "retry" as const).map((cause): Activity => ({ state: "ready", cause })),
  someTime.map((notBefore): Activity => ({ state: "ready", cause: "retry", notBefore })),
  fc.constant<Activity>({ state: "running", runId: "0001-x", since: start }),
  someTime.map((until): Activity => ({ state: "waiting", until })),
  fc.option(someTime).map((until): Activity => ({ state: "awaiting", since: start, ...(until === null ? {} : { until }) })),
  fc
    .constantFrom<Outcome[]>("complete", "complete", "failed", "needs_attention", "skipped", "cancelled")
    .map((outcome): Activity => ({ state: "finished", outcome, at: start })),
);

const rarely = fc.integer({ min: 0, max: 7 }).map((n) => n === 7);

const anyTicket = fc.record({
  activity: anyActivity,
  pick: fc.nat(),
  held: rarely,
  broken: rarely,
  missing: rarely,
  unlisted: rarely,
  noWorkflow: rarely,
  priority: fc.constantFrom("P0" as const, "P1" as const, "P2" as const, "P3" as const, null),
  agent: fc.constantFrom("codex", null),
  order: fc.nat(2),
  createdAt: fc.option(someTime),
  blockers: fc.array(fc.nat(11), { maxLength: 2 }),
});

const anyPlan = fc.record({
  tickets: fc.array(anyTicket, { maxLength: 10 }),
  status: fc.constantFrom("active" as const, "active" as const, "active" as const, "blocked" as const, "paused" as const, "draft" as const),
  held: rarely,
  maxParallel: fc.option(fc.integer({ min: 1, max: 3 })),
  onBlockerFailed: fc.constantFrom("wait" as const, "skip" as const, "run" as const),
  repo: fc.constantFrom("/repo", "/other"),
});

const hold = { by: "ann", at: start, reason: "lunch" };

/** Up to three plans whose tickets are in any state, with everything that may be wrong with them, and blockers that may form cycles. */
export const anyWorld: fc.Arbitrary<World> = fc.array(anyPlan, { maxLength: 3 }).map((plans) =>
  makeWorld(
    plans.map((plan, p) => {
      const planId = `plan${p}`;
      const idOf = (t: number) => `t${t}`;
      const made = plan.tickets.map((ticket, t) => {
        const phases = phaseOfState[ticket.activity.state];
        return makeTicket({
          planId,
          ticketId: idOf(t),
          activity: ticket.activity,
          currentPhase: phases[ticket.pick % phases.length] ?? null,
          hold: ticket.held ? hold : null,
          workflow: ticket.noWorkflow ? "unreadable" : null,
          priority: ticket.priority,
          agent: ticket.agent,
          createdAt: ticket.createdAt,
        });
      });
      return makePlanView({
        plan: {
          id: planId,
          status: plan.status,
          hold: plan.held ? hold : null,
          maxParallel: plan.maxParallel,
          onBlockerFailed: plan.onBlockerFailed,
          repo: plan.repo,
          tickets: plan.tickets.flatMap((ticket, t) =>
            ticket.unlisted ? [] : [{ ticketId: idOf(t), order: ticket.order, blockedBy: ticket.blockers.map(idOf) }],
          ),
        },
        tickets: made.filter((_, t) => !plan.tickets[t]?.missing),
        broken: Object.fromEntries(plan.tickets.flatMap((ticket, t) => (ticket.broken ? [[idOf(t), "line 3: not JSON"]] : []))),
        workflows: [worldFlow, { name: "unreadable", problem: 'Workflow "unreadable" cannot be read.' }],
      });
    }),
    { lost: "plan.json: not JSON" },
  ),
);

/** Limits that bind small worlds. */
export const anyLimits: fc.Arbitrary<Limits> = fc
  .record({ maxConcurrency: fc.integer({ min: 1, max: 6 }), codex: fc.option(fc.integer({ min: 1, max: 2 })) })
  .map(({ maxConcurrency, codex }) => ({
    maxConcurrency,
    agents: new Map(codex === null ? [] : [["codex", codex]]),
    defaultAgent: "claude",
    pollInterval: 3600,
    worktreeRoot: "/worktrees",
  }));
