import { resolveTicket, type Ticket } from "../domain/ticket.ts";
import type { PlanView, World } from "./world.ts";

/** What a ticket keeps to itself until it has ended, as keys that two tickets share exactly when they would meet. */
function claims({ plan }: PlanView, ticket: Ticket, worktreeRoot: string): string[] {
  const { repo, branch, worktree } = resolveTicket(ticket, plan, worktreeRoot);
  return [`worktree ${worktree}`, ...(repo === null ? [] : [`branch ${branch} of ${repo}`])];
}

/** Who holds which branch and worktree: the tickets that have started and not ended. */
export interface Claims {
  /** The other ticket that has what this one would need, and what that is. */
  holder(view: PlanView, ticket: Ticket): { planId: string; ticketId: string; what: string } | undefined;
  /** Notes what a ticket holds from now on. */
  take(view: PlanView, ticket: Ticket): void;
}

/** The claims of all tickets at this moment. */
export function claimsOf(world: World, worktreeRoot: string): Claims {
  const holders = new Map<string, Ticket>();
  const take = (view: PlanView, ticket: Ticket) => {
    for (const key of claims(view, ticket, worktreeRoot)) if (!holders.has(key)) holders.set(key, ticket);
  };
  for (const view of world.plans.values()) {
    for (const ticket of view.tickets.values()) {
      if (ticket.activity.state !== "queued" && ticket.activity.state !== "finished") take(view, ticket);
    }
  }
  return {
    take,
    holder(view, ticket) {
      for (const key of claims(view, ticket, worktreeRoot)) {
        const holder = holders.get(key);
        if (holder && (holder.ticketId !== ticket.ticketId || holder.planId !== ticket.planId))
          return { planId: holder.planId, ticketId: holder.ticketId, what: key };
      }
      return undefined;
    },
  };
}
