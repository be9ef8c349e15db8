import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { plusSeconds } from "../domain/time.ts";
import { anyLimits, anyWorld, middle, start } from "../testing/arbitraries.ts";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { currentPhase } from "./moves.ts";
import { agentOf, type Decision, schedule, shares } from "./schedule.ts";
import { blockerState, isRunnable, type Limits, type PlanView, planStatus, type World, workflowOf } from "./world.ts";

const now = middle;
const later = plusSeconds(now, 60);
const sooner = plusSeconds(now, 20);
const roomy: Limits = { maxConcurrency: 64, agents: new Map(), defaultAgent: "claude", pollInterval: 3600, worktreeRoot: "/worktrees" };
const flow = makeWorkflow([
  { id: "build", type: "agent", promptTemplate: "build" },
  { id: "watch", type: "poll", command: "look" },
  { id: "settle", type: "wait", seconds: 60 },
  { id: "ask", type: "gate", timeoutSeconds: 60 },
  { id: "land", type: "merge" },
]);
const hold = { by: "ann", at: start, reason: "lunch" };

const ready = (ticketId: string, fields: Parameters<typeof makeTicket>[0] = {}): Ticket =>
  makeTicket({ ticketId, currentPhase: "build", activity: { state: "ready", cause: "next" }, ...fields });
const running = (ticketId: string, phase = "build"): Ticket =>
  ready(ticketId, { currentPhase: phase, activity: { state: "running", runId: `0001-${phase}`, since: start } });
const ended = (ticketId: string, outcome: "complete" | "failed" | "skipped"): Ticket =>
  makeTicket({ ticketId, activity: { state: "finished", outcome, at: start } });
const worldOf = (parts: Parameters<typeof makePlanView>[0]): World => makeWorld([makePlanView({ workflows: [flow], ...parts })]);
const where = (ticketId: string, planId = "plan") => ({ planId, ticketId });
const dispatch = (ticketId: string, planId = "plan"): Decision => ({ do: "dispatch", ...where(ticketId, planId) });
const dispatched = (world: World, limits: Limits = roomy): string[] =>
  schedule(world, limits, now).decisions.flatMap((decision) => (decision.do === "dispatch" ? [decision.ticketId] : []));

/** Counts of runs per limit, of a world's running tickets and of those that a schedule adds. */
function usage(world: World, limits: Limits, decisions: Decision[]): Map<string, { used: number; limit: number }> {
  const counts = new Map<string, { used: number; limit: number }>();
  const starts = new Set(
    decisions.filter((decision) => decision.do === "dispatch").map((decision) => `${decision.planId}/${decision.ticketId}`),
  );
  for (const view of world.plans.values()) {
    for (const ticket of view.tickets.values()) {
      if (ticket.activity.state !== "running" && !starts.has(`${view.plan.id}/${ticket.ticketId}`)) continue;
      const workflow = workflowOf(view, ticket);
      const phase = typeof workflow === "string" ? undefined : currentPhase(ticket, workflow);
      for (const { key, limit } of shares(view, ticket, phase, limits)) counts.set(key, { used: (counts.get(key)?.used ?? 0) + 1, limit });
    }
  }
  return counts;
}

/** Whether a ticket could start if there were no limits, from the description in docs/engine.md alone. */
function isCandidate(view: PlanView, ticket: Ticket): boolean {
  const { activity } = ticket;
  if (!isRunnable(view.plan) || ticket.hold || view.broken.has(ticket.ticketId)) return false;
  const workflow = workflowOf(view, ticket);
  const phase = typeof workflow === "string" ? undefined : currentPhase(ticket, workflow);
  if (!phase) return false;
  if (activity.state === "queued") return blockerState(view, ticket.ticketId).state === "settled";
  if (activity.state === "ready") return (activity.notBefore ?? now) <= now;
  return activity.state === "waiting" && phase.type !== "wait" && activity.until <= now;
}

function shuffled<T>(items: Iterable<T>, seed: number): T[] {
  const list = [...items];
  for (let i = list.length - 1, x = seed; i > 0; i--) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    const j = x % (i + 1);
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}

describe("any world", () => {
  const runs = { numRuns: 3000 };

  it("P7 starts nothing over a limit", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, (world, limits) => {
        const { decisions } = schedule(world, limits, now);
        const already = usage(world, limits, []);
        for (const [key, { used, limit }] of usage(world, limits, decisions)) {
          expect(used, key).toBeLessThanOrEqual(Math.max(limit, already.get(key)?.used ?? 0));
        }
      }),
      runs,
    );
  });

  it("starts nothing while the machine may not take more, and does what needs no room", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, (world, limits) => {
        const free = schedule(world, limits, now).decisions.filter((decision) => decision.do !== "dispatch");
        expect(schedule(world, { ...limits, stopped: "the disk is full" }, now).decisions).toEqual(free);
      }),
    );
  });

  it("B0.1 leaves no candidate out while all its limits have room, and starts nothing else", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, (world, limits) => {
        const { decisions } = schedule(world, limits, now);
        const counts = usage(world, limits, decisions);
        const starts = new Set(
          decisions.flatMap((decision) => (decision.do === "dispatch" ? [`${decision.planId}/${decision.ticketId}`] : [])),
        );
        for (const view of world.plans.values()) {
          for (const ticket of view.tickets.values()) {
            const name = `${view.plan.id}/${ticket.ticketId}`;
            if (!isCandidate(view, ticket)) expect(starts).not.toContain(name);
            else if (!starts.has(name)) {
              const workflow = workflowOf(view, ticket);
              const phase = typeof workflow === "string" ? undefined : currentPhase(ticket, workflow);
              const full = shares(view, ticket, phase, limits).filter(({ key, limit }) => (counts.get(key)?.used ?? 0) >= limit);
              expect(full, name).not.toEqual([]);
            }
          }
        }
      }),
      runs,
    );
  });

  it("decides each ticket once, and the same in whatever order plans and tickets are found: the order has no ties", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, fc.nat(), (world, limits, seed) => {
        const mixed: World = {
          ...world,
          plans: new Map(
            shuffled(world.plans, seed).map(([id, view]) => [id, { ...view, tickets: new Map(shuffled(view.tickets, seed)) }]),
          ),
        };
        const a = schedule(world, limits, now);
        const b = schedule(mixed, limits, now);
        const starts = (decisions: Decision[]) => decisions.filter((decision) => decision.do === "dispatch");
        const others = (decisions: Decision[]) =>
          decisions
            .filter((decision) => decision.do !== "dispatch")
            .map((decision) => JSON.stringify(decision))
            .toSorted();
        expect(starts(b.decisions)).toEqual(starts(a.decisions));
        expect(others(b.decisions)).toEqual(others(a.decisions));
        expect(b.nextAt).toBe(a.nextAt);
        const names = a.decisions.map((decision) => `${decision.planId}/${decision.ticketId}`);
        expect(new Set(names).size).toBe(names.length);
      }),
      runs,
    );
  });

  it("never touches what is held, broken, running or finished", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, (world, limits) => {
        for (const { planId, ticketId } of schedule(world, limits, now).decisions) {
          const view = world.plans.get(planId);
          const ticket = view?.tickets.get(ticketId);
          expect(view?.plan.hold ?? null).toBeNull();
          expect(["active", "blocked"]).toContain(view?.plan.status);
          expect(ticket?.hold).toBeNull();
          expect(view?.broken.has(ticketId)).toBe(false);
          expect(["queued", "ready", "waiting", "awaiting"]).toContain(ticket?.activity.state);
        }
      }),
      runs,
    );
  });

  it("C17 starts something in an active plan in which nothing else is under way, and nothing in a blocked or complete one", () => {
    fc.assert(
      fc.property(anyWorld, (world) => {
        for (const view of world.plans.values()) {
          const status = planStatus(view);
          const its = schedule(makeWorld([view]), roomy, now).decisions;
          const underWay = [...view.tickets.values()].some((ticket) => {
            const { activity } = ticket;
            if (activity.state === "ready") return activity.notBefore !== undefined && activity.notBefore > now;
            return activity.state === "running" || activity.state === "waiting" || activity.state === "awaiting";
          });
          const idle = view.tickets.size > 0 && status === "active" && !underWay;
          if (idle && isRunnable(view.plan) && view.plan.maxParallel === null) expect(its).not.toEqual([]);
          if (status === "complete") expect(its).toEqual([]);
          // A ticket with a failed blocker is skipped at once, even where another of its blockers waits for a person.
          if (status === "blocked") expect(its.filter((decision) => decision.do !== "skip")).toEqual([]);
        }
      }),
      runs,
    );
  });

  it("looks again at the earliest time at which something comes due", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, (world, limits) => {
        const times = [...world.plans.values()].flatMap((view) =>
          [...view.tickets.values()].flatMap((ticket) => {
            const { activity } = ticket;
            if (!isRunnable(view.plan) || ticket.hold || view.broken.has(ticket.ticketId)) return [];
            const at = activity.state === "ready" ? activity.notBefore : "until" in activity ? activity.until : undefined;
            return at !== undefined && at > now ? [at] : [];
          }),
        );
        expect(schedule(world, limits, now).nextAt).toBe(times.toSorted()[0]);
      }),
      runs,
    );
  });
});

describe("order", () => {
  it("resumed work, then retries, then priority, order, age, plan id and ticket id", () => {
    const first = makePlanView({
      plan: {
        id: "a",
        createdAt: start,
        tickets: [
          { ticketId: "z-last", order: 2 },
          { ticketId: "m-first", order: 1 },
          { ticketId: "P0" },
          { ticketId: "resumed", order: 9 },
          { ticketId: "retried", order: 9 },
          { ticketId: "P3", order: 0 },
        ],
      },
      tickets: [
        ready("unlisted", { planId: "a" }),
        ready("P3", { planId: "a", priority: "P3" }),
        ready("z-last", { planId: "a" }),
        ready("m-first", { planId: "a", priority: "P2" }),
        ready("P0", { planId: "a", priority: "P0" }),
        ready("retried", { planId: "a", priority: "P3", activity: { state: "ready", cause: "retry", notBefore: now } }),
        ready("resumed", { planId: "a", priority: "P3", activity: { state: "ready", cause: "resume" } }),
      ],
      workflows: [flow],
    });
    const second = makePlanView({
      plan: {
        id: "B",
        createdAt: plusSeconds(start, 1),
        tickets: ["new", "old", "twin-b", "twin-a"].map((ticketId) => ({ ticketId, order: 1 })),
      },
      tickets: [
        ready("twin-b", { planId: "B" }),
        ready("twin-a", { planId: "B" }),
        ready("new", { planId: "B", createdAt: plusSeconds(start, 5) }),
        ready("old", { planId: "B", createdAt: plusSeconds(start, -5) }),
      ],
      workflows: [flow],
    });
    expect(dispatched(makeWorld([second, first]))).toEqual([
      "resumed",
      "retried",
      "P0",
      "old",
      "m-first",
      "twin-a",
      "twin-b",
      "new",
      "z-last",
      "unlisted",
      "P3",
    ]);
  });

  it("S0.39 one at a time follows the plan's order", () => {
    const world = worldOf({
      plan: {
        tickets: [
          { ticketId: "t1", order: 2 },
          { ticketId: "t2", order: 1 },
        ],
      },
      tickets: [makeTicket(), makeTicket({ ticketId: "t2" })],
    });
    expect(dispatched(world, { ...roomy, maxConcurrency: 1 })).toEqual(["t2"]);
  });
});

describe("limits", () => {
  it("S0.53 three plans of three tickets at limit 4 start four", () => {
    const views = ["a", "b", "c"].map((id) =>
      makePlanView({ plan: { id }, tickets: [1, 2, 3].map((i) => makeTicket({ planId: id, ticketId: `t${i}` })), workflows: [flow] }),
    );
    expect(dispatched(makeWorld(views), { ...roomy, maxConcurrency: 4 })).toEqual(["t1", "t2", "t3", "t1"]);
  });

  it("passes over a candidate whose agent or plan is full and takes the next one that fits", () => {
    const world = worldOf({ tickets: [running("t0"), ready("t1"), ready("t2", { agent: "codex" })] });
    expect(dispatched(world, { ...roomy, agents: new Map([["claude", 1]]) })).toEqual(["t2"]);
    expect(dispatched(worldOf({ plan: { maxParallel: 2 }, tickets: [running("t0"), ready("t1"), ready("t2")] }))).toEqual(["t1"]);
  });

  it("merges into one repository one at a time", () => {
    const tickets = [
      ready("t1", { currentPhase: "land" }),
      ready("t2", { currentPhase: "land" }),
      ready("t3", { currentPhase: "land", repo: "/b" }),
    ];
    expect(dispatched(worldOf({ tickets }))).toEqual(["t1", "t3"]);
  });

  it("polls, waits and gates hold no place of a run", () => {
    const polls = Array.from({ length: 7 }, (_, i) => running(`p${i}`, "watch"));
    const settling = makeTicket({ ticketId: "s", currentPhase: "settle", activity: { state: "waiting", until: later } });
    const asking = makeTicket({ ticketId: "a", currentPhase: "ask", activity: { state: "awaiting", since: start } });
    const looking = ready("t2", { currentPhase: "watch" });
    const world = worldOf({ tickets: [...polls, settling, asking, ready("t1"), looking, ready("t3", { currentPhase: "watch" })] });
    expect(dispatched(world, { ...roomy, maxConcurrency: 1 })).toEqual(["t1", "t2"]);
    expect(schedule(worldOf({ tickets: [running("t0"), looking, ready("t3")] }), { ...roomy, maxConcurrency: 1 }, now).decisions).toEqual([
      dispatch("t2"),
    ]);
  });

  it("P10 a running ticket whose workflow cannot be read any more still holds its place", () => {
    const lost = { ...running("t0"), workflow: "gone" };
    const gone = { name: "gone", problem: "not YAML" };
    expect(dispatched(worldOf({ tickets: [lost, ready("t1")], workflows: [flow, gone] }), { ...roomy, maxConcurrency: 1 })).toEqual([]);
    expect(dispatched(worldOf({ plan: { maxParallel: 1 }, tickets: [lost, ready("t1")], workflows: [flow, gone] }))).toEqual([]);
  });

  it("the agent is the phase's, else the ticket's, the plan's, the default", () => {
    const [own] = makeWorkflow([{ id: "a", type: "agent", promptTemplate: "a", agent: "pi" }]).phases;
    const [open] = flow.phases;
    if (!own || !open) throw new Error("no phases");
    const view = makePlanView({ plan: { agent: "codex" } });
    expect(agentOf(own, makeTicket({ agent: "gemini" }), view, "claude")).toBe("pi");
    expect(agentOf(open, makeTicket({ agent: "gemini" }), view, "claude")).toBe("gemini");
    expect(agentOf(open, makeTicket(), view, "claude")).toBe("codex");
    expect(agentOf(open, makeTicket(), makePlanView(), "claude")).toBe("claude");
  });
});

describe("what is due", () => {
  it("a wait phase and a gate's default come due, a poll and a backoff start again, each at its time", () => {
    const tickets = (at: string) => [
      makeTicket({ ticketId: "t1", currentPhase: "settle", activity: { state: "waiting", until: at } }),
      makeTicket({ ticketId: "t2", currentPhase: "ask", activity: { state: "awaiting", since: start, until: at } }),
      makeTicket({ ticketId: "t3", currentPhase: "watch", activity: { state: "waiting", until: at } }),
      ready("t4", { activity: { state: "ready", cause: "retry", notBefore: at } }),
    ];
    expect(schedule(worldOf({ tickets: tickets(now) }), roomy, now)).toEqual({
      decisions: [{ do: "due", ...where("t1") }, { do: "due", ...where("t2") }, dispatch("t4"), dispatch("t3")],
      nextAt: undefined,
    });
    const [poll] = tickets(sooner);
    expect(schedule(worldOf({ tickets: [...tickets(later).slice(1), ...(poll ? [poll] : [])] }), roomy, now)).toEqual({
      decisions: [],
      nextAt: sooner,
    });
  });

  it("a time further ahead than its pause can be long was noted before the clock was set back, and has come", () => {
    const limits = { ...roomy, pollInterval: 60 };
    const tickets = (seconds: number) => [
      makeTicket({ ticketId: "t1", currentPhase: "settle", activity: { state: "waiting", until: plusSeconds(now, seconds) } }),
      makeTicket({ ticketId: "t2", currentPhase: "watch", activity: { state: "waiting", until: plusSeconds(now, seconds) } }),
      ready("t3", { activity: { state: "ready", cause: "retry", notBefore: plusSeconds(now, seconds) } }),
      makeTicket({ ticketId: "t4", currentPhase: "build", activity: { state: "waiting", until: plusSeconds(now, seconds) } }),
    ];
    expect(schedule(worldOf({ tickets: tickets(60) }), limits, now).decisions).toEqual([]);
    expect(dispatched(worldOf({ tickets: tickets(3600) }), limits)).toEqual(["t3", "t2", "t4"]);
  });

  it("of tickets with one worktree, or one branch of one repository, one works until it has ended", () => {
    const plan = { repo: "/repo", tickets: ["t1", "t2", "t3", "t4"].map((ticketId, order) => ({ ticketId, order })) };
    const shared = [{ branch: "b" }, { branch: "b" }, { worktree: "/w" }, { worktree: "/w" }];
    const tickets = shared.map((fields, i) => makeTicket({ ticketId: `t${i + 1}`, ...fields }));
    expect(dispatched(worldOf({ plan, tickets }))).toEqual(["t1", "t3"]);
    const [first, second, third, fourth] = tickets as [Ticket, Ticket, Ticket, Ticket];
    const left: Ticket[] = [
      { ...first, ...ended("t1", "complete"), branch: "b" },
      second,
      { ...third, activity: { state: "awaiting", since: start }, currentPhase: "ask" },
      fourth,
    ];
    expect(dispatched(worldOf({ plan, tickets: left }))).toEqual(["t2"]);
    expect(dispatched(worldOf({ plan: { ...plan, repo: null }, tickets: [first, { ...second, repo: "/other" }] }))).toEqual(["t1", "t2"]);
  });

  it("an unusable workflow or phase is a fault that names what there is", () => {
    const tickets = [ready("t1", { workflow: "nope" }), ready("t2", { currentPhase: "bogus" })];
    expect(schedule(worldOf({ tickets }), roomy, now).decisions).toEqual([
      { do: "fault", ...where("t1"), reason: 'Workflow "nope" is not known.' },
      { do: "fault", ...where("t2"), reason: 'Workflow "flow" has no phase "bogus"; it has build, watch, settle, ask, land.' },
    ]);
  });

  it("held tickets, held plans and plans that are not active start nothing", () => {
    expect(dispatched(worldOf({ tickets: [ready("t1", { hold })] }))).toEqual([]);
    expect(dispatched(worldOf({ plan: { hold }, tickets: [ready("t1")] }))).toEqual([]);
    for (const status of ["draft", "paused", "complete"] as const)
      expect(dispatched(worldOf({ plan: { status }, tickets: [ready("t1")] }))).toEqual([]);
    expect(dispatched(worldOf({ plan: { status: "blocked" }, tickets: [ready("t1")] }))).toEqual(["t1"]);
  });

  it("P10 a broken ticket is never started, and stops no other", () => {
    expect(dispatched(worldOf({ tickets: [ready("t1"), ready("t2")], broken: { t1: "not JSON" } }))).toEqual(["t2"]);
    expect(dispatched(worldOf({ tickets: [ready("t1")], twin: "P and p" }))).toEqual([]);
  });
});

describe("blockers", () => {
  const diamond = [
    { ticketId: "top" },
    { ticketId: "left", blockedBy: ["top"] },
    { ticketId: "right", blockedBy: ["top"] },
    { ticketId: "bottom", blockedBy: ["left", "right"] },
  ];
  const queued = (...ids: string[]) => ids.map((ticketId) => makeTicket({ ticketId }));

  it("S0.50 a diamond runs in topological order with both sides at once", () => {
    const step = (tickets: Ticket[]) => dispatched(worldOf({ plan: { tickets: diamond }, tickets }));
    expect(step(queued("top", "left", "right", "bottom"))).toEqual(["top"]);
    expect(step([running("top"), ...queued("left", "right", "bottom")])).toEqual([]);
    expect(step([ended("top", "complete"), ...queued("left", "right", "bottom")])).toEqual(["left", "right"]);
    expect(step([ended("top", "complete"), ended("left", "complete"), running("right"), ...queued("bottom")])).toEqual([]);
    expect(step([ended("top", "complete"), ended("left", "complete"), ended("right", "complete"), ...queued("bottom")])).toEqual([
      "bottom",
    ]);
  });

  it.each(["failed", "skipped"] as const)("C18 a blocker that ended as %s: wait waits, skip skips, run runs", (outcome) => {
    const decide = (onBlockerFailed: "wait" | "skip" | "run") =>
      schedule(
        worldOf({ plan: { onBlockerFailed, tickets: diamond.slice(0, 2) }, tickets: [ended("top", outcome), ...queued("left")] }),
        roomy,
        now,
      ).decisions;
    expect(decide("wait")).toEqual([]);
    expect(decide("skip")).toEqual([{ do: "skip", ...where("left"), reason: "top did not complete." }]);
    expect(decide("run")).toEqual([dispatch("left")]);
  });

  it("an unknown or unreadable blocker stays open, whatever the plan says of failed ones", () => {
    const plan = { onBlockerFailed: "run" as const, tickets: diamond.slice(0, 2) };
    expect(dispatched(worldOf({ plan, tickets: queued("left") }))).toEqual([]);
    expect(dispatched(worldOf({ plan, tickets: [ended("top", "complete"), ...queued("left")], broken: { top: "not JSON" } }))).toEqual([]);
  });
});

it("chooses among 10,000 tickets", () => {
  const tickets = Array.from({ length: 10_000 }, (_, i) => makeTicket({ ticketId: `t${String(i).padStart(5, "0")}` }));
  const plan = {
    tickets: tickets.map(({ ticketId }, i) => ({ ticketId, blockedBy: i === 0 || i > 9990 ? [] : [`t${String(i - 1).padStart(5, "0")}`] })),
  };
  expect(schedule(worldOf({ plan, tickets }), { ...roomy, maxConcurrency: 3 }, now)).toEqual({
    decisions: [dispatch("t00000"), dispatch("t09991"), dispatch("t09992")],
    nextAt: undefined,
  });
});
