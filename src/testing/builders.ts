import type { z } from "zod";
import { Plan } from "../domain/plan.ts";
import { type Activity, type Ticket, TicketFile } from "../domain/ticket.ts";
import { statusOf } from "../domain/ticket-status.ts";
import { type FlatPhase, type Workflow, WorkflowFile } from "../domain/workflow.ts";
import type { PlanView, World } from "../engine/world.ts";

/** A ticket "plan/t1" that has not started, with the given fields. Throws what the schema says of wrong ones. */
export function makeTicket(fields: Partial<z.input<typeof TicketFile>> = {}): Ticket {
  const activity: Activity = fields.activity ?? { state: "queued" };
  const ticket = TicketFile.parse({ planId: "plan", ticketId: "t1", ...fields, activity });
  return { ...ticket, activity, status: statusOf({ activity, hold: ticket.hold }) };
}

/** An active plan "plan" whose tickets run the workflow "flow" in "/repo", with the given fields. Throws what the schema says of wrong ones. */
export function makePlan(fields: Partial<z.input<typeof Plan>> = {}): Plan {
  return Plan.parse({ id: "plan", repo: "/repo", workflow: "flow", createdAt: "2026-01-01T00:00:00.000Z", ...fields });
}

/** A workflow "flow" of these phases. Throws what the schema says of wrong ones, and for a phase that includes another workflow. */
export function makeWorkflow(phases: z.input<typeof WorkflowFile>["phases"], name = "flow"): Workflow {
  const file = WorkflowFile.parse({ name, phases });
  const flat = file.phases.map((phase): FlatPhase => {
    if (phase.type === "workflow") throw new Error(`phase "${phase.id}" includes a workflow; builders make flat ones only`);
    return phase;
  });
  return { name: file.name, description: file.description, tags: file.tags, phases: flat };
}

/** A plan with its tickets and workflows; the plan lists the tickets in the given order unless `plan.tickets` says otherwise. */
export function makePlanView(
  parts: {
    plan?: Partial<z.input<typeof Plan>>;
    tickets?: Ticket[];
    broken?: Record<string, string>;
    twin?: string;
    workflows?: (Workflow | { name: string; problem: string })[];
  } = {},
): PlanView {
  const tickets = parts.tickets ?? [];
  const listed = tickets.map((ticket) => ({ ticketId: ticket.ticketId }));
  return {
    plan: makePlan({ tickets: listed, ...parts.plan }),
    tickets: new Map(tickets.map((ticket) => [ticket.ticketId, ticket])),
    broken: new Map(Object.entries(parts.broken ?? {})),
    ...(parts.twin === undefined ? {} : { twin: parts.twin }),
    workflows: new Map((parts.workflows ?? []).map((workflow) => [workflow.name, "problem" in workflow ? workflow.problem : workflow])),
  };
}

/** A world of these plans, all of them readable unless `brokenPlans` names more. */
export function makeWorld(views: PlanView[], brokenPlans: Record<string, string> = {}): World {
  return { plans: new Map(views.map((view) => [view.plan.id, view])), brokenPlans: new Map(Object.entries(brokenPlans)) };
}
