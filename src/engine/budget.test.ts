import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Ticket } from "../domain/ticket.ts";
import { type makePlan, makePlanView, makeTicket, makeWorkflow, makeWorld } from "../testing/builders.ts";
import { type Amount, budgetsOf, budgetWait, type Charge, nextDay, type Spending, sumCharges, ticketKey } from "./budget.ts";
import { explain } from "./explain.ts";
import { schedule } from "./schedule.ts";
import type { Limits } from "./world.ts";

const at = "2026-11-21T12:00:00.000Z";
const day = "2026-11-21";

function chargeOf(fields: Partial<Charge> = {}): Charge {
  const charged = { usd: 0.4, tokens: 1000 };
  return { planId: "plan", ticketId: "t0", phase: "work", at, charged, isExample: { usd: true, tokens: true }, ...fields };
}

function spendingOf(charges: Charge[], fields: Partial<Spending> = {}): Spending {
  return { ...sumCharges(charges, day), live: () => ({ usd: 0, tokens: 0 }), ...fields };
}

const limits: Limits = { maxConcurrency: 4, agents: new Map(), defaultAgent: "claude", pollInterval: 10, worktreeRoot: "/worktrees" };

function worldOf(tickets: Ticket[], caps: { plan?: Parameters<typeof makePlan>[0]; phase?: object } = {}) {
  const workflow = makeWorkflow([{ id: "work", type: "agent", promptTemplate: "work.md", ...caps.phase }]);
  return makeWorld([makePlanView({ tickets, workflows: [workflow], plan: { budgetUsd: 1, ...caps.plan } })]);
}

const ready = (id: string, fields: Parameters<typeof makeTicket>[0] = {}) => makeTicket({ ticketId: id, ...fields });
const running = (id: string) =>
  makeTicket({ ticketId: id, currentPhase: "work", activity: { state: "running", runId: "0001-work", since: at } });
const started = (world: ReturnType<typeof worldOf>, spending: Spending) =>
  schedule(world, { ...limits, spending }, at).decisions.map(({ ticketId }) => ticketId);

describe("what fits", () => {
  it("a run starts only if what is spent, kept back and taken to be needed fits in the cap", () => {
    const world = worldOf([ready("t1"), ready("t2"), ready("t3")], { phase: { budgetUsd: 0.4 } });
    expect(started(world, spendingOf([]))).toEqual(["t1", "t2"]);
    expect(started(world, spendingOf([chargeOf()]))).toEqual(["t1"]);
    expect(started(world, spendingOf([chargeOf(), chargeOf()]))).toEqual([]);
    expect(started(worldOf([running("t0"), ready("t1"), ready("t2")], { phase: { budgetUsd: 0.4 } }), spendingOf([]))).toEqual(["t1"]);
  });

  it("without a cap of its phase a run needs the configured estimate, else the mean of its phase, else of all runs", () => {
    const world = worldOf([ready("t1"), ready("t2"), ready("t3"), ready("t4")]);
    expect(started(world, spendingOf([], { estimateUsd: 0.3 }))).toHaveLength(3);
    const free = { ...chargeOf(), planId: "other" };
    expect(started(world, spendingOf([free]))).toHaveLength(2);
    expect(started(world, spendingOf([{ ...free, phase: "review" }]))).toHaveLength(2);
  });

  it("while nobody knows what a run costs it goes alone, and while there is anything left", () => {
    const world = worldOf([ready("t1"), ready("t2")]);
    expect(started(world, spendingOf([]))).toEqual(["t1"]);
    expect(started(worldOf([running("t0"), ready("t1")]), spendingOf([]))).toEqual([]);
    const none = chargeOf({ charged: { usd: 1, tokens: 0 }, isExample: { usd: false, tokens: false } });
    expect(started(world, spendingOf([none]))).toEqual([]);
  });

  it("a run that has used more than it was taken to need keeps back what it has used", () => {
    const world = worldOf([running("t0"), ready("t1")], { phase: { budgetUsd: 0.4 } });
    expect(started(world, spendingOf([], { live: () => ({ usd: 0.7, tokens: 0 }) }))).toEqual([]);
  });

  it("caps of a ticket, of a day and in tokens hold too; what has no cap is never kept", () => {
    const open = { plan: { budgetUsd: null } };
    const past = [chargeOf({ ticketId: "t1" })];
    expect(started(worldOf([ready("t1", { budgetUsd: 0.5 }), ready("t2")], open), spendingOf(past))).toEqual(["t2"]);
    expect(started(worldOf([ready("t1", { budgetTokens: 1500 }), ready("t2")], open), spendingOf(past))).toEqual(["t2"]);
    expect(started(worldOf([ready("t1")], open), spendingOf(past, { perDayUsd: 0.5 }))).toEqual([]);
    expect(started(worldOf([ready("t1")], { plan: { budgetUsd: null, budgetTokens: 1999 } }), spendingOf(past))).toEqual([]);
    expect(started(worldOf([ready("t1"), ready("t2")], open), spendingOf(past))).toEqual(["t1", "t2"]);
  });

  it("the day's cap is looked at again at midnight UTC, and only its own day counts", () => {
    const world = worldOf([ready("t1")], { plan: { budgetUsd: null } });
    const past = [chargeOf()];
    expect(schedule(world, { ...limits, spending: spendingOf(past, { perDayUsd: 0.5 }) }, at)).toEqual({
      decisions: [],
      nextAt: "2026-11-22T00:00:00.000Z",
    });
    expect(nextDay("2026-12-31T23:59:59.999Z")).toBe("2027-01-01T00:00:00.000Z");
    expect(started(world, { ...spendingOf(past, { perDayUsd: 0.5 }), ...sumCharges(past, "2026-11-22") })).toEqual(["t1"]);
  });
});

describe("P7 a run whose money is not known", () => {
  const teller = { agent: "pi", model: "my-model", tellsTokens: true };
  const unpriced = chargeOf({
    charged: { usd: 0, tokens: 1000 },
    isExample: { usd: false, tokens: true },
    unknown: { units: ["usd"], teller },
  });
  const said = (world: ReturnType<typeof worldOf>, spending: Spending) =>
    budgetWait(world, budgetsOf(world, spending), "plan", "t1")?.message;

  it("is the last one under a cap of money, until its price or what it may cost is said", () => {
    const world = worldOf([ready("t1")]);
    expect(started(world, spendingOf([]))).toEqual(["t1"]);
    expect(started(world, spendingOf([unpriced]))).toEqual([]);
    expect(said(world, spendingOf([unpriced]))).toBe(
      'Plan "plan" may use $1.00, and the price of model "my-model" is not known. Add it to "prices" in the configuration, or set budgetUsd of phase "work", or runEstimateUsd in the configuration.',
    );
    expect(started(world, spendingOf([unpriced], { estimateUsd: 0.3 }))).toEqual(["t1"]);
    expect(started(worldOf([ready("t1")], { phase: { budgetUsd: 0.3 } }), spendingOf([unpriced]))).toEqual(["t1"]);
  });

  it("stops nothing where no cap of money holds, and under a day's cap nothing on the next day", () => {
    expect(started(worldOf([ready("t1")], { plan: { budgetUsd: null, budgetTokens: 5000 } }), spendingOf([unpriced]))).toEqual(["t1"]);
    const daily = worldOf([ready("t1")], { plan: { budgetUsd: null } });
    expect(started(daily, spendingOf([unpriced], { perDayUsd: 1 }))).toEqual([]);
    expect(started(daily, { ...spendingOf([], { perDayUsd: 1 }), ...sumCharges([unpriced], "2026-11-22") })).toEqual(["t1"]);
  });

  it("nor one of unknown tokens under a cap of tokens", () => {
    const silent = {
      ...unpriced,
      unknown: { units: ["tokens"] as const, teller: { ...teller, tellsTokens: false } },
      isExample: { usd: false, tokens: false },
    };
    const world = worldOf([ready("t1")], { plan: { budgetUsd: null, budgetTokens: 5000 } });
    expect(said(world, spendingOf([silent]))).toBe(
      'Plan "plan" may use 5000 tokens, and what runs of agent "pi" use is not known. To go on, set budgetTokens of phase "work": that much then counts.',
    );
  });
});

describe("what is said", () => {
  const said = (world: ReturnType<typeof worldOf>, spending: Spending, id = "t1") =>
    explain(world, "plan", id, { ...limits, spending }, { now: at, daemonRuns: true });

  it("P11 why names the cap and the command that raises it", () => {
    const world = worldOf([ready("t1")]);
    const spending = spendingOf([chargeOf(), chargeOf()]);
    const message = 'Plan "plan" may use $1.00: $0.80 are spent, and a run of "work" is taken to need $0.40.';
    expect(said(world, spending)).toEqual([{ code: "budget", message, command: "orchestrator budget plan --usd 1.20" }]);
    expect(budgetWait(world, budgetsOf(world, spending), "plan", "t1")).toEqual({
      message,
      command: "orchestrator budget plan --usd 1.20",
    });
  });

  it("P11 of a ticket's cap in tokens, too", () => {
    const world = worldOf([ready("t1", { budgetTokens: 1500 })], { plan: { budgetUsd: null } });
    expect(said(world, spendingOf([chargeOf({ ticketId: "t1" })]))).toMatchObject([
      {
        message: 'Ticket "t1" may use 1500 tokens: 1000 tokens are spent, and a run of "work" is taken to need 1000 tokens.',
        command: "orchestrator budget plan t1 --tokens 2000",
      },
    ]);
  });
});

describe("limits of a run", () => {
  it("are the cap of its phase and what wider caps have left beside others, tightest first", () => {
    const world = worldOf([running("t1"), running("t2")], { phase: { budgetUsd: 0.4, budgetTokens: 5000 } });
    const view = world.plans.get("plan");
    const ticket = view?.tickets.get("t1");
    const workflow = view?.workflows.get("flow");
    if (!view || !ticket || typeof workflow !== "object" || !workflow.phases[0]) throw new Error("no such ticket");
    const spending = spendingOf([chargeOf({ ticketId: "t9", charged: { usd: 0.3, tokens: 0 } })], { perDayUsd: 10 });
    expect(budgetsOf(world, spending).limits(view, ticket, workflow.phases[0])).toEqual([
      { unit: "usd", amount: expect.closeTo(0.3, 9), of: "plan" },
      { unit: "usd", amount: 0.4, of: "phase" },
      { unit: "usd", amount: expect.closeTo(9.3, 9), of: "day" },
      { unit: "tokens", amount: 5000, of: "phase" },
    ]);
  });

  it("runs that have used up a cap together are named", () => {
    const world = worldOf([running("t1"), running("t2")]);
    const used = (usd: number) => spendingOf([chargeOf()], { live: () => ({ usd, tokens: 0 }) });
    expect(budgetsOf(world, used(0.29)).overdrawn()).toEqual([]);
    expect(budgetsOf(world, used(0.3)).overdrawn()).toMatchObject([{ ticketId: "t1" }, { ticketId: "t2" }]);
  });
});

it("nobody looks at the runs where nothing has a cap", () => {
  let looks = 0;
  const live = () => {
    looks += 1;
    return { usd: 1, tokens: 1 };
  };
  const uncapped = worldOf([running("t1")], { plan: { budgetUsd: null } });
  expect(budgetsOf(uncapped, spendingOf([], { live })).overdrawn()).toEqual([]);
  expect(looks).toBe(0);
  expect(budgetsOf(uncapped, spendingOf([], { live, perDayUsd: 1 })).overdrawn()).toMatchObject([{ ticketId: "t1" }]);
});

describe("properties", () => {
  const cents = (max: number) => fc.integer({ min: 0, max }).map((n) => n / 100);

  it("sums do not depend on the order of the ledger", () => {
    const anyCharge = fc
      .record({
        ticketId: fc.constantFrom("a", "b"),
        planId: fc.constantFrom("p", "q"),
        phase: fc.constantFrom("x", "y"),
        n: fc.nat(1000),
        late: fc.boolean(),
      })
      .map(({ n, late, ...where }) =>
        // Eighths add up exactly, in any order.
        chargeOf({ ...where, at: late ? "2026-11-22T00:00:00.000Z" : at, charged: { usd: n / 8, tokens: n } }),
      );
    fc.assert(
      fc.property(
        fc.array(anyCharge).chain((charges) => fc.tuple(fc.constant(charges), fc.shuffledSubarray(charges, { minLength: charges.length }))),
        ([charges, shuffled]) => {
          expect(sumCharges(shuffled, day)).toEqual(sumCharges(charges, day));
        },
      ),
    );
  });

  /** Runs a plan to its end: `requests` are what each ticket's run asks the provider, one request after the other. */
  function simulate(cap: number, estimate: number | undefined, requests: number[][], places: number) {
    const charges: Charge[] = [];
    const live = new Map<string, number>();
    const left = new Map(requests.map((list, i) => [`t${i}`, [...list]]));
    const spentNow = () => [...charges.map(({ charged }) => charged.usd), ...live.values()].reduce((sum, each) => sum + each, 0);
    const spending = () =>
      spendingOf(charges, {
        ...(estimate === undefined ? {} : { estimateUsd: estimate }),
        live: (_plan, ticketId): Amount => ({ usd: live.get(ticketId) ?? 0, tokens: 0 }),
      });
    const world = () =>
      worldOf(
        [...left].flatMap(([id, list]) => (live.has(id) ? [running(id)] : list.length > 0 ? [ready(id)] : [])),
        { plan: { budgetUsd: cap } },
      );
    let worst = 0;
    const settle = (id: string, isExample: boolean) => {
      charges.push(
        chargeOf({ ticketId: id, charged: { usd: live.get(id) ?? 0, tokens: 0 }, isExample: { usd: isExample, tokens: false } }),
      );
      live.delete(id);
    };
    for (let rounds = 0; rounds < 500; rounds++) {
      for (const decision of schedule(world(), { ...limits, maxConcurrency: places, spending: spending() }, at).decisions)
        live.set(decision.ticketId, 0);
      if (live.size === 0) return { spent: spentNow(), worst, left, spending: spending(), world: world() };
      // All that run have a request in flight; only then is anything looked at.
      let inFlight = 0;
      for (const id of live.keys()) {
        const cost = left.get(id)?.shift() ?? 0;
        inFlight += cost;
        live.set(id, (live.get(id) ?? 0) + cost);
      }
      worst = Math.max(worst, spentNow() - cap - inFlight);
      for (const id of [...live.keys()]) if ((left.get(id) ?? []).length === 0) settle(id, true);
      for (const { ticketId } of budgetsOf(world(), spending()).overdrawn()) settle(ticketId, false);
    }
    throw new Error("it never ends");
  }

  const plans = fc.record({
    cap: cents(300),
    estimate: fc.option(cents(100), { nil: undefined }),
    requests: fc.array(
      fc.array(
        cents(40).map((c) => c + 0.01),
        { minLength: 1, maxLength: 5 },
      ),
      { minLength: 1, maxLength: 8 },
    ),
    places: fc.integer({ min: 1, max: 4 }),
  });

  it("P7 spend never exceeds a cap by more than the requests in flight", () => {
    fc.assert(
      fc.property(plans, ({ cap, estimate, requests, places }) => {
        const { worst } = simulate(cap, estimate, requests, places);
        expect(worst).toBeLessThanOrEqual(1e-9);
      }),
      { numRuns: 200 },
    );
  });

  it("nothing that fits is refused: what is left when nothing runs any more does not fit", () => {
    fc.assert(
      fc.property(plans, ({ cap, estimate, requests, places }) => {
        const { left, spent, spending } = simulate(cap, estimate, requests, places);
        const open = [...left.values()].filter((list) => list.length > 0);
        if (open.length === 0) return;
        const past = spending.all.runs.usd > 0 ? spending.all.sum.usd / spending.all.runs.usd : undefined;
        const needs = estimate ?? past ?? 0;
        expect(cap - spent <= 1e-9 || needs > cap - spent - 1e-9).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("a key tells tickets of different plans apart", () => {
    expect(ticketKey("a", "b")).not.toBe(ticketKey("b", "a"));
  });
});
