import { randomBytes } from "node:crypto";
import { join } from "node:path";
import * as z from "zod";
import { createRedactor, secretValues } from "../lib/redact.ts";
import { replaceFile } from "./replace-file.ts";

/** What the planner says of its own work, in the one tool that a session without a person has beyond the others. */
export const PlannerReport = z.strictObject({
  reasoning: z.string().max(10_000).describe("how you came to this plan, in a few sentences"),
  deferred: z
    .array(z.strictObject({ title: z.string().max(300), reason: z.string().max(2000) }))
    .max(200)
    .default([])
    .describe("what you left out, and why"),
  assumptions: z.array(z.string().max(2000)).max(100).default([]).describe("what you took for granted because nobody could be asked"),
  risks: z.array(z.string().max(2000)).max(100).default([]).describe("what could go wrong"),
});

/** One run of a planner without a person: what `orchestrator plan --json` prints, and what is kept of it. */
export const PlannerRun = z.strictObject({
  id: z.string(),
  startedAt: z.string(),
  endedAt: z.string(),
  /** `written`: a plan came of it. `nothing`: the planner says that there was nothing to plan. `failed`: no plan, and `error` says why. */
  result: z.enum(["written", "nothing", "failed"]),
  /** Why it ended early, even where a plan was written before. */
  error: z.string().optional(),
  /** Plans that were written, and plans that were changed. */
  plans: z.array(z.strictObject({ id: z.string(), how: z.enum(["written", "changed"]) })),
  /** Plans are worked without any further yes. */
  approved: z.boolean(),
  report: PlannerReport.optional(),
  by: z.string(),
  cwd: z.string(),
  source: z.string().optional(),
  launcher: z.string(),
  model: z.string(),
  /** What was asked. */
  request: z.string(),
  /** The system prompt. */
  prompt: z.string(),
  said: z.array(z.strictObject({ kind: z.enum(["text", "thinking"]), text: z.string() })),
  calls: z.array(z.strictObject({ tool: z.string(), input: z.unknown(), ok: z.boolean(), answer: z.string() })),
  servers: z.array(z.string()),
  turns: z.number().int(),
  usage: z.strictObject({
    inputTokens: z.number(),
    outputTokens: z.number(),
    cacheReadTokens: z.number(),
    cacheWriteTokens: z.number(),
  }),
  costUsd: z.number(),
  /** The conversation as PI keeps it. */
  sessionFile: z.string().optional(),
});
export type PlannerRun = z.infer<typeof PlannerRun>;

/** Ids of runs, in the order of their time. */
export function plannerRunId(at: Date): string {
  return `${at.toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z-${randomBytes(3).toString("hex")}`;
}

/** Keeps a run below `stateDir`, for its owner alone. Gives the file, and the run as it is there: without secrets. Throws a ZodError for what is no run. */
export function keepPlannerRun(
  stateDir: string,
  run: PlannerRun,
  env: Readonly<Record<string, string | undefined>>,
): { file: string; kept: PlannerRun } {
  const secrets = secretValues(env);
  const text = JSON.stringify(
    PlannerRun.parse(run),
    (_key, value: unknown) => (typeof value === "string" ? value.split("\n").map(createRedactor(secrets)).join("\n") : value),
    2,
  );
  const file = join(stateDir, "planner-runs", `${run.id}.json`);
  replaceFile(file, `${text}\n`);
  return { file, kept: JSON.parse(text) as PlannerRun };
}
