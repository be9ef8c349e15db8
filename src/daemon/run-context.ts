import { join } from "node:path";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { RunRef } from "../domain/run.ts";
import { resolveTicket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { phaseById, type RunPhase } from "../domain/workflow.ts";
import { budgetsOf, reservation, type Spending } from "../engine/budget.ts";
import { agentOf } from "../engine/schedule.ts";
import { type World, workflowOf } from "../engine/world.ts";
import { isNamedByUs } from "../git/refs.ts";
import { checkWorktreeRoot } from "../git/worktree-place.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { lockDir, runDir } from "../state/layout.ts";

/** What the phase of a run may know, as things stand now. Throws a UserError that says why it cannot be told. */
export function runContext(
  ref: RunRef,
  {
    world,
    config,
    daemonEnv,
    self,
    now,
    spending,
  }: Pick<PhaseContext, "daemonEnv" | "self"> & { world: World; config: Config; now(): Instant; spending(): Spending },
): PhaseContext {
  const view = world.plans.get(ref.planId);
  const ticket = view?.tickets.get(ref.ticketId);
  if (!view || !ticket) throw new UserError(`There is no ticket ${ref.planId}/${ref.ticketId}.`);
  const workflow = workflowOf(view, ticket);
  if (typeof workflow === "string") throw new UserError(workflow, { hint: "orchestrator workflow lint", exit: "invalid" });
  const { worktreeRoot } = view.plan;
  if (worktreeRoot !== null && ticket.worktree === null) checkWorktreeRoot(worktreeRoot, join(config.worktreeRoot, view.plan.id));
  const phase = phaseById(workflow, ticket.currentPhase ?? "");
  if (!phase) throw new UserError(`Workflow "${workflow.name}" has no phase "${ticket.currentPhase}".`);
  const standIn = ticket.activity.state === "running" ? ticket.activity.agent : undefined;
  return {
    ref,
    phase: phase as RunPhase,
    ticket,
    plan: view.plan,
    resolved: resolveTicket(ticket, view.plan, config.worktreeRoot),
    config,
    agent: standIn ?? agentOf(phase, ticket, view, config.defaultAgent),
    runDir: runDir(config.home, ref),
    lockDir: lockDir(config.home),
    isOwnBranch: ownBranches(world, config),
    daemonEnv,
    self,
    budget() {
      const now = spending();
      const [usd, tokens] = [reservation(phase, "usd", now), reservation(phase, "tokens", now)];
      const reserved = { ...(usd === null ? {} : { usd }), ...(tokens === null ? {} : { tokens }) };
      return { limits: budgetsOf(world, now).limits(view, ticket, phase), reserved };
    },
    now,
  };
}

/** Tells branches of tickets, whatever a plan calls them, and those that the program names itself. */
function ownBranches(world: World, config: Config): (ref: string) => boolean {
  let names: Set<string> | undefined;
  const tickets = () =>
    [...world.plans.values()].flatMap(({ plan, tickets: all }) =>
      [...all.values()].map((each) => resolveTicket(each, plan, config.worktreeRoot).branch),
    );
  return (ref) => {
    if (isNamedByUs(ref)) return true;
    names ??= new Set(tickets().map((branch) => `refs/heads/${branch}`));
    return names.has(ref);
  };
}
