import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Config } from "../domain/config.ts";
import { type Park, type Parks, providerTroubles } from "../domain/park.ts";
import type { Ticket } from "../domain/ticket.ts";
import { plusSeconds, secondsBetween } from "../domain/time.ts";
import { anyLimits, anyMove, anyWorkflow, anyWorld, eventOf, middle, start } from "../testing/arbitraries.ts";
import { makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { explain } from "./explain.ts";
import { currentPhase } from "./moves.ts";
import { expire, meetService, meetTrouble, opensAt, type Providers, parkText, placesOf, reopen, type Trouble } from "./park.ts";
import { agentsOf, schedule, trialsOf } from "./schedule.ts";
import { type Policy, transition } from "./transition.ts";
import { type Limits, providersOf, type World, workflowOf } from "./world.ts";

const now = middle;
const before = plusSeconds(start, -60);
const policy: Policy = { retryBackoffSeconds: 2, pollInterval: 10 };
const roomy: Limits = { maxConcurrency: 64, agents: new Map(), defaultAgent: "claude", pollInterval: 3600, worktreeRoot: "/worktrees" };

const trouble = (fields: Partial<Trouble> = {}): Trouble => ({
  category: "rate_limit",
  reason: "too many requests",
  agent: "claude",
  ticket: "plan/t1",
  startedAt: start,
  at: now,
  ...fields,
});
const parkOf = (fields: Partial<Park> = {}): Park => ({
  category: "usage_limit",
  reason: "used up",
  agent: "claude",
  ticket: "plan/t1",
  since: before,
  at: before,
  until: plusSeconds(now, 60),
  times: 1,
  limit: 0,
  ...fields,
});
const providers = (parks: Record<string, Park>, fields: Partial<Providers> = {}): Providers => ({
  parks: new Map(Object.entries(parks)),
  accounts: new Map([
    ["claude", "claude"],
    ["codex", "codex"],
  ]),
  fallbacks: new Map(),
  manual: false,
  ...fields,
});

describe("P9 an agent whose program is missing or incompatible", () => {
  const met = () => meetTrouble(undefined, trouble({ category: "incompatible", reason: "not on PATH", program: true }));

  it("waits for its program, and is tried once an hour all the same", () => {
    const { park, isNews } = met();
    expect([isNews, park.program, secondsBetween(park.at, park.until)]).toEqual([true, true, 3600]);
    const again = meetTrouble(park, trouble({ category: "incompatible", program: true, startedAt: park.until, at: park.until }));
    expect([again.isNews, again.park.times]).toEqual([false, 2]);
    const other = meetTrouble(park, trouble({ category: "auth", startedAt: park.until, at: park.until }));
    expect([other.isNews, other.park.program]).toEqual([true, undefined]);
  });

  it("is tried by one run once its program can be used, but not where a person has to say so", () => {
    const park = expire(met().park, now);
    expect(placesOf(providers({ claude: park }), "claude", now)).toBe(1);
    expect(placesOf(providers({ claude: park }, { manual: true }), "claude", now)).toBe(0);
    const later = plusSeconds(now, 5);
    expect(meetTrouble(park, trouble({ category: "incompatible", program: true, startedAt: later, at: later })).isNews).toBe(true);
  });
});

describe("P9 how long an account is parked", () => {
  const seconds = (park: Park) => secondsBetween(park.at, park.until);

  it.each([
    ["rate_limit", 30, 1800],
    ["overloaded", 30, 1800],
    ["unavailable", 30, 1800],
    ["usage_limit", 3600, 3600],
    ["auth", 900, 900],
    ["incompatible", 900, 900],
  ] as const)("%s: %i s at first, twice as long each time, at most %i s, and up to a quarter more", (category, first, longest) => {
    let park: Park | undefined;
    for (let times = 1; times <= 12; times++) {
      const at = plusSeconds(now, times * 10_000);
      ({ park } = meetTrouble(park, trouble({ category, startedAt: plusSeconds(at, -1), at })));
      const bare = Math.min(longest, first * 2 ** (times - 1));
      expect(park).toMatchObject({ times, limit: 0 });
      expect(seconds(park)).toBeGreaterThanOrEqual(bare);
      expect(seconds(park)).toBeLessThanOrEqual(bare * 1.25);
    }
  });

  it("until the reset that was told and a little longer, to the end of the minute where only the minute was told", () => {
    const resetsAt = plusSeconds(now, 3600);
    const told = (at: string) => secondsBetween(at, meetTrouble(undefined, trouble({ resetsAt: at })).park.until);
    expect(told(plusSeconds(resetsAt, 7))).toBeGreaterThanOrEqual(1);
    expect(told(plusSeconds(resetsAt, 7))).toBeLessThanOrEqual(61);
    const minute = "2026-01-01T01:00:00.000Z";
    expect(told(minute)).toBeGreaterThanOrEqual(60);
    expect(told(minute)).toBeLessThanOrEqual(120);
  });

  it("a reset that has passed is tried soon, one that is no sensible time is none", () => {
    expect(seconds(meetTrouble(undefined, trouble({ category: "usage_limit", resetsAt: start })).park)).toBeLessThan(40);
    const never = meetTrouble(undefined, trouble({ category: "usage_limit", resetsAt: plusSeconds(now, 1e8) })).park;
    expect(seconds(never)).toBeLessThanOrEqual(4500);
  });

  it("runs that had begun before say the same once more, unless they know better when it ends", () => {
    const first = meetTrouble(undefined, trouble());
    expect(first.isNews).toBe(true);
    const second = meetTrouble(first.park, trouble({ at: plusSeconds(now, 5), ticket: "plan/t2" }));
    expect(second).toEqual({ park: first.park, isNews: false });
    const resetsAt = plusSeconds(now, 3607);
    const third = meetTrouble(first.park, trouble({ category: "usage_limit", at: plusSeconds(now, 6), resetsAt }));
    expect(third).toMatchObject({ isNews: true, park: { category: "usage_limit", times: 1 } });
    expect(third.park.until > resetsAt).toBe(true);
  });

  it("one notice per cause: the same again is none, another kind is, and so is what comes after a person mended it", () => {
    const first = meetTrouble(undefined, trouble({ category: "auth" })).park;
    const later = plusSeconds(now, 2000);
    const again = meetTrouble(first, trouble({ category: "auth", startedAt: plusSeconds(now, 1000), at: later }));
    expect(again.isNews).toBe(false);
    const run = { startedAt: plusSeconds(later, 1), at: plusSeconds(later, 2) };
    expect(meetTrouble(again.park, trouble({ category: "overloaded", ...run }))).toMatchObject({ isNews: true, park: { times: 1 } });
    const reopened = reopen(again.park, later);
    const late = meetTrouble(reopened, trouble({ category: "auth", startedAt: now, at: plusSeconds(later, 1) }));
    expect(late).toEqual({ park: reopened, isNews: false });
    expect(meetTrouble(reopened, trouble({ category: "auth", ...run }))).toMatchObject({ isNews: true, park: { times: 1, limit: 0 } });
  });

  it("runs that ended together count once, in whichever order they are told of", () => {
    for (const category of providerTroubles) {
      const ends = [plusSeconds(now, 0.004), now];
      for (const order of [ends, ends.toReversed()]) {
        const [first, second] = order.map((at) => trouble({ category, startedAt: before, at }));
        const { park } = meetTrouble(undefined, first as Trouble);
        expect(meetTrouble(park, second as Trouble)).toMatchObject({ isNews: false, park: { times: 1, until: park.until } });
      }
    }
  });

  it("the clock set back does not make it longer than it ever was", () => {
    const park = parkOf({ at: now, until: plusSeconds(now, 60) });
    const then = plusSeconds(now, -86_400);
    expect(placesOf(providers({ claude: park }), "claude", then)).toBe(1);
    const again = meetTrouble(park, trouble({ category: "usage_limit", startedAt: then, at: plusSeconds(then, 1) })).park;
    expect(placesOf(providers({ claude: again }), "claude", plusSeconds(then, 2))).toBe(0);
  });
});

describe("P9 how an account comes back", () => {
  it("one run tries, then two, then four, then all that fit; runs of the time before say nothing", () => {
    let park: Park | undefined = parkOf({ until: now });
    const places = () => park && placesOf(providers({ claude: park }), "claude", now);
    const seen = [places()];
    expect(meetService(park, before, "p/a/1")).toBe(park);
    for (let run = 0; park; run++) {
      park = meetService(park, now, `p/a/${run}`);
      expect(park && meetService(park, now, `p/a/${run}`)).toBe(park);
      seen.push(places());
    }
    expect(seen).toEqual([1, 2, 4, undefined]);
  });

  it("with resumeAgents: manual nothing tries until a person says so", () => {
    const over = parkOf({ until: before });
    expect(placesOf(providers({ claude: over }, { manual: true }), "claude", now)).toBe(0);
    expect(placesOf(providers({ claude: reopen(over, now) }, { manual: true }), "claude", now)).toBe(1);
    expect(parkText(providers({ claude: over }, { manual: true }), "claude", now)).toBe(
      "Agent claude is parked until somebody resumes it: usage limit (used up)",
    );
  });

  it("in quietHours none comes back by itself, and each does when they end", () => {
    const night = new Date(2026, 10, 21, 23, 30).toISOString();
    const morning = new Date(2026, 10, 22, 7, 0).toISOString();
    const quiet = { quietHours: "22:00-07:00" };
    const parked = providers({ claude: parkOf({ until: plusSeconds(night, -60), at: plusSeconds(night, -3600) }) }, quiet);
    expect(placesOf(parked, "claude", night)).toBe(0);
    expect(opensAt(parked, "claude", night)).toBe(morning);
    expect(opensAt(parked, "claude", plusSeconds(night, -7200))).toBe(morning);
    expect(placesOf(parked, "claude", morning)).toBe(1);
    expect(opensAt(parked, "claude", morning)).toBe(plusSeconds(night, -60));
    expect(placesOf(providers({ claude: reopen(parkOf(), night) }, quiet), "claude", night)).toBe(1);
  });

  it("agents of one account are parked together", () => {
    const config = {
      agents: { a: { account: "team", fallbackAgents: ["c"] }, b: { account: "team", fallbackAgents: [] }, c: { fallbackAgents: [] } },
    };
    const found = providersOf({ ...config, resumeAgents: "auto" } as unknown as Config, new Map([["team", parkOf()]]));
    expect([...found.accounts]).toEqual([
      ["a", "team"],
      ["b", "team"],
      ["c", "c"],
    ]);
    expect(parkText(found, "team", now)).toBe(`Account team (a, b) is parked until ${parkOf().until}: usage limit (used up)`);
    const flow = makeWorkflow([{ id: "build", type: "agent", promptTemplate: "build" }]);
    const tickets = ["a", "b", "c"].map((agent) => makeTicket({ ticketId: agent, agent }));
    const decisions = schedule(makeWorld([makePlanView({ tickets, workflows: [flow] })]), { ...roomy, providers: found }, now).decisions;
    expect(decisions).toEqual([
      { do: "dispatch", planId: "plan", ticketId: "a", agent: "c" },
      { do: "dispatch", planId: "plan", ticketId: "c" },
    ]);
  });
});

describe("schedule", () => {
  const flow = makeWorkflow([
    { id: "build", type: "agent", promptTemplate: "build" },
    { id: "own", type: "agent", promptTemplate: "own", fallbackAgents: ["nobody", "codex"] },
  ]);
  const ready = (ticketId: string, fields: Parameters<typeof makeTicket>[0] = {}) =>
    makeTicket({ ticketId, currentPhase: "build", activity: { state: "ready", cause: "resume" }, ...fields });
  const decide = (tickets: Ticket[], its: Providers, at = now) =>
    schedule(makeWorld([makePlanView({ tickets, workflows: [flow] })]), { ...roomy, providers: its }, at);
  const names = (tickets: Ticket[], its: Providers, at = now) =>
    decide(tickets, its, at).decisions.flatMap((decision) =>
      decision.do === "dispatch" ? [`${decision.ticketId} ${decision.agent ?? ""}`.trim()] : [],
    );

  it("waits for the end of the park, then starts one run, and none beside it", () => {
    const its = providers({ claude: parkOf() });
    expect(decide([ready("t1"), ready("t2")], its)).toEqual({ decisions: [], nextAt: parkOf().until });
    expect(names([ready("t1"), ready("t2")], its, parkOf().until)).toEqual(["t1"]);
    const trial = ready("t1", { activity: { state: "running", runId: "0002-build", since: now } });
    expect(names([trial, ready("t2")], its, parkOf().until)).toEqual([]);
    const older = ready("t1", { activity: { state: "running", runId: "0001-build", since: before } });
    expect(names([older, ready("t2")], its, parkOf().until)).toEqual(["t2"]);
  });

  it("has those that stand in take over, the phase's own before the agent's", () => {
    const fallbacks = new Map([["claude", ["codex"]]]);
    const its = providers({ claude: parkOf() }, { fallbacks });
    expect(names([ready("t1"), ready("t2", { agent: "codex" })], its)).toEqual(["t1 codex", "t2"]);
    expect(names([ready("t1", { currentPhase: "own" })], providers({ claude: parkOf() }))).toEqual(["t1 codex"]);
    const both = providers({ claude: parkOf(), codex: parkOf({ until: plusSeconds(now, 30) }) }, { fallbacks });
    expect(decide([ready("t1")], both)).toEqual({ decisions: [], nextAt: plusSeconds(now, 30) });
  });

  it("a stand-in counts against its own limits while it runs", () => {
    const its = providers({ claude: parkOf(), codex: parkOf({ until: before }) }, { fallbacks: new Map([["claude", ["codex"]]]) });
    const running = ready("t1", { activity: { state: "running", runId: "0002-build", since: now, agent: "codex" } });
    expect(names([running, ready("t2")], its)).toEqual([]);
  });

  it("a ticket that met the trouble again is not the next to test it", () => {
    const its = providers({ claude: parkOf({ times: 2, until: before }) });
    expect(names([ready("t1"), ready("t2", { priority: "P3" })], its)).toEqual(["t2"]);
    expect(names([ready("t1")], its)).toEqual(["t1"]);
  });
});

describe("any world", () => {
  const anyPark: fc.Arbitrary<Park> = fc
    .record({
      pick: fc.constantFrom(...providerTroubles),
      seconds: fc.integer({ min: -50, max: 50 }),
      at: fc.boolean(),
      limit: fc.constantFrom(0, 0, 1, 2, 4),
      times: fc.nat(3),
    })
    .map(({ pick, seconds, at, limit, times }) =>
      parkOf({ category: pick, at: at ? before : start, until: plusSeconds(now, seconds), limit, times, ticket: "plan0/t0" }),
    );
  const anyProviders: fc.Arbitrary<Providers> = fc
    .record({ claude: fc.option(anyPark), codex: fc.option(anyPark), shared: fc.boolean(), standIn: fc.boolean(), manual: fc.boolean() })
    .map(({ claude, codex, shared, standIn, manual }) => ({
      ...providers({ ...(claude ? { claude } : {}), ...(codex ? { codex } : {}) }, { manual }),
      ...(shared
        ? {
            accounts: new Map([
              ["claude", "claude"],
              ["codex", "claude"],
            ]),
          }
        : {}),
      fallbacks: new Map(standIn ? [["claude", ["codex"]]] : []),
    }));

  it("P9 starts nothing for a parked agent, and no more trials than may be", () => {
    fc.assert(
      fc.property(anyWorld, anyLimits, anyProviders, (world, bare, its) => {
        const limits = { ...bare, providers: its };
        const started = new Map(trialsOf(world, limits));
        for (const decision of schedule(world, limits, now).decisions) {
          if (decision.do !== "dispatch") continue;
          const view = world.plans.get(decision.planId);
          const ticket = view?.tickets.get(decision.ticketId);
          const workflow = view && ticket && workflowOf(view, ticket);
          const phase = ticket && typeof workflow === "object" ? currentPhase(ticket, workflow) : undefined;
          if (!view || !ticket || phase?.type !== "agent") continue;
          const agents = agentsOf(phase, ticket, view, limits);
          const agent = decision.agent ?? agents[0] ?? "";
          expect(agents).toContain(agent);
          const account = its.accounts.get(agent) ?? agent;
          started.set(account, (started.get(account) ?? 0) + 1);
          expect(started.get(account)).toBeLessThanOrEqual(placesOf(its, account, now) ?? Number.POSITIVE_INFINITY);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("P9 P11 a ticket starts exactly when nothing is said to keep it: who is parked keeps nobody else", () => {
    const hold = { by: "ann", at: start, reason: "lunch" };
    const alone = (world: World, planId: string, ticketId: string): World => ({
      ...world,
      plans: new Map(
        [...world.plans].map(([id, view]) => [
          id,
          {
            ...view,
            tickets: new Map(
              [...view.tickets].map(([its, ticket]) => [
                its,
                id === planId && its === ticketId ? ticket : { ...ticket, hold: ticket.hold ?? hold },
              ]),
            ),
          },
        ]),
      ),
    });
    fc.assert(
      fc.property(anyWorld, anyProviders, (world, its) => {
        const limits = { ...roomy, providers: its };
        for (const view of world.plans.values()) {
          for (const { ticketId, activity } of view.tickets.values()) {
            if (activity.state !== "ready" && activity.state !== "queued") continue;
            const { decisions } = schedule(alone(world, view.plan.id, ticketId), limits, now);
            const chosen = decisions.some(({ do: what }) => what === "dispatch");
            const reasons = explain(world, view.plan.id, ticketId, limits, { now, daemonRuns: true });
            const parked = reasons.filter(({ code }) => code === "parked");
            for (const { message, command } of parked) {
              expect(`${message} ${command}`).toMatch(/^(Agent|Account) .* orchestrator agents resume \w+$/);
            }
            if (parked.length > 0) expect(chosen).toBe(false);
            // A phase that is not there is found out when the ticket comes up.
            if (activity.state === "ready" && decisions.every(({ do: what }) => what !== "fault"))
              expect(chosen).toBe(reasons.some(({ code }) => code === "next"));
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("P9 whatever its providers do, an account's park ends, and is tried again in bounded time", () => {
    const anyNews = fc.record({
      ok: fc.boolean(),
      old: fc.boolean(),
      category: fc.constantFrom(...providerTroubles),
      seconds: fc.nat(7200),
      reset: fc.option(fc.integer({ min: -3600, max: 900_000 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(anyNews, { maxLength: 40 }), (news) => {
        let parks: Parks = new Map();
        let at = now;
        for (const { ok, old, category, seconds, reset } of news) {
          const startedAt = old ? before : at;
          at = plusSeconds(at, seconds + 1);
          const known = parks.get("claude");
          const resetsAt = reset === undefined ? {} : { resetsAt: plusSeconds(at, reset) };
          const park = ok
            ? known && meetService(known, startedAt, `p/a/${at}`)
            : meetTrouble(known, trouble({ category, startedAt, at, ...resetsAt })).park;
          parks = new Map(park ? [["claude", park]] : []);
          if (!park) continue;
          // What is written and read again after a restart says the same.
          expect(JSON.parse(JSON.stringify(park))).toEqual(park);
          expect(secondsBetween(park.at, park.until)).toBeGreaterThan(0);
          expect(secondsBetween(park.at, park.until)).toBeLessThanOrEqual(8 * 24 * 3600 + 60);
          expect(placesOf(providers({ claude: park }), "claude", park.until)).toBeGreaterThan(0);
          if (!ok) expect(placesOf(providers({ claude: park }), "claude", at)).toBe(0);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a ticket whose agent was not served", () => {
  const flow = makeWorkflow([
    { id: "build", type: "agent", promptTemplate: "build", onFailure: "help", on: { auth: "help" }, maxRetries: 1 },
    { id: "help", type: "terminal", notify: true },
  ]);
  const session = { id: "s1", provider: "claude" };
  const running = makeTicket({
    currentPhase: "build",
    visits: { build: 1 },
    runs: 1,
    activity: { state: "running", runId: "0001-build", since: start },
  });
  const failed = {
    type: "failed" as const,
    at: now,
    runId: "0001-build",
    category: "usage_limit" as const,
    reason: "used up",
    agent: "claude",
    session,
  };

  it("P9 is ready again with its session, and has lost nothing", () => {
    const { ticket, effects } = transition(running, flow, { ...failed, provider: {} }, policy);
    expect(effects).toEqual([]);
    expect(ticket).toEqual({
      ...running,
      activity: { state: "ready", cause: "resume" },
      unserved: { build: 1 },
      phaseHistory: [
        expect.objectContaining({
          phase: "build",
          status: "interrupted",
          agent: "claude",
          session,
          category: "usage_limit",
          reason: "used up",
        }),
      ],
    });
  });

  it("follows the workflow where that has an edge for it", () => {
    const { ticket } = transition(running, flow, { ...failed, category: "auth", provider: {} }, policy);
    expect(ticket).toMatchObject({ currentPhase: "help", activity: { outcome: "needs_attention" } });
  });

  it("P9 starts counting anew once a run was served, whatever came of it", () => {
    const often = { ...running, unserved: { build: 99, other: 1 } };
    const served = { ...failed, category: "implementation" as const };
    expect(transition(often, flow, served, policy).ticket.unserved).toEqual({ other: 1 });
    expect(transition(often, flow, { type: "passed", at: now, runId: "0001-build" }, policy).ticket.unserved).toEqual({ other: 1 });
  });

  it("P7 needs attention after a hundred such runs", () => {
    const often = { ...running, unserved: { build: 100 } };
    expect(transition(often, flow, { ...failed, provider: {} }, policy).ticket).toMatchObject({
      activity: { state: "finished", outcome: "needs_attention" },
      error: 'The agent of phase "build" was not served 101 times: used up',
    });
    expect(transition({ ...often, unserved: { build: 99 } }, flow, { ...failed, provider: {} }, policy).ticket.activity.state).toBe(
      "ready",
    );
  });

  it("P9 at whatever point of whatever story: no attempt, no visit, no feedback, and a stop that was asked for comes first", () => {
    fc.assert(
      fc.property(anyWorkflow, fc.array(anyMove, { maxLength: 40 }), (workflow, moves) => {
        let ticket = makeTicket();
        let at = start;
        for (const move of moves) {
          at = plusSeconds(at, move.seconds);
          const { activity } = ticket;
          if (activity.state === "running") {
            const event = { ...failed, at, runId: activity.runId, provider: {} };
            const after = transition(ticket, workflow, event, policy).ticket;
            const { retries, visits, reasked, lost, feedback, windowUsedMs, hold } = ticket;
            if (activity.stop === undefined || activity.stop.next === "again") {
              expect(after).toMatchObject({ retries, visits, reasked, lost, feedback, windowUsedMs, hold, activity: { state: "ready" } });
            } else if (activity.stop.next === "cancel") expect(after.activity).toMatchObject({ outcome: "cancelled" });
          }
          ticket = transition(ticket, workflow, eventOf(move, ticket, workflow, at), policy).ticket;
        }
      }),
      { numRuns: 500 },
    );
  });
});
