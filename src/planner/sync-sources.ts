import { UserError } from "../domain/errors.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { PlanView } from "../engine/world.ts";
import { createRedactor, secretValues } from "../lib/redact.ts";
import type { Progress } from "../trackers/tracker.ts";
import { listeners } from "./open-source.ts";
import type { Bench } from "./tool.ts";

/** What one place was told, or would be. */
export interface Told {
  place: string;
  /** `silent`: nothing can be written there. `failed`: the error says why. `planned`: it was to be tried alone. */
  result: "told" | "silent" | "failed" | "planned";
  tickets: { ticketId: string; status: Progress["status"] }[];
  error?: string;
  hint?: string;
}

export interface SyncOptions {
  /** Issues of GitHub are closed when their tickets are complete. */
  closeDone: boolean;
  dryRun: boolean;
}

/**
 * Tells the sources of a plan's tickets what has become of their items. Telling the same twice changes nothing. A place that cannot be
 * told is in the answer, and keeps no other from being told.
 */
export async function syncSources(view: PlanView, { closeDone, dryRun }: SyncOptions, bench: Bench): Promise<Told[]> {
  const secrets = secretValues(bench.env);
  const news = [...view.tickets.values()].flatMap((ticket) => newsOf(view.plan.id, ticket, secrets));
  const told: Told[] = [];
  for (const { name, open, sources } of listeners(
    news.map(({ progress }) => progress.source),
    bench,
    { closeDone },
  )) {
    const here = news.filter(({ progress }) => sources.includes(progress.source));
    const tickets = here.map(({ ticketId, progress }) => ({ ticketId, status: progress.status }));
    const base = { place: name, tickets };
    try {
      const { writeBack } = open() ?? {};
      if (writeBack === undefined) told.push({ ...base, result: "silent" });
      else if (dryRun) told.push({ ...base, result: "planned" });
      else {
        await writeBack(
          here.map(({ progress }) => progress),
          bench.signal,
        );
        told.push({ ...base, result: "told" });
      }
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      told.push({ ...base, result: "failed", error: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) });
    }
  }
  return told;
}

/** What there is to tell of a ticket, without secrets: nothing before it has begun, nor when nobody wants its work any more. */
function newsOf(planId: string, ticket: Ticket, secrets: readonly string[]): { ticketId: string; progress: Progress }[] {
  const { ticketId, source } = ticket;
  const status = progressOf(ticket);
  if (source === null || status === undefined) return [];
  const note = noteOf(planId, ticket).split("\n").map(createRedactor(secrets)).join("\n");
  return [{ ticketId, progress: { source, status, note } }];
}

function progressOf({ activity, runs }: Ticket): Progress["status"] | undefined {
  if (activity.state !== "finished") return runs > 0 ? "in_progress" : undefined;
  switch (activity.outcome) {
    case "complete":
      return "done";
    case "failed":
    case "needs_attention":
      return "failed";
    case "skipped":
    case "cancelled":
      return undefined;
  }
}

/** Without times and counts: the same state has to be told in the same words. */
function noteOf(planId: string, { ticketId, activity, error, context }: Ticket): string {
  const about = `Ticket ${planId}/${ticketId}`;
  if (activity.state !== "finished") return `${about} is being worked.`;
  const link = context.pr_url ? ` ${context.pr_url}` : "";
  if (activity.outcome === "complete") return `${about} is complete.${link}`;
  const how = activity.outcome === "failed" ? "failed" : "needs a person";
  return `${about} ${how}${error ? `: ${error}` : "."}${link}`;
}
