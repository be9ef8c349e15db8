import * as z from "zod";
import { TicketDraft } from "./draft.ts";
import { Plan } from "./plan.ts";
import { Source, ticketTypes } from "./source.ts";
import { priorities } from "./ticket.ts";

const text = z.string().min(1);

/** New values for fields of a ticket. What is absent stays; null takes a value away. */
export const TicketChange = z.strictObject({
  title: TicketDraft.shape.title.optional(),
  description: z.string().optional(),
  acceptanceCriteria: z.array(text).optional(),
  /** All ids of tickets that block it from now on. */
  blockedBy: z.array(z.string()).optional(),
  priority: z.enum(priorities).nullable().optional(),
  type: z.enum(ticketTypes).nullable().optional(),
  scope: z.array(text).optional(),
  repo: z.string().nullable().optional(),
  workflow: z.string().nullable().optional(),
  branch: z.string().nullable().optional(),
  agent: z.string().nullable().optional(),
  model: z.string().nullable().optional(),
  budgetUsd: z.number().min(0).nullable().optional(),
  skills: TicketDraft.shape.skills,
  source: Source.optional(),
});
export type TicketChange = z.infer<typeof TicketChange>;

/** New values for fields of a plan. What is absent stays; null takes a value away. */
export const PlanFields = z.strictObject({
  name: z.string().optional(),
  goal: z.string().optional(),
  repo: z.string().nullable().optional(),
  workflow: z.string().nullable().optional(),
  agent: z.string().nullable().optional(),
  worktreeRoot: z.string().nullable().optional(),
  baseBranch: z.string().nullable().optional(),
  maxParallel: z.number().int().min(1).nullable().optional(),
  budgetUsd: z.number().min(0).nullable().optional(),
  onBlockerFailed: Plan.shape.onBlockerFailed.unwrap().optional(),
});
export type PlanFields = z.infer<typeof PlanFields>;

/** One change of a plan that exists. */
export const PlanEdit = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("add"), ticket: TicketDraft }),
  z.strictObject({ do: z.literal("change"), ticketId: z.string(), set: TicketChange }),
  z.strictObject({ do: z.literal("remove"), ticketId: z.string() }),
  z.strictObject({ do: z.literal("depend"), ticketId: z.string(), on: z.string() }),
  z.strictObject({ do: z.literal("undepend"), ticketId: z.string(), on: z.string() }),
  z.strictObject({ do: z.literal("plan"), set: PlanFields }),
]);
export type PlanEdit = z.infer<typeof PlanEdit>;
