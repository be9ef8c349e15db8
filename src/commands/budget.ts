import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { writeDurable } from "../state/atomic-write.ts";
import { parseJson, readTextFile } from "../state/json.ts";
import { ticketFile } from "../state/layout.ts";
import type { Ending } from "./command.ts";
import { carryOut, userOf } from "./intents.ts";
import { printLine } from "./print.ts";
import { readTicket, readWorld, takePlan, takeTicket } from "./world.ts";

interface Options {
  usd?: string;
  tokens?: string;
}

/** Sets the caps of a plan, or of a ticket: that is its planner's field, so its file is edited as people edit it. */
export async function run(context: Context, args: string[], options: Options): Promise<Ending> {
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const [first = "", second] = args;
  const caps = {
    ...(options.usd === undefined ? {} : { budgetUsd: capOf(options.usd, "--usd", false) }),
    ...(options.tokens === undefined ? {} : { budgetTokens: capOf(options.tokens, "--tokens", true) }),
  };
  if (Object.keys(caps).length === 0) {
    throw new UserError("Which budget is to be set?", { hint: "add --usd 5, --tokens 2000000, or --usd none", exit: "usage" });
  }
  if (second === undefined && !first.includes("/")) {
    return carryOut(context, config, { type: "budget-plan", planId: takePlan(world, first), by: userOf(context), ...caps });
  }
  const { planId, ticketId } = takeTicket(world, args);
  readTicket(world, { planId, ticketId });
  const file = ticketFile(config.stateDir, planId, ticketId);
  const { text } = readTextFile(file) ?? {};
  if (text === undefined) throw new UserError(`${file} is not there at the moment.`, { hint: "try again", exit: "tryLater" });
  await writeDurable(file, `${JSON.stringify({ ...(parseJson(text, file) as object), ...caps }, null, 2)}\n`);
  printLine(context, `The budget of ticket ${planId}/${ticketId} is set.`);
  return "ok";
}

function capOf(text: string, option: string, whole: boolean): number | null {
  if (text === "none") return null;
  const cap = Number(text);
  if (text.trim() !== "" && Number.isFinite(cap) && cap >= 0 && (!whole || Number.isInteger(cap))) return cap;
  throw new UserError(`${option} does not understand ${JSON.stringify(text)}.`, {
    hint: whole ? "write a whole number of tokens, or none" : "write a sum such as 2.50, or none",
    exit: "usage",
  });
}
