import * as z from "zod";
import { Id } from "./id-schema.ts";
import { Plan } from "./plan.ts";
import { Source, ticketTypes } from "./source.ts";
import { maxSkills, priorities } from "./ticket.ts";

export { Source };

/** A ticket as a planner, a person or a source proposes it. Unknown keys are refused: a misspelt one would be lost. */
export const TicketDraft = z.strictObject({
  id: Id,
  title: z.string().min(1).max(300),
  description: z.string().default(""),
  acceptanceCriteria: z.array(z.string().min(1)).default([]),
  /** Ids of tickets of the same plan. */
  blockedBy: z.array(z.string()).default([]),
  priority: z.enum(priorities).optional(),
  type: z.enum(ticketTypes).optional(),
  /** Globs of the files it is to change, relative to the repository. */
  scope: z.array(z.string().min(1)).default([]),
  repo: z.string().optional(),
  workflow: z.string().optional(),
  branch: z.string().optional(),
  agent: z.string().optional(),
  model: z.string().optional(),
  budgetUsd: z.number().min(0).optional(),
  /** Worker skills by name. */
  skills: z.array(z.string().min(1)).max(maxSkills).optional(),
  source: Source.optional(),
});
export type TicketDraft = z.infer<typeof TicketDraft>;

/** A plan as it is proposed: plan.json and its tickets in one piece, without anything that the runner writes. */
export const PlanDraft = z.strictObject({
  id: Id,
  name: z.string().default(""),
  /** What the plan is for, in a few sentences. */
  goal: z.string().default(""),
  repo: z.string().optional(),
  workflow: z.string().optional(),
  agent: z.string().optional(),
  worktreeRoot: z.string().optional(),
  baseBranch: z.string().optional(),
  maxParallel: z.number().int().min(1).optional(),
  budgetUsd: z.number().min(0).optional(),
  onBlockerFailed: Plan.shape.onBlockerFailed.unwrap().optional(),
  /** In the order in which they are to be worked where nothing else decides. */
  tickets: z.array(TicketDraft).min(1),
});
export type PlanDraft = z.infer<typeof PlanDraft>;
