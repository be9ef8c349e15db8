import type { RunLimit } from "../domain/run.ts";
import type { Ticket } from "../domain/ticket.ts";
import { type Instant, plusSeconds } from "../domain/time.ts";
import { type FlatPhase, phaseById } from "../domain/workflow.ts";
import { currentPhase } from "./moves.ts";
import { blockerState, isRunnable, type PlanView, type World, workflowOf } from "./world.ts";

/** Money in USD, and tokens. */
export interface Amount {
  usd: number;
  tokens: number;
}

/** Runs of which it is known what they came to, and their sums, by unit: money and tokens are not always both known. */
export interface Past {
  runs: Amount;
  sum: Amount;
}

/** What was spent so far, and what may be. */
export interface Spending {
  /** Caps of the configuration; absent: none. */
  perDayUsd?: number;
  /** What a run is taken to cost whose phase has no cap. */
  estimateUsd?: number;
  /** The day that `today` is of, as in 2026-11-21 (UTC). */
  day: string;
  today: Amount;
  /** By plan id. */
  plans: ReadonlyMap<string, Amount>;
  /** By `ticketKey`. */
  tickets: ReadonlyMap<string, Amount>;
  /** What the run that a ticket has under way has used so far. */
  live(planId: string, ticketId: string): Amount;
  /** Whose runs count for nothing under a cap, by ticket, plan and day. */
  unknown: ReadonlyMap<string, Teller>;
  /** Past runs by phase id. */
  phases: ReadonlyMap<string, Past>;
  all: Past;
}

/** Who is to tell what a run used. `model` is null where nobody says which it was. */
export interface Teller {
  agent: string;
  model: string | null;
  /** Its tokens are known: only their price is missing. */
  tellsTokens: boolean;
}

/** One entry of the ledger, as far as sums need it. */
export interface Charge {
  planId: string;
  ticketId: string;
  phase: string;
  at: Instant;
  /** What caps count. */
  charged: Amount;
  /** It ran to its end and is known to have used exactly this: an example of what such a run uses. */
  isExample: Record<RunLimit["unit"], boolean>;
  /** Set where a unit is known neither from the run nor from what was kept back for it: then caps count nothing. */
  unknown?: { units: readonly RunLimit["unit"][]; teller: Teller };
}

/** A cap that a run counts against, as things stand. */
export interface Cap {
  of: "ticket" | "plan" | "day";
  unit: RunLimit["unit"];
  limit: number;
  spent: number;
  /** Kept back for runs under way. */
  reserved: number;
}

/** A cap that the next run of a ticket does not fit in. `needs` is null while nobody knows what a run costs. */
export interface Shortage extends Cap {
  needs: number | null;
  /** A run under the cap was not counted, and the next one would not be either. */
  unknown?: Teller;
}

/** Everything about caps at one moment; dispatches of the moment are added with `take`. */
export interface Budgets {
  /** Why a run of this phase may not start now; undefined when it fits in every cap that holds for it. */
  shortage(view: PlanView, ticket: Ticket, phase: FlatPhase): Shortage | undefined;
  /** The caps in which no run of this phase ever fits, however little was spent. */
  tooSmall(view: PlanView, ticket: Ticket, phase: FlatPhase): Shortage[];
  /** Keeps back what the run may use. */
  take(view: PlanView, ticket: Ticket, phase: FlatPhase): void;
  /** What a run may use at most before it is to be stopped, tightest first. Its own reservation is left out. */
  limits(view: PlanView, ticket: Ticket, phase: FlatPhase): RunLimit[];
  /** Runs under a cap that is used up by what they and others have used. */
  overdrawn(): { planId: string; ticketId: string }[];
}

/** Sums of money are sums of fractions: less than this is no difference. */
const grain = 1e-9;
const units = ["usd", "tokens"] as const;
const none: Amount = { usd: 0, tokens: 0 };

export function ticketKey(planId: string, ticketId: string): string {
  return `${planId}/${ticketId}`;
}

function unknownKey(of: Cap["of"], unit: RunLimit["unit"], id: string): string {
  return `${of} ${unit} ${id}`;
}

/** The day (UTC) of an instant. */
export function dayOf(at: Instant): string {
  return at.slice(0, 10);
}

/** When the day after that of `at` begins. */
export function nextDay(at: Instant): Instant {
  return plusSeconds(`${dayOf(at)}T00:00:00.000Z`, 24 * 3600);
}

/** Sums of charges, in any order. `day` is the one that `today` is to be of. */
export function sumCharges(charges: Iterable<Charge>, day: string): Omit<Spending, "live" | "perDayUsd" | "estimateUsd"> {
  const today = { ...none };
  const plans = new Map<string, Amount>();
  const tickets = new Map<string, Amount>();
  const phases = new Map<string, Past>();
  const all: Past = { runs: { ...none }, sum: { ...none } };
  const unknown = new Map<string, Teller>();
  for (const { planId, ticketId, phase, at, charged, isExample, unknown: missing } of charges) {
    if (missing) {
      for (const unit of missing.units) {
        unknown.set(unknownKey("ticket", unit, ticketKey(planId, ticketId)), missing.teller);
        unknown.set(unknownKey("plan", unit, planId), missing.teller);
        unknown.set(unknownKey("day", unit, dayOf(at)), missing.teller);
      }
    }
    if (dayOf(at) === day) add(today, charged);
    add(
      entry(plans, planId, () => ({ ...none })),
      charged,
    );
    add(
      entry(tickets, ticketKey(planId, ticketId), () => ({ ...none })),
      charged,
    );
    for (const past of [entry(phases, phase, (): Past => ({ runs: { ...none }, sum: { ...none } })), all]) {
      for (const unit of units.filter((each) => isExample[each])) {
        past.runs[unit] += 1;
        past.sum[unit] += charged[unit];
      }
    }
  }
  return { day, today, plans, tickets, unknown, phases, all };
}

/** What a run of this phase is taken to use before anything is known of it; null: nobody knows. */
export function reservation(phase: FlatPhase, unit: RunLimit["unit"], spending: Spending): number | null {
  if (phase.type !== "agent") return 0;
  const own = unit === "usd" ? (phase.budgetUsd ?? spending.estimateUsd) : phase.budgetTokens;
  if (own !== undefined) return own;
  const past = [spending.phases.get(phase.id), spending.all].find((each) => each && each.runs[unit] > 0);
  return past ? past.sum[unit] / past.runs[unit] : null;
}

/** What is kept back for one run. */
interface Held {
  planId: string;
  ticketId: string;
  used: Amount;
  /** Null: all that is left. */
  needs: Record<RunLimit["unit"], number | null>;
}

/** The state of every cap in this world. */
export function budgetsOf(world: World, spending: Spending): Budgets {
  const taken: Held[] = [];
  let underWay: Held[] | undefined;
  /** Where nothing has a cap, nobody looks at the runs. */
  function held(): Held[] {
    underWay ??= runsUnderWay();
    return [...underWay, ...taken];
  }

  function keep(view: PlanView, ticket: Ticket, phase: FlatPhase, used: Amount): Held {
    const need = (unit: RunLimit["unit"]) => {
      const reserved = reservation(phase, unit, spending);
      return reserved === null ? null : Math.max(reserved, used[unit]);
    };
    return { planId: view.plan.id, ticketId: ticket.ticketId, used, needs: { usd: need("usd"), tokens: need("tokens") } };
  }

  function runsUnderWay(): Held[] {
    const found: Held[] = [];
    for (const view of world.plans.values()) {
      for (const ticket of view.tickets.values()) {
        if (ticket.activity.state !== "running") continue;
        const workflow = workflowOf(view, ticket);
        const phase = typeof workflow === "string" ? undefined : phaseById(workflow, ticket.currentPhase ?? "");
        if (phase?.type === "agent") found.push(keep(view, ticket, phase, spending.live(view.plan.id, ticket.ticketId)));
      }
    }
    return found;
  }

  function counts(each: Held, of: Cap["of"], view: PlanView, ticket: Ticket): boolean {
    if (of === "day") return true;
    return each.planId === view.plan.id && (of === "plan" || each.ticketId === ticket.ticketId);
  }

  /** The caps that hold for a ticket, without what is kept back. */
  function capsOf(view: PlanView, ticket: Ticket): Omit<Cap, "reserved">[] {
    const { plan } = view;
    const ofPlan = spending.plans.get(plan.id) ?? none;
    const ofTicket = spending.tickets.get(ticketKey(plan.id, ticket.ticketId)) ?? none;
    const caps = units.flatMap((unit): (Omit<Cap, "reserved" | "limit"> & { limit: number | null | undefined })[] => [
      { of: "ticket", unit, limit: unit === "usd" ? ticket.budgetUsd : ticket.budgetTokens, spent: ofTicket[unit] },
      { of: "plan", unit, limit: unit === "usd" ? plan.budgetUsd : plan.budgetTokens, spent: ofPlan[unit] },
    ]);
    caps.push({ of: "day", unit: "usd", limit: spending.perDayUsd, spent: spending.today.usd });
    return caps.flatMap(({ limit, ...cap }) => (limit === null || limit === undefined ? [] : [{ ...cap, limit }]));
  }

  function isAnythingCapped(): boolean {
    const isCapped = (of: { budgetUsd: number | null; budgetTokens: number | null }) => of.budgetUsd !== null || of.budgetTokens !== null;
    return (
      spending.perDayUsd !== undefined ||
      [...world.plans.values()].some(({ plan, tickets }) => isCapped(plan) || [...tickets.values()].some(isCapped))
    );
  }

  /** Whose run under a cap was not counted. */
  function unknownUnder({ of, unit }: Omit<Cap, "reserved">, view: PlanView, ticket: Ticket): Teller | undefined {
    const id = of === "day" ? spending.day : of === "plan" ? view.plan.id : ticketKey(view.plan.id, ticket.ticketId);
    return spending.unknown.get(unknownKey(of, unit, id));
  }

  /** What is kept back for others under a cap; null: all that is left. */
  function reservedUnder(cap: Omit<Cap, "reserved">, view: PlanView, ticket: Ticket, others: Held[]): number | null {
    let sum = 0;
    for (const each of others) {
      if (!counts(each, cap.of, view, ticket)) continue;
      const needs = each.needs[cap.unit];
      if (needs === null) return null;
      sum += needs;
    }
    return sum;
  }

  return {
    shortage(view, ticket, phase) {
      if (phase.type !== "agent") return undefined;
      for (const cap of capsOf(view, ticket)) {
        const reserved = reservedUnder(cap, view, ticket, held());
        const needs = reservation(phase, cap.unit, spending);
        // One run may show what such runs cost. If it does not, the next ones would go past the cap unseen.
        const unknown = needs === null ? unknownUnder(cap, view, ticket) : undefined;
        if (unknown) return { ...cap, reserved: reserved ?? cap.limit - cap.spent, needs, unknown };
        const left = cap.limit - cap.spent - (reserved ?? Number.POSITIVE_INFINITY);
        // A run of which nothing is known might use up all that is left, so it goes alone.
        const fits = needs === null ? left > grain && reserved === 0 : left > 0 && needs <= left + grain;
        if (!fits) return { ...cap, reserved: reserved ?? cap.limit - cap.spent, needs };
      }
      return undefined;
    },
    tooSmall(view, ticket, phase) {
      return capsOf(view, ticket).flatMap((cap) => {
        const needs = reservation(phase, cap.unit, spending);
        return needs !== null && needs > cap.limit + grain ? [{ ...cap, reserved: 0, needs }] : [];
      });
    },
    take(view, ticket, phase) {
      if (phase.type === "agent") taken.push(keep(view, ticket, phase, none));
    },
    limits(view, ticket, phase) {
      if (phase.type !== "agent") return [];
      const others = () => held().filter((each) => each.planId !== view.plan.id || each.ticketId !== ticket.ticketId);
      const own = units.flatMap((unit): RunLimit[] => {
        const amount = unit === "usd" ? phase.budgetUsd : phase.budgetTokens;
        return amount === undefined ? [] : [{ unit, amount, of: "phase" }];
      });
      const wider = capsOf(view, ticket).map((cap): RunLimit => {
        const reserved = reservedUnder(cap, view, ticket, others()) ?? 0;
        return { unit: cap.unit, amount: Math.max(0, cap.limit - cap.spent - reserved), of: cap.of };
      });
      return [...own, ...wider].sort((a, b) => a.amount - b.amount);
    },
    overdrawn() {
      if (!isAnythingCapped()) return [];
      return held().filter(({ planId, ticketId }) => {
        const view = world.plans.get(planId);
        const ticket = view?.tickets.get(ticketId);
        if (!view || !ticket) return false;
        return capsOf(view, ticket).some((cap) => {
          const used = held()
            .filter((each) => counts(each, cap.of, view, ticket))
            .reduce((sum, each) => sum + each.used[cap.unit], 0);
          return used > 0 && cap.spent + used >= cap.limit - grain;
        });
      });
    },
  };
}

/** Whether no end of a run and no new day makes room: somebody has to change a cap, or say what runs cost. */
export function needsPerson({ of, limit, spent, needs, unknown }: Shortage): boolean {
  const used = of === "day" ? 0 : spent;
  return unknown !== undefined || used >= limit || used + (needs ?? 0) > limit + grain;
}

/** Why a ticket that could go on waits for money or tokens, and the command that changes it; undefined when it does not. */
export function budgetWait(
  world: World,
  budgets: Budgets,
  planId: string,
  ticketId: string,
): { message: string; command?: string } | undefined {
  const view = world.plans.get(planId);
  const ticket = view?.tickets.get(ticketId);
  if (!view || !ticket || !isRunnable(view.plan) || ticket.hold !== null) return undefined;
  const { state } = ticket.activity;
  if (state === "queued" ? blockerState(view, ticketId).state !== "settled" : state !== "ready" && state !== "waiting") return undefined;
  const workflow = workflowOf(view, ticket);
  const phase = typeof workflow === "string" ? undefined : currentPhase(ticket, workflow);
  const shortage = phase && budgets.shortage(view, ticket, phase);
  return shortage && shortageText(shortage, planId, ticketId, phase.id);
}

/** A sum of money or tokens, for people. */
export function amountText(amount: number, unit: RunLimit["unit"]): string {
  return unit === "usd" ? `$${amount.toFixed(2)}` : `${Math.round(amount)} tokens`;
}

/** A shortage in words, and the command that changes it. */
export function shortageText(shortage: Shortage, planId: string, ticketId: string, phase: string): { message: string; command?: string } {
  const { of, unit, limit, spent, reserved, needs, unknown } = shortage;
  const text = (amount: number) => amountText(amount, unit);
  const whose = of === "day" ? "All agents" : of === "plan" ? `Plan "${planId}"` : `Ticket "${ticketId}"`;
  const when = of === "day" ? " today (until midnight UTC)" : "";
  if (unknown) return { message: `${whose} may use ${text(limit)}${when}, and ${unknownText(unknown, unit, phase)}` };
  const kept = reserved > 0 ? `, ${text(reserved)} are kept for runs under way` : "";
  const next = needs === null ? "the first run has to be alone" : `a run of "${phase}" is taken to need ${text(needs)}`;
  const message = `${whose} may use ${text(limit)}${when}: ${text(spent)} are spent${kept}, and ${next}.`;
  const flag = unit === "usd" ? "--usd" : "--tokens";
  const enough = spent + reserved + (needs ?? 0);
  const more = unit === "usd" ? (Math.ceil(enough * 100 - grain) / 100).toFixed(2) : String(Math.ceil(enough));
  if (of === "day") return { message: `${message} budgetUsdPerDay in the configuration sets it.` };
  if (needs === null && reserved > 0) return { message };
  const target = of === "plan" ? planId : `${planId} ${ticketId}`;
  return { message, command: `orchestrator budget ${target} ${flag} ${more}` };
}

function unknownText({ agent, model, tellsTokens }: Teller, unit: RunLimit["unit"], phase: string): string {
  const own = unit === "usd" ? "budgetUsd" : "budgetTokens";
  const instead = `set ${own} of phase "${phase}"${unit === "usd" ? ", or runEstimateUsd in the configuration" : ""}`;
  if (unit === "tokens" || !tellsTokens)
    return `what runs of agent "${agent}" use is not known. To go on, ${instead}: that much then counts.`;
  if (model === null) return `agent "${agent}" does not say which model it takes. Name it in "model" of the agent, or ${instead}.`;
  return `the price of model "${model}" is not known. Add it to "prices" in the configuration, or ${instead}.`;
}

function add(sum: Amount, more: Amount): void {
  sum.usd += more.usd;
  sum.tokens += more.tokens;
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}
