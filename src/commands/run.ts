import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import { type Opened, openRunner } from "../daemon/open.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Ticket } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import { blockerState, isRunnable, type PlanView } from "../engine/world.ts";
import type { Index } from "../state/index.ts";
import type { Ending } from "./command.ts";
import { openLog } from "./log.ts";
import { oneLine, printLine } from "./print.ts";
import { onStopSignals, type StopSignals } from "./signals.ts";
import { workUntil } from "./work-until.ts";
import { readTicket, readWorld, takeTicket } from "./world.ts";

interface Where {
  planId: string;
  ticketId: string;
}

/** Works one ticket to its end; beside a daemon, follows it to its end. */
export async function run(context: Context, args: string[]): Promise<Ending> {
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const target = takeTicket(world, args);
  const { view, ticket } = readTicket(world, target);
  refuse(view, ticket);
  const log = openLog(context, config, { console: false });
  const select = (planId: string, ticketId: string) => planId === target.planId && ticketId === target.ticketId;
  const signals = onStopSignals();
  try {
    let opened: Opened;
    try {
      opened = await openRunner({ config, log, env: context.env, version: context.version, select });
    } catch (error) {
      if (error instanceof UserError && error.exit === "conflict") return await follow(context, config, target, signals);
      throw error;
    }
    try {
      return await work(context, opened, target, signals);
    } finally {
      await opened.close();
    }
  } finally {
    signals.close();
  }
}

/** Throws a UserError that says why this ticket cannot run now. A daemon's own work is followed, whatever state it is in. */
function refuse(view: PlanView, ticket: Ticket): void {
  const { plan } = view;
  const where = `${plan.id} ${ticket.ticketId}`;
  const broken = view.broken.get(ticket.ticketId);
  if (broken) throw refusal(ticket, `its file cannot be used: ${broken}`, `orchestrator check`);
  if (ticket.activity.state === "finished") {
    const again =
      ticket.status === "complete"
        ? `orchestrator skip ${where} <phase> starts it again at a phase`
        : `orchestrator retry ${where} opens it again`;
    throw refusal(ticket, `it has ended as ${ticket.status}`, again);
  }
  if (view.twin !== undefined) throw refusal(ticket, view.twin, "orchestrator check");
  if (!isRunnable(plan)) {
    throw refusal(
      ticket,
      `plan "${plan.id}" is ${plan.hold ? `paused by ${plan.hold.by}` : plan.status}`,
      plan.status === "draft" ? `orchestrator plan approve ${plan.id}` : `orchestrator resume-plan ${plan.id}`,
    );
  }
  if (ticket.hold) throw refusal(ticket, `${ticket.hold.by} paused it`, `orchestrator resume ${where}`);
  const blockers = ticket.activity.state === "queued" ? blockerState(view, ticket.ticketId) : { state: "settled" as const };
  if (blockers.state !== "settled") throw refusal(ticket, `it waits for ${blockers.ids.join(", ")}`, `orchestrator why ${where}`);
}

function refusal(ticket: Ticket, why: string, hint: string): UserError {
  return new UserError(`Ticket ${ticket.planId}/${ticket.ticketId} cannot run: ${why}.`, { hint, exit: "conflict" });
}

async function work(context: Context, opened: Opened, where: Where, signals: StopSignals): Promise<Ending> {
  const { runner, index } = opened;
  const tell = teller(context, where);
  let stops = 0;
  signals.listen(() => {
    stops += 1;
    runner.setDispatching(false);
    if (stops > 1) return;
    context.say("stopping; the ticket goes on from here the next time");
    void runner.apply(where.planId, where.ticketId, { type: "stop_requested", at: instant(Date.now()) });
  });
  runner.onChange(() => tell(ticketOf(index, where)));
  await runner.recover();
  return workUntil(opened, () => {
    const ticket = ticketOf(index, where);
    tell(ticket);
    const isRunning = ticket?.activity.state === "running";
    if (stops > 1 || (stops > 0 && !isRunning)) return signals.ending();
    if (hasEnded(ticket)) return end(context, where, ticket);
    const wait = isRunning ? undefined : runner.budgetWait(where.planId, where.ticketId);
    if (wait) throw new UserError(wait.message, { hint: wait.command, exit: "limit" });
    return undefined;
  });
}

const lookEveryMs = 250;

async function follow(context: Context, config: Config, where: Where, signals: StopSignals): Promise<Ending> {
  const { world, index } = readWorld(config);
  const tell = teller(context, where);
  let stopped = false;
  signals.listen(() => {
    stopped = true;
  });
  context.say(`a daemon runs; following what it does with ${where.planId}/${where.ticketId} (Ctrl-C ends the following, not the work)`);
  readTicket(world, where);
  try {
    for (;;) {
      const daemonGone = runningDaemon(config.home) === undefined;
      await index.poll();
      const ticket = ticketOf(index, where);
      tell(ticket);
      if (stopped) return signals.ending();
      if (hasEnded(ticket)) return end(context, where, ticket);
      if (daemonGone) {
        context.say(`the daemon has ended; ${where.planId}/${where.ticketId} goes on with the next one`);
        return "tryLater";
      }
      await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
    }
  } finally {
    index.close();
  }
}

function ticketOf(index: Index, { planId, ticketId }: Where): Ticket | null {
  return index.plans.get(planId)?.tickets.get(ticketId)?.ticket ?? null;
}

/** Nothing more comes of it by itself: it has ended, somebody paused it, or it is gone. */
function hasEnded(ticket: Ticket | null): boolean {
  return !ticket || ticket.activity.state === "finished" || (ticket.hold !== null && ticket.activity.state !== "running");
}

/** Says what the ticket does, once per change. */
function teller(context: Context, where: Where): (ticket: Ticket | null) => void {
  let last = "";
  return (ticket) => {
    const text = ticket ? situation(ticket) : "";
    if (text !== "" && text !== last) context.say(`${where.planId}/${where.ticketId}  ${text}`);
    last = text;
  };
}

function situation({ activity, currentPhase, error, planId, ticketId }: Ticket): string {
  const phase = currentPhase ?? "";
  switch (activity.state) {
    case "running":
      return `${phase}: run ${activity.runId}${activity.stop ? " is being stopped" : ""}`;
    case "waiting":
      return `${phase}: looks again at ${activity.until}${activity.reason ? ` (${oneLine(activity.reason)})` : ""}`;
    case "awaiting":
      return `${phase}: waits for orchestrator approve ${planId} ${ticketId}, or reject`;
    case "ready":
      return activity.notBefore === undefined
        ? ""
        : `${phase}: runs again at ${activity.notBefore}${error ? ` after: ${oneLine(error)}` : ""}`;
    default:
      return "";
  }
}

function end(context: Context, { planId, ticketId }: Where, ticket: Ticket | null): Ending {
  if (!ticket) throw new UserError(`Ticket ${planId}/${ticketId} is gone.`, { exit: "notFound" });
  const why = ticket.error && ticket.status !== "complete" ? `: ${oneLine(ticket.error)}` : "";
  printLine(context, `${planId}/${ticketId}  ${ticket.status}${why}`);
  if (ticket.status === "complete") return "ok";
  if (ticket.status === "needs_attention") return "needsAttention";
  return ticket.status === "paused" ? "conflict" : "failed";
}
