import type { FailureCategory } from "./failure.ts";
import type { Hold } from "./plan.ts";
import type { PlanEdit } from "./plan-edit.ts";
import type { Session, Usage } from "./session.ts";
import type { AfterStop, IsolationBreach } from "./ticket.ts";
import type { Instant } from "./time.ts";

/** What a run used, as far as it is known. */
export interface Cost {
  usage?: Usage;
  costUsd?: number;
}

/** What is known besides of a provider that did not serve. */
export interface ProviderFacts {
  /** When it serves again. */
  resetsAt?: Instant;
  /** The agent's program itself is missing or incompatible: once it is replaced, the agent works again. */
  program?: true;
}

/** What a run leaves in its history entry, whether it passed or not. */
export interface RunFacts extends Cost {
  output?: string;
  agent?: string;
  session?: Session;
  head?: string;
  /** Values for the ticket's context. */
  captured?: Record<string, string>;
  /** Commit the branch starts from, once known. */
  baseSha?: string;
  /** The user's checkout differs from what it was before the run. */
  isolation?: IsolationBreach;
}

/** Things that happen to a ticket. Every one carries its time; news of a run carries the run's id. */
export type TicketEvent =
  /** The scheduler chose it: a free slot, no hold, blockers settled. */
  | { type: "dispatched"; at: Instant /** Who stands in for the phase's own agent. */; agent?: string }
  /** `until` of a settle delay or of a gate has come. */
  | { type: "due"; at: Instant }
  /** No program can be started as things are: no repository, an unknown phase, a template that does not render. */
  | ({ type: "faulted"; at: Instant; reason: string; runId?: string } & Cost)
  /** A blocker failed and the plan says to go without this ticket. */
  | { type: "blocker_failed"; at: Instant; reason: string }
  // News of a run
  | { type: "session"; at: Instant; runId: string; session: Session }
  | ({ type: "passed"; at: Instant; runId: string } & RunFacts)
  | ({
      type: "failed";
      at: Instant;
      runId: string;
      category: FailureCategory;
      reason: string;
      /** For the prompts of whoever repairs it. */
      feedback?: string;
      /** The work may be fine, only the verdict is missing: ask once more without counting it. */
      reask?: boolean;
      /** It got nowhere, and might if it is told so in the same conversation. */
      nudge?: boolean;
      /** The provider did not serve the agent: its account is parked, and the run counts for nothing. */
      provider?: ProviderFacts;
    } & RunFacts)
  /** Not done yet (a poll's 1), or not possible now (75): look again later. Costs nothing. `durationMs`: what the look took, by a monotonic clock. */
  | { type: "pending"; at: Instant; runId: string; durationMs: number; reason?: string }
  /** We stopped it, or it was never started: costs nothing. */
  | ({
      type: "interrupted";
      at: Instant;
      runId: string;
      reason: string;
      /** `budget`: a cap of its ticket, its plan or the day was used up. */
      category?: FailureCategory;
      session?: Session;
      isolation?: IsolationBreach;
    } & Cost)
  /** Its host died under it. */
  | ({ type: "lost"; at: Instant; runId: string; reason: string; session?: Session } & Cost)
  /** The daemon ends and takes its runs along. */
  | { type: "stop_requested"; at: Instant }
  // What people do
  | { type: "paused"; at: Instant; hold: Hold }
  | { type: "resumed"; at: Instant }
  | { type: "retried"; at: Instant; by: string; message?: string }
  | { type: "skipped"; at: Instant; by: string; phase: string }
  | { type: "cancelled"; at: Instant; by: string; reason: string }
  | { type: "approved"; at: Instant; by: string; message?: string }
  | { type: "rejected"; at: Instant; by: string; feedback: string }
  /** To the agent that works now, or next. */
  | { type: "sent"; at: Instant; by: string; message: string }
  /** Somebody opens the conversation in the agent's own interface; `session` as far as it is known before the run has ended. */
  | { type: "taken_over"; at: Instant; by: string; session?: Session }
  /** `keep`: the ticket stays held. */
  | { type: "handed_back"; at: Instant; by: string; keep: boolean; session?: Session };

/** What the daemon is to do once the new state is on disk. */
export type Effect =
  | { type: "start"; runId: string; phase: string }
  | { type: "stop"; runId: string; after: AfterStop }
  | { type: "notify"; status: "needs_attention" | "failed" | "awaiting_approval" | "isolation_breach"; reason: string };

/** What a person asks for, through the inbox. */
export type Intent =
  | { type: "pause"; planId: string; ticketId: string; by: string; reason: string }
  | { type: "resume"; planId: string; ticketId: string; by: string }
  | { type: "retry"; planId: string; ticketId: string; by: string; message?: string }
  | { type: "skip"; planId: string; ticketId: string; by: string; phase: string }
  | { type: "cancel"; planId: string; ticketId: string; by: string; reason: string }
  | { type: "approve"; planId: string; ticketId: string; by: string; message?: string }
  | { type: "reject"; planId: string; ticketId: string; by: string; feedback: string }
  | { type: "send"; planId: string; ticketId: string; by: string; message: string }
  | { type: "take-over"; planId: string; ticketId: string; by: string; session?: Session }
  | { type: "hand-back"; planId: string; ticketId: string; by: string; keep: boolean; session?: Session }
  /** New caps of a plan; null takes one away, an absent one stays. */
  | { type: "budget-plan"; planId: string; by: string; budgetUsd?: number | null; budgetTokens?: number | null }
  | { type: "pause-plan"; planId: string; by: string; reason: string }
  | { type: "resume-plan"; planId: string; by: string }
  /** A draft may be worked from now on. */
  | { type: "approve-plan"; planId: string; by: string }
  /** All of the edits, or none. */
  | { type: "edit-plan"; planId: string; by: string; edits: readonly PlanEdit[] }
  /** `failed`: also a plan with tickets that failed or need a person. */
  | { type: "archive-plan"; planId: string; by: string; failed: boolean }
  | { type: "cancel-plan"; planId: string; by: string; reason: string }
  /** Without `workflow` the plan's own one. */
  | { type: "upgrade-workflow"; planId: string; by: string; workflow?: string }
  /** An agent's name, or its account's. */
  | { type: "resume-agent"; agent: string; by: string };

/** An intent that concerns one ticket. */
export type TicketIntent = Extract<Intent, { ticketId: string }>;

/** An intent that concerns a plan as a whole. */
export type PlanIntent = Exclude<Extract<Intent, { planId: string }>, TicketIntent>;

/** The daemon's answer to an intent. */
export type Answer = { result: "applied"; message: string } | { result: "refused"; message: string; hint?: string };
