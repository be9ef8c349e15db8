import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import { openRunner } from "../daemon/open.ts";
import { sendOrApply } from "../daemon/send-intent.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Intent } from "../domain/event.ts";
import type { Session } from "../domain/session.ts";
import { loadTicket } from "../state/load.ts";
import type { Ending } from "./command.ts";
import { userOf } from "./intents.ts";
import { openLog } from "./log.ts";
import { chooseSession, openSession, programOf } from "./resume-session.ts";
import { onStopSignals } from "./signals.ts";
import { workUntil } from "./work-until.ts";
import { readTicket, readWorld, takeTicket } from "./world.ts";

interface Where {
  planId: string;
  ticketId: string;
}

/** A run that is asked to stop has its grace, and then its processes are killed. */
const stopPatienceMs = 60_000;
const lookEveryMs = 100;

/** Stops the ticket's run, holds the ticket, opens its conversation in the agent's own interface, and hands it back at the end. */
export async function run(context: Context, args: string[], options: { phase?: string; keep?: boolean }): Promise<Ending> {
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const { planId, ticketId, rest } = takeTicket(world, args);
  if (rest.length > 0) throw new UserError(`"${rest.at(-1)}" is one argument too many.`, { exit: "usage" });
  const where = { planId, ticketId };
  const by = userOf(context);
  const { view, ticket } = readTicket(world, where);
  const row = chooseSession(ticket, undefined, options.phase);
  // What cannot be opened is said before anything is stopped.
  programOf(context, config, { ticket, plan: view.plan, row });
  const handBack = (keep: boolean, session: Session) =>
    giveBack(context, config, { type: "hand-back", planId, ticketId, by, keep, session });
  const answer = await sendOrApply({ ...context, config }, { type: "take-over", ...where, by, session: row.session });
  if (answer?.result === "refused") throw new UserError(answer.message, { hint: answer.hint, exit: "conflict" });
  if (answer === undefined) {
    // The daemon finds both in their order once it looks.
    await handBack(false, row.session);
    throw new UserError("The daemon has not answered.", { hint: "orchestrator status", exit: "tryLater" });
  }
  let used = row.session;
  try {
    const stopped = await untilStopped(context, config, where);
    if (stopped !== undefined) {
      await handBack(false, used);
      return stopped;
    }
    const now = ticketNow(config, where);
    const its = chooseSession(now.ticket, undefined, options.phase);
    used = its.session;
    if (now.ticket.activity.state === "finished") {
      throw new UserError(`Ticket ${planId}/${ticketId} has ended meanwhile (${now.ticket.status}).`, {
        hint: `orchestrator resume-session ${planId} ${ticketId} opens its conversation`,
        exit: "conflict",
      });
    }
    context.say(`${planId}/${ticketId} is yours until the agent's program ends: ${used.provider} ${used.id}`);
    const code = await openSession(context, config, { ticket: now.ticket, plan: now.view.plan, row: its });
    await handBack(options.keep === true, used);
    return code;
  } catch (error) {
    await handBack(false, used);
    throw error;
  }
}

async function giveBack(context: Context, config: Config, intent: Extract<Intent, { type: "hand-back" }>): Promise<void> {
  const { planId, ticketId, keep } = intent;
  const answer = await sendOrApply({ ...context, config }, intent);
  if (answer === undefined) context.say(`${planId}/${ticketId} is handed back once the daemon answers`);
  else if (answer.result === "refused") context.say(answer.message);
  else if (keep) context.say(`${planId}/${ticketId} stays paused; orchestrator resume ${planId} ${ticketId} lets it go on`);
  else context.say(`${planId}/${ticketId} is handed back`);
}

function ticketNow(config: Config, where: Where): ReturnType<typeof readTicket> {
  const { world, index } = readWorld(config);
  index.close();
  return readTicket(world, where);
}

/** One ticket's files are read often, all of them only once it matters. A ticket that is gone has no run. */
function hasRun({ stateDir }: Config, where: Where): boolean {
  return loadTicket({ stateDir, ...where }, Date.now(), true).ticket?.activity.state === "running";
}

/** Waits until the ticket has no run; says how to end when it is told to stop first. Where no daemon does it, the run's result is read here. */
async function untilStopped(context: Context, config: Config, where: Where): Promise<Ending | undefined> {
  const signals = onStopSignals();
  let isAsked = false;
  signals.listen(() => {
    isAsked = true;
  });
  const deadline = performance.now() + stopPatienceMs;
  try {
    while (hasRun(config, where)) {
      if (isAsked) return signals.ending();
      if (performance.now() > deadline) {
        throw new UserError(`The run of ${where.planId}/${where.ticketId} has not ended.`, {
          hint: `orchestrator why ${where.planId} ${where.ticketId}`,
          exit: "tryLater",
        });
      }
      if (runningDaemon(config.home) === undefined) await settleHere(context, config, where);
      else await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
    }
    return undefined;
  } finally {
    signals.close();
  }
}

async function settleHere(context: Context, config: Config, { planId, ticketId }: Where): Promise<void> {
  const opened = await openRunner({
    config,
    log: openLog(context, config, { console: false }),
    env: context.env,
    version: context.version,
  });
  try {
    opened.runner.setDispatching(false);
    await opened.runner.recover();
    const deadline = performance.now() + stopPatienceMs;
    const isOver = () => opened.index.plans.get(planId)?.tickets.get(ticketId)?.ticket?.activity.state !== "running";
    await workUntil(opened, () => isOver() || performance.now() > deadline || undefined);
  } finally {
    await opened.close();
  }
}
