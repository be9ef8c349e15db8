import type { Config } from "../domain/config.ts";
import { didYouMean, UserError } from "../domain/errors.ts";
import { idProblem } from "../domain/ids.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { PlanView, World } from "../engine/world.ts";
import { type Index, openIndex } from "../state/index.ts";
import { type Snapshot, snapshotOf, type WorkflowReader } from "./snapshot.ts";

/** A snapshot, and the index that it is of. */
export interface ReadWorld extends Snapshot {
  index: Index;
}

/** Reads all plans, with their workflows as `read` finds them: without it none is known. Nothing is repaired, pinned or written. */
export function readWorld(config: Config, read?: WorkflowReader): ReadWorld {
  const index = openIndex(config.stateDir, { writer: false });
  return { ...snapshotOf(index.plans, config, read), index };
}

/** A ticket that a person named, and the arguments that follow. */
export interface Target {
  planId: string;
  ticketId: string;
  rest: string[];
}

/** Finds the plan. UserError "usage" for what can be no id, "notFound" with the nearest name for what is none. */
export function takePlan(world: World, planId: string): string {
  checkId(planId, "plan");
  const known = [...world.plans.keys(), ...world.brokenPlans.keys()];
  if (known.includes(planId)) return planId;
  throw unknown(`There is no plan "${planId}".`, planId, known, "orchestrator status lists the plans");
}

/**
 * Finds the ticket that `<plan> <ticket>`, `<plan>/<ticket>` or a ticket id that is unique names. UserError "usage" or
 * "notFound", with the nearest name.
 */
export function takeTicket(world: World, args: readonly string[]): Target {
  const [first = "", second, ...others] = args;
  if (first.includes("/")) {
    const [planId = "", ...ticket] = first.split("/");
    return { ...inPlan(world, planId, ticket.join("/")), rest: args.slice(1) };
  }
  checkId(first, "plan or ticket");
  const isPlan = world.plans.has(first) || world.brokenPlans.has(first);
  if (isPlan && second !== undefined) return { ...inPlan(world, first, second), rest: others };
  if (isPlan) {
    throw new UserError(`"${first}" is a plan; which of its tickets?`, { hint: `orchestrator status --plan ${first}`, exit: "usage" });
  }
  const holders = [...world.plans.values()].filter((view) => view.tickets.has(first) || view.broken.has(first));
  const [holder, ...more] = holders;
  if (holder && more.length === 0) return { planId: holder.plan.id, ticketId: first, rest: args.slice(1) };
  if (holder) {
    const plans = holders.map((view) => view.plan.id);
    throw new UserError(`Ticket "${first}" is in ${plans.length} plans: ${plans.join(", ")}.`, {
      hint: `name one of them, as in ${plans[0]}/${first}`,
      exit: "usage",
    });
  }
  if (second !== undefined) return { ...inPlan(world, takePlan(world, first), second), rest: others };
  const tickets = [...world.plans.values()].flatMap((view) => [...view.tickets.keys()]);
  throw unknown(`There is no plan or ticket "${first}".`, first, [...world.plans.keys(), ...tickets], "orchestrator status lists them");
}

function inPlan(world: World, planId: string, ticketId: string): { planId: string; ticketId: string } {
  takePlan(world, planId);
  checkId(ticketId, "ticket");
  const view = world.plans.get(planId);
  if (!view) throw new UserError(`Plan "${planId}" cannot be read: ${world.brokenPlans.get(planId)}`, { exit: "invalid" });
  const known = new Set([...view.tickets.keys(), ...view.broken.keys()]);
  if (known.has(ticketId)) return { planId, ticketId };
  throw unknown(`Plan "${planId}" has no ticket "${ticketId}".`, ticketId, known, `orchestrator status --plan ${planId} lists them`);
}

function checkId(id: string, what: string): void {
  const problem = idProblem(id);
  if (problem) throw new UserError(`${JSON.stringify(id)} is not a ${what} id.`, { hint: problem, exit: "usage" });
}

/** A UserError for a name that is not known, with the name that was probably meant. */
export function unknown(message: string, name: string, known: Iterable<string>, otherwise: string): UserError {
  const near = didYouMean(name, known);
  return new UserError(message, { hint: near === undefined ? otherwise : `did you mean "${near}"? ${otherwise}`, exit: "notFound" });
}

/** The ticket as it is known. UserError "invalid" when its file cannot be read and there is no earlier good state. */
export function readTicket(world: World, { planId, ticketId }: { planId: string; ticketId: string }): { view: PlanView; ticket: Ticket } {
  const view = world.plans.get(planId);
  const ticket = view?.tickets.get(ticketId);
  if (view && ticket) return { view, ticket };
  throw new UserError(`Ticket ${planId}/${ticketId} cannot be read: ${view?.broken.get(ticketId) ?? "it has no file"}`, {
    hint: "mend the file; orchestrator check shows every problem with its place",
    exit: "invalid",
  });
}
