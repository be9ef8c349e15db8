import { resolve } from "node:path";
import type { PlanDraft, TicketDraft } from "../domain/draft.ts";

/** The workflow of plans for which nobody names one: the one of the program that needs nothing but git. */
export const usualWorkflow = "local";

/** A draft as it is checked and written: paths are whole ones, and no blocker is named twice. */
export function settleDraft(draft: PlanDraft, cwd: string): PlanDraft {
  const { repo, worktreeRoot } = draft;
  return {
    ...draft,
    ...(repo === undefined ? {} : { repo: resolve(cwd, repo) }),
    ...(worktreeRoot === undefined ? {} : { worktreeRoot: resolve(cwd, worktreeRoot) }),
    tickets: draft.tickets.map((ticket) => settleTicket(ticket, cwd)),
  };
}

/** The same of one ticket. */
export function settleTicket(ticket: TicketDraft, cwd: string): TicketDraft {
  const { repo, blockedBy } = ticket;
  return { ...ticket, ...(repo === undefined ? {} : { repo: resolve(cwd, repo) }), blockedBy: [...new Set(blockedBy)] };
}
