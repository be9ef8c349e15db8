import type { Context } from "../app.ts";
import { sendOrApply } from "../daemon/send-intent.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Intent } from "../domain/event.ts";
import { workflowOf } from "../engine/world.ts";
import type { CommandModule, Ending } from "./command.ts";
import { printLine } from "./print.ts";
import { readWorkflow } from "./workflow-reader.ts";
import { type ReadWorld, readTicket, readWorld, takePlan, takeTicket, unknown } from "./world.ts";

interface Where {
  planId: string;
  ticketId: string;
  by: string;
}

interface Options {
  reason?: string;
  message?: string;
  feedback?: string;
}

/** `pause <plan> <ticket>` */
export const pause = ofTicket((where, { reason = "" }) => ({ type: "pause", ...where, reason }));

/** `resume <plan> <ticket>` */
export const resume = ofTicket((where) => ({ type: "resume", ...where }));

/** `retry <plan> <ticket>` */
export const retry = ofTicket((where, options) => ({ type: "retry", ...where, ...messageOf(options) }));

/** `cancel <plan> <ticket>` */
export const cancel = ofTicket((where, { reason = "" }) => ({ type: "cancel", ...where, reason }));

/** `approve <plan> <ticket>` */
export const approve = ofTicket((where, options) => ({ type: "approve", ...where, ...messageOf(options) }));

/** `reject <plan> <ticket> --feedback <text>` */
export const reject = ofTicket((where, { feedback }) => {
  if (feedback) return { type: "reject", ...where, feedback };
  throw new UserError("A rejection needs --feedback: it is what the next try works from.", {
    hint: `orchestrator reject ${where.planId} ${where.ticketId} --feedback 'what has to change'`,
    exit: "usage",
  });
});

/** `send <plan> <ticket> <message>` */
export const send = ofTicket((where, _options, [message = ""]) => {
  if (message.trim() !== "") return { type: "send", ...where, message };
  throw new UserError("What is the agent to be told?", {
    hint: `orchestrator send ${where.planId} ${where.ticketId} 'keep the old endpoint'`,
    exit: "usage",
  });
}, 1);

/** `skip <plan> <ticket> <phase>` */
export const skip = ofTicket((where, _options, [phase], { world }) => {
  const { view, ticket } = readTicket(world, where);
  const workflow = workflowOf(view, ticket);
  const known = typeof workflow === "string" ? undefined : workflow.phases.map((each) => each.id);
  if (phase === undefined) {
    throw new UserError("Which phase is to be entered?", {
      hint: `known: ${known?.join(", ") ?? "(the workflow cannot be read)"}`,
      exit: "usage",
    });
  }
  if (known && !known.includes(phase)) {
    throw unknown(`Ticket ${where.planId}/${where.ticketId} has no phase "${phase}".`, phase, known, `known: ${known.join(", ")}`);
  }
  return { type: "skip", ...where, phase };
}, 1);

/** `pause-plan <plan>` */
export const pausePlan = ofPlan((planId, by, { reason = "" }) => ({ type: "pause-plan", planId, by, reason }));

/** `resume-plan <plan>` */
export const resumePlan = ofPlan((planId, by) => ({ type: "resume-plan", planId, by }));

/** `cancel-plan <plan>` */
export const cancelPlan = ofPlan((planId, by, { reason = "" }) => ({ type: "cancel-plan", planId, by, reason }));

/** `workflow upgrade <plan> [workflow]` */
export const upgradeWorkflow = ofPlan((planId, by, _options, workflow) => ({
  type: "upgrade-workflow",
  planId,
  by,
  ...(workflow === undefined ? {} : { workflow }),
}));

type TicketIntent = (where: Where, options: Options, rest: string[], snapshot: ReadWorld) => Intent;

function ofTicket(intentOf: TicketIntent, furtherArguments = 0): CommandModule {
  return command((snapshot, context, args, options) => {
    const { planId, ticketId, rest } = takeTicket(snapshot.world, args);
    if (rest.length > furtherArguments) throw new UserError(`"${rest.at(-1)}" is one argument too many.`, { exit: "usage" });
    return intentOf({ planId, ticketId, by: userOf(context) }, options, rest, snapshot);
  });
}

type PlanIntent = (planId: string, by: string, options: Options, argument: string | undefined) => Intent;

function ofPlan(intentOf: PlanIntent): CommandModule {
  return command((snapshot, context, [planId = "", argument], options) =>
    intentOf(takePlan(snapshot.world, planId), userOf(context), options, argument),
  );
}

function command(intentOf: (snapshot: ReadWorld, context: Context, args: string[], options: Options) => Intent): CommandModule {
  return {
    async run(context: Context, args: string[], options: Options): Promise<Ending> {
      const config = await context.config();
      const snapshot = readWorld(config, readWorkflow);
      snapshot.index.close();
      return carryOut(context, config, intentOf(snapshot, context, args, options));
    },
  };
}

/** Has an intent applied and prints the answer. Throws a UserError (conflict) when it is refused. */
export async function carryOut(context: Context, config: Config, intent: Intent): Promise<Ending> {
  const answer = await sendOrApply({ ...context, config }, intent);
  if (answer === undefined) {
    context.say("queued; the daemon has not answered");
    return "tryLater";
  }
  if (answer.result === "refused") throw new UserError(answer.message, { hint: answer.hint, exit: "conflict" });
  printLine(context, answer.message);
  return "ok";
}

/** Who asks: the name, where there is one. */
export function userOf({ env }: Context): string {
  return env.USER || `uid ${process.getuid?.() ?? "unknown"}`;
}

function messageOf({ message }: Options): { message?: string } {
  return message === undefined ? {} : { message };
}
