import type { PlanDraft, TicketDraft } from "../domain/draft.ts";
import type { PlanEdit } from "../domain/plan-edit.ts";
import type { Ticket } from "../domain/ticket.ts";
import { type PlanView, planEntry } from "../engine/world.ts";

/** The draft that a plan on disk would come from, in the order of its list. Tickets that cannot be read are not in it. */
export function planDraftOf(view: PlanView): PlanDraft {
  const { plan } = view;
  const { id, name, goal, repo, workflow, agent, worktreeRoot, baseBranch, maxParallel, budgetUsd, onBlockerFailed } = plan;
  const entries = plan.tickets.toSorted((a, b) => a.order - b.order);
  const set = withoutEmpty({ repo, workflow, agent, worktreeRoot, baseBranch, maxParallel, budgetUsd }) as Partial<PlanDraft>;
  const tickets = entries.flatMap(({ ticketId }) => {
    const ticket = view.tickets.get(ticketId);
    return ticket ? [ticketDraftOf(view, ticket)] : [];
  });
  return { id, name, goal, ...set, ...(onBlockerFailed === "wait" ? {} : { onBlockerFailed }), tickets };
}

/** The draft that a ticket on disk would come from. */
export function ticketDraftOf(view: PlanView, ticket: Ticket): TicketDraft {
  const { ticketId: id, title, description, acceptanceCriteria, scope } = ticket;
  const { priority, type, repo, workflow, branch, agent, model, budgetUsd, source } = ticket;
  const skills = ticket.skills.length > 0 ? ticket.skills : undefined;
  const set = withoutEmpty({ priority, type, repo, workflow, branch, agent, model, budgetUsd, skills, source }) as Partial<TicketDraft>;
  return { id, title, description, acceptanceCriteria, blockedBy: planEntry(view.plan, id)?.blockedBy ?? [], scope, ...set };
}

/** What a draft is with these edits done, wherever they can be. */
export function editedDraft(draft: PlanDraft, edits: readonly PlanEdit[]): PlanDraft {
  let edited = draft;
  const change = (id: string, step: (ticket: TicketDraft) => TicketDraft) => {
    edited = { ...edited, tickets: edited.tickets.map((ticket) => (ticket.id === id ? step(ticket) : ticket)) };
  };
  for (const edit of edits) {
    switch (edit.do) {
      case "add":
        edited = { ...edited, tickets: [...edited.tickets, edit.ticket] };
        break;
      case "remove":
        edited = { ...edited, tickets: edited.tickets.filter(({ id }) => id !== edit.ticketId) };
        break;
      case "change":
        change(edit.ticketId, (ticket) => withoutEmpty({ ...ticket, ...edit.set }) as TicketDraft);
        break;
      case "depend":
        change(edit.ticketId, (ticket) => ({ ...ticket, blockedBy: [...new Set([...ticket.blockedBy, edit.on])] }));
        break;
      case "undepend":
        change(edit.ticketId, (ticket) => ({ ...ticket, blockedBy: ticket.blockedBy.filter((id) => id !== edit.on) }));
        break;
      case "plan":
        edited = withoutEmpty({ ...edited, ...edit.set }) as PlanDraft;
        break;
    }
  }
  return edited;
}

/** Without the fields that say nothing. */
function withoutEmpty(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
}
