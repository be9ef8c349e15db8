import * as z from "zod";
import { Usage } from "./session.ts";

/** One line of ledger.jsonl: what one run of an agent came to, however it ended. Every run has at most one. */
export const LedgerEntry = z.looseObject({
  schema: z.literal(1),
  /** When its end was noticed. */
  at: z.string(),
  planId: z.string(),
  ticketId: z.string(),
  runId: z.string(),
  phase: z.string(),
  agent: z.string(),
  /** The one that used most tokens; null when neither the stream nor the request names any. */
  model: z.string().nullable(),
  status: z.enum(["passed", "failed", "interrupted", "lost", "faulted", "pending"]),
  /** Null when nobody knows, e.g. of a codex that was killed in the middle of a turn. */
  usage: Usage.nullable(),
  /** Null when nobody knows. */
  costUsd: z.number().nullable(),
  /** Who said what it cost. */
  pricedBy: z.enum(["cli", "table", "unknown"]),
  /** It was cut short: usage and cost are what is known, and may have been more. */
  partial: z.boolean().default(false),
  /** What was kept back for it; caps count this where the truth is not known. */
  reservedUsd: z.number().default(0),
  reservedTokens: z.number().default(0),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;
