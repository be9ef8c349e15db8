import type { PlanDraft, TicketDraft } from "./draft.ts";
import { Plan } from "./plan.ts";
import { TicketFile } from "./ticket.ts";
import type { Instant } from "./time.ts";

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
