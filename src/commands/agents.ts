import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { accountOf, opensAt, parkText, placesOf } from "../engine/park.ts";
import { providersOf } from "../engine/world.ts";
import type { Ending } from "./command.ts";
import { carryOut, userOf } from "./intents.ts";
import { parksOf } from "./parks.ts";
import { oneLine, printData, printLine } from "./print.ts";

/** Shows the agents and who of them waits for its provider, or ends the wait of one. */
export async function run(context: Context, [action, agent]: string[], options: { json?: boolean }): Promise<Ending> {
  const config = await context.config();
  if (action === "resume") {
    const names = Object.keys(config.agents).join(", ");
    if (agent === undefined) throw new UserError("Which agent is to be resumed?", { hint: `known: ${names}`, exit: "usage" });
    return carryOut(context, config, { type: "resume-agent", agent, by: userOf(context) });
  }
  const { parks, problem } = parksOf(config);
  const providers = providersOf(config, parks);
  const now = instant(Date.now());
  const agents = Object.entries(config.agents).map(([name, { command, fallbackAgents }]) => {
    const account = accountOf(providers, name);
    const park = parks.get(account);
    const places = placesOf(providers, account, now);
    const state = park === undefined ? "works" : places === 0 ? "parked" : "tried";
    const { category, reason, since } = park ?? {};
    const until = state === "parked" ? (opensAt(providers, account, now) ?? null) : null;
    return {
      name,
      command,
      account,
      fallbackAgents,
      state,
      category: category ?? null,
      reason: reason ?? null,
      since: since ?? null,
      until,
    };
  });
  if (options.json) {
    printData(context, { resumeAgents: config.resumeAgents, problem: problem ?? null, agents });
    return "ok";
  }
  for (const { name, account, state } of agents) {
    const says = state === "works" ? "works" : oneLine(parkText(providers, account, now));
    printLine(context, `${context.style("bold", name)}  ${state === "works" ? says : context.style("yellow", says)}`);
    if (state === "parked") printLine(context, `  ${context.style("cyan", `orchestrator agents resume ${name}`)}`);
  }
  if (problem !== undefined) printLine(context, `${context.style("red", "broken:")} ${oneLine(problem)}`);
  return "ok";
}
