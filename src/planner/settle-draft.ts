import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import type { PlanEdit } from "../domain/plan-edit.ts";
import { resolveFolder } from "../inputs/config-file.ts";
import type { Bench } from "./tool.ts";

/** The workflow of plans for which nobody names one: the one of the program that needs nothing but git. */
export const usualWorkflow = "local";

/** A draft as it is checked and written: paths are whole ones, and no blocker is named twice. */
export function settleDraft(draft: PlanDraft, bench: Bench): PlanDraft {
  return { ...withWholePaths(draft, bench), tickets: draft.tickets.map((ticket) => settleTicket(ticket, bench)) };
}

/** The same of an edit. */
export function settleEdit(edit: PlanEdit, bench: Bench): PlanEdit {
  switch (edit.do) {
    case "add":
      return { ...edit, ticket: settleTicket(edit.ticket, bench) };
    case "change":
      return { ...edit, set: withWholePaths(edit.set, bench) };
    case "plan":
      return { ...edit, set: withWholePaths(edit.set, bench) };
    default:
      return edit;
  }
}

function settleTicket(ticket: TicketDraft, bench: Bench): TicketDraft {
  return { ...withWholePaths(ticket, bench), blockedBy: [...new Set(ticket.blockedBy)] };
}

function withWholePaths<T extends object>(fields: T, { cwd, env }: Bench): T {
  const paths = Object.entries(fields).filter(([key, value]) => (key === "repo" || key === "worktreeRoot") && typeof value === "string");
  return { ...fields, ...Object.fromEntries(paths.map(([key, path]) => [key, resolveFolder(path, cwd, env)])) };
}
