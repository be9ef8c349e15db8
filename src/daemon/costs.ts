import { existsSync } from "node:fs";
import { costOf, tokensOf, totalUsage } from "../agents/price.ts";
import type { Config } from "../domain/config.ts";
import type { Cost, TicketEvent } from "../domain/event.ts";
import type { LedgerEntry } from "../domain/ledger.ts";
import type { ExitRecord, RunRef } from "../domain/run.ts";
import type { Spent } from "../domain/session.ts";
import { type Amount, type Charge, dayOf, type Spending, sumCharges } from "../engine/budget.ts";
import type { World } from "../engine/world.ts";
import { readClaim, readExit, readSpec, readUsage, runFiles } from "../executors/run-files.ts";
import type { Logger } from "../lib/logger.ts";
import { hasCode } from "../state/atomic-write.ts";
import { ledgerFile, runDir } from "../state/layout.ts";
import { appendLedger, type Ledger, ledgerKey, readLedger } from "../state/ledger.ts";

/** The ledgers of all plans, and what follows from them. */
export interface Costs {
  /**
   * Enters a run that is over, once: what its folder tells of it. Gives what it came to, or nothing for what is no run of an
   * agent. Throws system errors: then nothing may be made of the run's end yet.
   */
  enter(ref: RunRef, event: RunNews): Promise<Cost>;
  /** What was spent and may be, as of now. */
  spending(): Spending;
  /** The folder of this plan went away; another one may take its name. */
  forget(planId: string): void;
}

type RunNews = Extract<TicketEvent, { type: LedgerEntry["status"] }>;

interface CostsParts {
  config(): Config;
  world: World;
  now(): string;
  log: Pick<Logger, "warn">;
}

interface OpenLedger extends Ledger {
  keys: Set<string>;
}

const nothing: Amount = { usd: 0, tokens: 0 };

/** The costs of the plans of a world. Ledgers are read when they are first needed. */
export function createCosts({ config, world, now, log }: CostsParts): Costs {
  const ledgers = new Map<string, OpenLedger>();
  let version = 0;
  let sums: { version: number; prices: Config["prices"]; value: ReturnType<typeof sumCharges> } | undefined;

  function ledgerOf(planId: string): OpenLedger {
    const known = ledgers.get(planId);
    if (known) return known;
    const file = ledgerFile(config().stateDir, planId);
    const ledger = readLedger(file);
    if (ledger.unreadable > 0) log.warn({ plan: planId, file }, `${ledger.unreadable} lines of ${file} cannot be read and do not count`);
    const opened = { ...ledger, keys: new Set(ledger.entries.map(ledgerKey)) };
    ledgers.set(planId, opened);
    version += 1;
    return opened;
  }

  function sumsNow(): ReturnType<typeof sumCharges> {
    for (const planId of ledgers.keys()) if (!world.plans.has(planId)) forget(planId);
    for (const planId of world.plans.keys()) ledgerOf(planId);
    const day = dayOf(now());
    const { prices } = config();
    if (sums?.version !== version || sums.prices !== prices || sums.value.day !== day) {
      const charges = [...ledgers.values()].flatMap(({ entries }) => entries.map((entry) => chargeOf(entry, prices)));
      sums = { version, prices, value: sumCharges(charges, day) };
    }
    return sums.value;
  }

  function forget(planId: string): void {
    if (ledgers.delete(planId)) version += 1;
  }

  return {
    async enter(ref, event) {
      const ledger = ledgerOf(ref.planId);
      if (ledger.keys.has(ledgerKey(ref))) {
        const found = ledger.entries.find((entry) => ledgerKey(entry) === ledgerKey(ref));
        return found ? costIn(found) : {};
      }
      const entry = entryOf(ref, event, runDir(config().home, ref), config());
      if (entry === undefined) return {};
      const file = ledgerFile(config().stateDir, ref.planId);
      const { torn } = ledger;
      // Unless it is whole, what follows begins on a line of its own.
      ledger.torn = true;
      await appendLedger(file, entry, torn);
      ledger.torn = false;
      ledger.entries.push(entry);
      ledger.keys.add(ledgerKey(ref));
      version += 1;
      return costIn(entry);
    },
    spending() {
      const { budgetUsdPerDay, runEstimateUsd, home } = config();
      return {
        ...sumsNow(),
        ...(budgetUsdPerDay === undefined ? {} : { perDayUsd: budgetUsdPerDay }),
        ...(runEstimateUsd === undefined ? {} : { estimateUsd: runEstimateUsd }),
        live(planId, ticketId) {
          const activity = world.plans.get(planId)?.tickets.get(ticketId)?.activity;
          if (activity?.state !== "running") return nothing;
          const ref = { planId, ticketId, runId: activity.runId };
          // Until its end is committed, a run that is entered already is still called running.
          return ledgerOf(planId).keys.has(ledgerKey(ref)) ? nothing : liveAmount(runDir(home, ref));
        },
      };
    },
    forget,
  };
}

/** What caps and sums count of an entry: what is not known, as what was kept back for it. A price that was added since counts. */
function chargeOf(entry: LedgerEntry, prices: Config["prices"]): Charge {
  const { planId, ticketId, phase, at, agent, model, usage, partial, status } = entry;
  const costUsd = entry.costUsd ?? (usage && costOf({ byModel: [{ model, usage }], costUsd: null, partial }, undefined, prices).usd);
  const tokens = usage === null ? 0 : tokensOf(usage);
  // A run that was cut off may have told nothing by chance; one that used tokens, or came to its end, never will.
  const never = tokens > 0 || status === "passed";
  const isMissing = {
    usd: never && costUsd === null && entry.reservedUsd === 0,
    tokens: never && usage === null && entry.reservedTokens === 0,
  };
  const units = (["usd", "tokens"] as const).filter((unit) => isMissing[unit]);
  const ended = !partial && (status === "passed" || status === "failed");
  return {
    planId,
    ticketId,
    phase,
    at,
    charged: { usd: costUsd ?? entry.reservedUsd, tokens: usage ? tokens : entry.reservedTokens },
    isExample: { usd: ended && (costUsd ?? 0) > 0, tokens: ended && tokens > 0 },
    ...(units.length > 0 ? { unknown: { units, teller: { agent, model, tellsTokens: tokens > 0 } } } : {}),
  };
}

function costIn({ usage, costUsd }: LedgerEntry): Cost {
  return { ...(usage === null ? {} : { usage }), ...(costUsd === null ? {} : { costUsd }) };
}

function liveAmount(dir: string): Amount {
  const spent = readUsage(dir);
  if (spent === undefined) return nothing;
  const spec = recordIn(() => readSpec(dir));
  return { usd: costOf(spent, spec?.model, spec?.prices).usd ?? 0, tokens: tokensOf(totalUsage(spent)) };
}

/** The entry of a run that is over; undefined when no agent was ever started. */
function entryOf(ref: RunRef, event: RunNews, dir: string, { prices }: Config): LedgerEntry | undefined {
  if (!existsSync(runFiles(dir).spec)) return undefined;
  const spec = recordIn(() => readSpec(dir));
  const claim = recordIn(() => readClaim(dir));
  if (spec === undefined || spec.phaseType !== "agent" || claim?.by !== "shim") return undefined;
  const spent = spentBy(
    dir,
    recordIn(() => readExit(dir)),
  );
  const cost = spent === undefined ? { usd: null, by: "unknown" as const } : costOf(spent, spec.model, { ...spec.prices, ...prices });
  return {
    schema: 1,
    at: event.at,
    ...ref,
    phase: spec.phase,
    agent: String(spec.data.agent ?? ""),
    model: modelOf(spent) ?? spec.model ?? null,
    status: event.type,
    usage: spent === undefined ? null : totalUsage(spent),
    costUsd: cost.usd,
    pricedBy: cost.by,
    partial: spent?.partial ?? true,
    reservedUsd: spec.reserved?.usd ?? 0,
    reservedTokens: spec.reserved?.tokens ?? 0,
  };
}

/** What a run used, from the most certain of its records; undefined when none tells. */
function spentBy(dir: string, exit: ExitRecord | undefined): Spent | undefined {
  const nothingYet: Spent = { byModel: [], costUsd: 0, partial: false };
  if (exit && (exit.end === "spawn_failed" || (exit.stdoutBytes === 0 && exit.stderrBytes === 0))) return nothingYet;
  if (exit?.agent?.spent) return exit.agent.spent;
  const { usage = null, costUsd = null } = exit?.agent ?? {};
  if (usage !== null) return { byModel: [{ model: null, usage }], costUsd, partial: false };
  const noted = readUsage(dir);
  return noted && { ...noted, partial: true };
}

function modelOf(spent: Spent | undefined): string | null {
  return spent?.byModel.toSorted((a, b) => tokensOf(b.usage) - tokensOf(a.usage))[0]?.model ?? null;
}

/** What a record of the run says; undefined when it is unreadable or gone. Throws when the machine cannot read at the moment. */
function recordIn<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (["EMFILE", "ENFILE", "EIO", "ENOMEM", "EAGAIN"].some((code) => hasCode(error, code))) throw error;
    return undefined;
  }
}
