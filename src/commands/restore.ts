import { join, resolve } from "node:path";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { resolveTicket } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import type { World } from "../engine/world.ts";
import { checkoutPlan } from "../git/checkout-state.ts";
import { openRepo, type Repo, shellWord } from "../git/git.ts";
import { listRecovery, type Recovery } from "../git/recovery.ts";
import { restore } from "../git/restore.ts";
import type { Ending } from "./command.ts";
import { columns, printData, printLine } from "./print.ts";
import { readWorld, takePlan, takeTicket } from "./world.ts";

interface Options {
  list?: boolean;
  ref?: string;
  to?: string;
  repo?: string;
  checkout?: boolean;
  json?: boolean;
}

/** Lists saved states, or brings one back. */
export async function run(context: Context, args: string[], options: Options): Promise<Ending> {
  if (options.checkout) return (await import("./restore-checkout.ts")).run(context, args, options);
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const target = targetOf(world, args, options);
  const repos = await repositories(context, world, target, options);
  const saved: { repo: Repo; recovery: Recovery }[] = [];
  for (const repo of repos) {
    for (const recovery of await listRecovery(repo, target.planId, target.ticketId)) saved.push({ repo, recovery });
  }
  if (options.list || (target.ticketId === undefined && options.ref === undefined)) return list(context, saved, options);
  const found = options.ref === undefined ? saved.at(-1) : saved.find(({ recovery }) => recovery.ref === options.ref);
  if (!found) {
    throw new UserError(
      options.ref === undefined ? `Nothing is saved of ${target.planId}/${target.ticketId}.` : `There is no saved state ${options.ref}.`,
      {
        hint: "orchestrator restore --list shows what there is",
        exit: "notFound",
      },
    );
  }
  if (found.recovery.planId === checkoutPlan) {
    throw new UserError(`${found.recovery.ref} is a state of your own checkout.`, {
      hint: `orchestrator restore --checkout --repo ${shellWord(found.repo.path)} --ref ${found.recovery.ref}`,
      exit: "usage",
    });
  }
  return bringBack(context, config, world, found, options);
}

async function bringBack(
  context: Context,
  config: Config,
  world: World,
  { repo, recovery }: { repo: Repo; recovery: Recovery },
  options: Options,
): Promise<Ending> {
  const { planId, ticketId, ref } = recovery;
  const view = world.plans.get(planId);
  const ticket = view?.tickets.get(ticketId);
  if (ticket?.activity.state === "running" && options.to === undefined) {
    throw new UserError(`Ticket ${planId}/${ticketId} runs in its worktree now.`, {
      hint: `orchestrator pause ${planId} ${ticketId}, or restore elsewhere with --to <path>`,
      exit: "conflict",
    });
  }
  const resolved = view && ticket ? resolveTicket(ticket, view.plan, config.worktreeRoot) : undefined;
  if (!resolved && options.to === undefined) {
    throw new UserError(`Ticket ${planId}/${ticketId} is not known any more, so its worktree is not either.`, {
      hint: "say where with --to <path>",
      exit: "usage",
    });
  }
  const path = options.to === undefined ? (resolved?.worktree ?? "") : resolve(context.cwd, options.to);
  // The ticket's own branch may be checked out in its worktree, so a copy elsewhere gets one of its own.
  const branch =
    options.to === undefined && resolved ? resolved.branch : `orch-restored/${planId}/${ticketId}/${recovery.at.replaceAll(/[^0-9]/g, "")}`;
  const { worktree, saved } = await restore(repo, ref, { path, branch, lockDir: join(config.home, "lock"), now: instant(Date.now()) });
  if (options.json) printData(context, { ref, path: worktree.path, branch: worktree.branch, saved });
  else {
    printLine(context, `${worktree.path} stands at ${worktree.head.slice(0, 12)} on ${worktree.branch} with what ${ref} holds.`);
    for (const each of saved) printLine(context, `What stood there before is saved as ${each}.`);
  }
  return "ok";
}

function list(context: Context, saved: readonly { repo: Repo; recovery: Recovery }[], options: Options): Ending {
  if (options.json)
    printData(
      context,
      saved.map(({ repo, recovery }) => ({ ...recovery, repo: repo.path })),
    );
  else if (saved.length === 0) printLine(context, "Nothing is saved.");
  else {
    const rows = saved.map(({ recovery }) => [
      recovery.at,
      `${recovery.planId}/${recovery.ticketId}`,
      recovery.sha.slice(0, 12),
      recovery.ref,
    ]);
    for (const line of columns(rows)) printLine(context, line);
  }
  return "ok";
}

/** What is meant need not be known any more: its saved work outlives a plan. */
function targetOf(world: World, args: string[], options: Options): { planId?: string; ticketId?: string } {
  const [first, second] = args;
  if (first === undefined) return {};
  if (options.repo !== undefined && !world.plans.has(first)) {
    const [planId = "", ticketId = second] = first.split("/");
    return { planId, ...(ticketId === undefined ? {} : { ticketId }) };
  }
  if (second === undefined && !first.includes("/") && world.plans.has(first)) return { planId: takePlan(world, first) };
  const { planId, ticketId } = takeTicket(world, args);
  return { planId, ticketId };
}

/** The repositories that may hold it. */
async function repositories(
  context: Context,
  world: World,
  { planId, ticketId }: { planId?: string; ticketId?: string },
  options: Options,
): Promise<Repo[]> {
  const paths = new Set<string>();
  if (options.repo !== undefined) paths.add(resolve(context.cwd, options.repo));
  else {
    for (const view of world.plans.values()) {
      if (planId !== undefined && view.plan.id !== planId) continue;
      if (view.plan.repo) paths.add(view.plan.repo);
      for (const ticket of view.tickets.values())
        if (ticket.repo && (ticketId === undefined || ticket.ticketId === ticketId)) paths.add(ticket.repo);
    }
  }
  const repos = new Map<string, Repo>();
  for (const path of paths) {
    const repo = await openRepo(path);
    repos.set(repo.commonDir, repo);
  }
  return [...repos.values()];
}
