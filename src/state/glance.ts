import { UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket, TicketFile } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import type { Check } from "../lib/json-schema.ts";
import { disk, namesIn, systemCode } from "./atomic-write.ts";
import { parseJson, readJson, readTextFile } from "./json.ts";
import { allRevsDir, planDir, planFile, revFile, ticketFile } from "./layout.ts";
import type { PlanEntry, TicketEntry } from "./load.ts";
import { migrate, planMigrations, ticketMigrations } from "./migrate.ts";
import { listPlans, listProblems, planTwins, ticketNames } from "./plan-list.ts";
import type { TicketRef } from "./tickets.ts";
import { longestText, toTicket } from "./to-ticket.ts";

/** Whether a value is what plan.json or a ticket file may hold, but for its ids; defaults are filled in. */
export interface Shapes {
  plan: Check;
  ticket: Check;
}

/**
 * All plans below `stateDir` as openIndex() would have them, in a fraction of its time: for looking once, not for acting.
 * Undefined as soon as anything of them is wrong or unusual, such as an edit that no daemon has seen yet: openIndex()
 * knows what, and what still holds.
 */
export function glanceAtPlans(stateDir: string, shapes: Shapes): ReadonlyMap<string, PlanEntry> | undefined {
  try {
    const plans = new Map<string, PlanEntry>();
    const ids = listPlans(stateDir);
    if (planTwins(stateDir, ids).size > 0) return undefined;
    for (const id of ids) {
      const plan = glanceAtPlan(stateDir, id, shapes);
      if (!plan) return undefined;
      plans.set(id, plan);
    }
    return plans;
  } catch (error) {
    if (error instanceof UserError || systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

function glanceAtPlan(stateDir: string, planId: string, shapes: Shapes): PlanEntry | undefined {
  if (disk.lstatSync(planDir(stateDir, planId)).isSymbolicLink()) return undefined;
  const file = planFile(stateDir, planId);
  const raw = migrate(readJson(file), file, planMigrations);
  if (!shapes.plan(raw) || raw.id !== planId) return undefined;
  const plan = raw as Plan;
  const { ids, bad } = ticketNames(stateDir, planId);
  const committed = new Set(namesIn(allRevsDir(stateDir, planId)));
  if (bad.length > 0 || listProblems(file, plan, ids).length > 0 || ![...committed].every((id) => ids.includes(id))) return undefined;
  const tickets = new Map<string, TicketEntry>();
  for (const ticketId of ids) {
    const ref = { stateDir, planId, ticketId };
    const look = committed.has(ticketId) ? committedTicket : freshTicket;
    const ticket = look(ref, ticketFile(stateDir, planId, ticketId), shapes.ticket);
    if (!ticket) return undefined;
    tickets.set(ticketId, { ticket, problem: null });
  }
  return { plan, problems: [], tickets, twin: null, ticketTwins: new Map() };
}

/** A ticket whose file shows exactly what its last revision says; that one is found by the next number being free. */
function committedTicket(ref: TicketRef, file: string, isTicket: Check): Ticket | undefined {
  const shown = readJson(file) as { rev?: unknown } | undefined;
  const rev = shown?.rev;
  if (typeof rev !== "number") return undefined;
  const { stateDir, planId, ticketId } = ref;
  if (disk.lstatSync(revFile(stateDir, planId, ticketId, rev + 1), { throwIfNoEntry: false })) return undefined;
  const revision = readTextFile(revFile(stateDir, planId, ticketId, rev))?.text;
  const sameTicket = `{"ticket":${JSON.stringify(shown)},`;
  if (!revision?.startsWith(sameTicket) || !isRestOfRevision(`{${revision.slice(sameTicket.length)}`)) return undefined;
  return checked(ref, file, shown, rev, isTicket);
}

function isRestOfRevision(text: string): boolean {
  const { known, applied, pending } = parseJson(text, "") as Record<string, unknown>;
  const isNames = (list: unknown) => Array.isArray(list) && list.every((item) => typeof item === "string");
  return isNames(known) && isNames(applied) && Array.isArray(pending) && pending.length === 0;
}

/** A ticket that no daemon has touched yet. */
function freshTicket(ref: TicketRef, file: string, isTicket: Check): Ticket | undefined {
  const text = readTextFile(file)?.text;
  // Together they are no longer than each of them may be; a NUL can only come escaped.
  if (text === undefined || text.length > longestText || text.includes("\\u0000")) return undefined;
  return checked(ref, file, parseJson(text, file), 0, isTicket);
}

function checked(ref: TicketRef, file: string, value: unknown, rev: number, isTicket: Check): Ticket | undefined {
  const raw = migrate(value, file, ticketMigrations);
  if (!isTicket(raw) || raw.planId !== ref.planId || raw.ticketId !== ref.ticketId) return undefined;
  return toTicket(raw as TicketFile, rev, instant(Date.now()));
}
