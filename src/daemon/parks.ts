import { adapterFor } from "../agents/adapters.ts";
import type { Config } from "../domain/config.ts";
import type { Answer, TicketEvent } from "../domain/event.ts";
import { isProviderTrouble, type Park, type Parks } from "../domain/park.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { accountOf, expire, isServed, meetService, meetTrouble, parkText, reopen } from "../engine/park.ts";
import { providersOf } from "../engine/world.ts";
import { probeAgent, programProblem } from "../executors/agent-probe.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import type { Logger } from "../lib/logger.ts";
import { Unreadable } from "../state/json.ts";
import { readParks, writeParks } from "../state/parks.ts";
import { notify } from "./notify.ts";

/** Which agents wait for their provider. What memory says holds, also while it cannot be written. */
export interface AgentParks {
  /** Another map after each change. */
  all(): Parks;
  /** Draws from a run's news what it says of the provider of its agent. To be done before the news is committed: told twice, it counts once. */
  heed(before: Ticket, event: TicketEvent): Promise<void>;
  /** Does what a person asked for. */
  resume(agent: string): Promise<Answer>;
  /** Looks whether programs that were missing or incompatible can be used by now; says whether one can. Asking one takes seconds. */
  lookAtPrograms(): Promise<boolean>;
}

interface ParksParts {
  log: Logger;
  config(): Config;
  now(): Instant;
  /** The daemon's own environment. */
  env: Readonly<Record<string, string | undefined>>;
}

/** Opens them from what an earlier daemon left; a file that cannot be read is said and parks nobody. */
export function openParks({ log, config, now, env }: ParksParts): AgentParks {
  let parks = read();
  /** The file says in the end what memory says, whichever change came first. */
  let written = Promise.resolve();

  function read(): Parks {
    try {
      return readParks(config().stateDir);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      log.warn({ err: error }, `no agent counts as parked: ${error.message}`);
      return new Map();
    }
  }

  async function put(account: string, park: Park | undefined): Promise<void> {
    const changed = new Map(parks);
    if (park) changed.set(account, park);
    else changed.delete(account);
    parks = changed;
    written = written
      .then(() => writeParks(config().stateDir, parks))
      .catch((error: unknown) => {
        log.error({ err: error }, "agents.json could not be written; after a restart the agent would be tried at once");
      });
    await written;
  }

  const textOf = (account: string) => parkText(providersOf(config(), parks), account, now());

  return {
    all: () => parks,
    async heed(before, event) {
      const { activity } = before;
      if (event.type !== "passed" && event.type !== "failed") return;
      if (activity.state !== "running" || activity.runId !== event.runId || event.agent === undefined) return;
      const account = accountOf(providersOf(config(), parks), event.agent);
      const known = parks.get(account);
      if (event.type === "failed" && event.provider && isProviderTrouble(event.category)) {
        const { category, reason, agent, at } = event;
        const ticket = `${before.planId}/${before.ticketId}`;
        const { park, isNews } = meetTrouble(known, { category, reason, agent, ticket, at, startedAt: activity.since, ...event.provider });
        if (park === known) return;
        await put(account, park);
        if (isNews)
          notify(config(), log, { status: "agent_parked", reason: `${textOf(account)}. Sooner: orchestrator agents resume ${agent}` });
        else log.warn({ account }, textOf(account));
      } else if (known && (event.type === "passed" || isServed(event.category))) {
        const park = meetService(known, activity.since, `${before.planId}/${before.ticketId}/${event.runId}`);
        if (park === known) return;
        await put(account, park);
        log.info({ account }, textOf(account));
      }
    },
    async resume(agent) {
      const { accounts } = providersOf(config(), parks);
      const account = accounts.get(agent) ?? agent;
      const park = parks.get(account);
      if (!park) {
        const isKnown = accounts.has(agent) || [...accounts.values()].includes(agent);
        const message = isKnown ? `Agent "${agent}" is not parked.` : `There is no agent "${agent}".`;
        return { result: "refused", message, hint: "orchestrator agents lists them" };
      }
      await put(account, reopen(park, now()));
      return { result: "applied", message: textOf(account) };
    },
    async lookAtPrograms() {
      let found = false;
      for (const [account, park] of parks) {
        if (!park.program || park.limit > 0 || park.until <= now() || config().resumeAgents === "manual") continue;
        if (!(await isUsable(config(), env, park.agent))) continue;
        // It may have been resumed meanwhile.
        if (parks.get(account) !== park) continue;
        found = true;
        await put(account, expire(park, now()));
        log.info({ account }, `the program of agent ${park.agent} can be used: ${textOf(account)}`);
      }
      return found;
    },
  };
}

/** Whether an agent's program is there and takes what a run needs. */
async function isUsable(config: Config, env: ParksParts["env"], agent: string): Promise<boolean> {
  const configured = Object.hasOwn(config.agents, agent) ? config.agents[agent] : undefined;
  if (!configured) return false;
  const { command, defaultArgs } = configured;
  const adapter = adapterFor(command, agent);
  try {
    const { PATH } = configured.env;
    const path = PATH === undefined ? env : resolveEnvReferences({ PATH }, env);
    const probe = { adapter, command, defaultArgs, env: path, cwd: config.home, home: config.home };
    return programProblem(probe, await probeAgent(probe)) === undefined;
  } catch {
    return false;
  }
}
