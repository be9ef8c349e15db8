import * as z from "zod";
import { Id } from "./id-schema.ts";

/** Someone stopped this, and it stays stopped until somebody resumes it: results of runs never clear it. */
export const Hold = z.object({ by: z.string(), at: z.string(), reason: z.string() });
export type Hold = z.infer<typeof Hold>;

const planStatuses = ["draft", "active", "paused", "blocked", "complete"] as const;
export const PlanStatus = z.enum(planStatuses);
export type PlanStatus = z.infer<typeof PlanStatus>;

const OnBlockerFailed = z.enum(["wait", "skip", "run"]);

const PlanTicket = z.looseObject({
  ticketId: Id,
  order: z.number().default(0),
  blockedBy: z.array(z.string()).default([]),
});

/** plan.json: the planner owns all of it but `status` and `hold`. */
export const Plan = z.looseObject({
  schema: z.number().int().default(1),
  id: Id,
  name: z.string().default(""),
  /** What the plan is for, in a few sentences. */
  goal: z.string().default(""),
  createdAt: z.string().default(""),
  createdBy: z.string().default(""),
  repo: z.string().nullable().default(null),
  workflow: z.string().nullable().default(null),
  agent: z.string().nullable().default(null),
  worktreeRoot: z.string().nullable().default(null),
  status: PlanStatus.default("active"),
  hold: Hold.nullable().default(null),
  /** Branch that work starts from and is integrated for; detected when absent. */
  baseBranch: z.string().nullable().default(null),
  /** Runs at once within this plan. */
  maxParallel: z.number().int().min(1).nullable().default(null),
  /** What all runs of its tickets may cost together, in USD; nothing starts that might not fit. */
  budgetUsd: z.number().min(0).nullable().default(null),
  /** The same in tokens. */
  budgetTokens: z.number().int().min(0).nullable().default(null),
  onBlockerFailed: OnBlockerFailed.default("wait"),
  checks: z
    .record(z.string(), z.union([z.string().min(1), z.array(z.string()).min(1)]))
    .nullable()
    .default(null),
  tickets: z.array(PlanTicket).default([]),
});
export type Plan = z.infer<typeof Plan>;
