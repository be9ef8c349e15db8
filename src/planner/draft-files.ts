import { resolve } from "node:path";
import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import { Plan } from "../domain/plan.ts";
import { TicketFile } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";

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

/** What plan.json says of a draft. */
export function planOf(draft: PlanDraft, status: "draft" | "active", by: string, at: Instant): Plan {
  const { tickets, ...fields } = draft;
  return Plan.parse({
    ...fields,
    name: draft.name || draft.id,
    createdAt: at,
    createdBy: by,
    status,
    tickets: tickets.map(({ id, blockedBy }, i) => ({ ticketId: id, order: i + 1, blockedBy })),
  });
}

/** What a ticket's file says of a draft, before anybody has worked at it. */
export function ticketOf(planId: string, draft: TicketDraft, at: Instant): TicketFile {
  const { id, blockedBy: _inThePlan, ...fields } = draft;
  const linearUrl = draft.source?.url ?? null;
  return TicketFile.parse({ ...fields, planId, ticketId: id, linearUrl, createdAt: at, status: "queued" });
}
