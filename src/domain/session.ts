import * as z from "zod";
import type { FailureCategory } from "./failure.ts";

/** A conversation with an agent that its own CLI can open again. */
export const Session = z.object({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  provider: z.string(),
  /** Where the transcript lies, for CLIs that resume by path (pi). */
  path: z.string().optional(),
});
export type Session = z.infer<typeof Session>;

/** Tokens of one run. */
export const Usage = z.object({
  inputTokens: z.number(),
  outputTokens: z.number(),
  cacheReadTokens: z.number().default(0),
  cacheWriteTokens: z.number().default(0),
});
export type Usage = z.infer<typeof Usage>;

/** US dollars per million tokens. */
export const Price = z.object({
  input: z.number().min(0),
  output: z.number().min(0),
  cacheRead: z.number().min(0),
  cacheWrite: z.number().min(0),
});
export type Price = z.infer<typeof Price>;

/** What a run of an agent has used so far, as far as its stream tells. */
export interface Spent {
  /** By model; null: the stream does not name it. */
  byModel: { model: string | null; usage: Usage }[];
  /** What the CLI itself says it cost, in USD; null when it does not say. */
  costUsd: number | null;
  /** The stream has not come to its end: it may have been more. */
  partial: boolean;
}

/** Everything an agent says, whatever its vendor; one line of transcript.jsonl each. */
export type AgentEvent =
  | { type: "session"; session: Session }
  | { type: "text"; text: string }
  | { type: "tool_use"; callId: string; tool: string; input: unknown }
  | { type: "tool_result"; callId: string; isError: boolean; output: string }
  | { type: "usage"; usage: Usage; costUsd?: number }
  | { type: "retry"; attempt?: number; reason: string }
  | { type: "limit"; status: "ok" | "warning" | "rejected"; resetsAt?: string }
  | { type: "warning"; message: string }
  | { type: "result"; ok: boolean; text: string };

/** What is known of an agent's run from its stream alone, once the stream has ended. Part of exit.json. */
export interface AgentReport {
  provider: string;
  session: Session | null;
  /** The final message; null when the stream ended without one. */
  finalText: string | null;
  usage: Usage | null;
  costUsd: number | null;
  /** Null when the stream tells nothing of it; absent in records of earlier versions. */
  spent?: Spent | null;
  turns: number | null;
  /** Set when the stream itself says that the run failed; an exit code of 0 does not outweigh it. */
  failure: { category: FailureCategory; message: string; resetsAt?: string } | null;
  warnings: string[];
}

/** How much a finding weighs (seeds.md C8). */
const Severity = z.enum(["blocking", "important", "suggestion", "praise"]);

/** What a reviewing agent concluded. verdict.json holds one. */
export const Verdict = z.object({
  verdict: z.enum(["pass", "pass_with_comments", "fail"]),
  summary: z.string().default(""),
  findings: z
    .array(
      z.object({
        severity: Severity.default("important"),
        message: z.string(),
        file: z.string().optional(),
        line: z.number().optional(),
        step: z.number().optional(),
      }),
    )
    .default([]),
  steps: z.array(z.object({ step: z.number(), pass: z.boolean(), note: z.string().default("") })).default([]),
  unverified: z.array(z.string()).default([]),
});
export type Verdict = z.infer<typeof Verdict>;
