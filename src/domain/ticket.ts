import * as z from "zod";
import { FailureCategory } from "./failure.ts";
import { Id } from "./id-schema.ts";
import { Hold, type Plan } from "./plan.ts";
import { Session, Usage } from "./session.ts";
import { Source } from "./source.ts";
import { ticketStatuses } from "./ticket-status.ts";

export const TicketStatus = z.enum(ticketStatuses);
export type TicketStatus = z.infer<typeof TicketStatus>;

export const priorities = ["P0", "P1", "P2", "P3"] as const;
const Priority = z.enum(priorities);

/** How a ticket ended. */
export const Outcome = z.enum(["complete", "failed", "needs_attention", "skipped", "cancelled"]);
export type Outcome = z.infer<typeof Outcome>;

/** What is to happen once the run that is being stopped has ended. */
export const AfterStop = z.discriminatedUnion("next", [
  /** Run the same phase again when it may: a pause or a stopped daemon costs no attempt. */
  z.object({ next: z.literal("again") }),
  /** Run the same phase again whatever this run comes to: a person has something to say to its agent. */
  z.object({ next: z.literal("tell") }),
  z.object({ next: z.literal("enter"), phase: z.string() }),
  z.object({ next: z.literal("cancel"), reason: z.string() }),
]);
export type AfterStop = z.infer<typeof AfterStop>;

/**
 * What a ticket is doing. `running` and a run id belong together, so there is never a running ticket without a run
 * or a run without a running ticket. A hold is not an activity: it only keeps a ticket from being dispatched.
 */
export const Activity = z.discriminatedUnion("state", [
  /** Its first phase has not started; blockers may be open. */
  z.object({ state: z.literal("queued") }),
  /** Its current phase starts as soon as a slot is free, but not before `notBefore`. */
  z.object({
    state: z.literal("ready"),
    cause: z.enum(["next", "resume", "retry"]),
    notBefore: z.string().optional(),
    /** Who failed at it last and works it again only where nobody else may. */
    notAgent: z.string().optional(),
  }),
  z.object({
    state: z.literal("running"),
    runId: z.string(),
    since: z.string(),
    stop: AfterStop.optional(),
    /** Who stands in for the phase's own agent. */
    agent: z.string().optional(),
  }),
  /** Between two checks of a poll, or settling; looked at again at `until`, without a slot. */
  z.object({ state: z.literal("waiting"), until: z.string(), reason: z.string().optional() }),
  /** At a gate. `until` is when its default applies. */
  z.object({ state: z.literal("awaiting"), since: z.string(), until: z.string().optional() }),
  z.object({ state: z.literal("finished"), outcome: Outcome, at: z.string() }),
]);
export type Activity = z.infer<typeof Activity>;

/** What was found in the user's checkout after a run, and the command that takes it back. */
export const IsolationBreach = z.looseObject({ evidence: z.string(), restore: z.string() });
export type IsolationBreach = z.infer<typeof IsolationBreach>;

/** Why the next run of an agent is to go about it differently, until one has settled. */
export const Stuck = z.object({
  /** Where it showed. */
  phase: z.string(),
  evidence: z.string(),
  /** `nudge`: the agent is told in its own conversation. `anew`: a new one begins, and is to try another way. */
  answer: z.enum(["nudge", "anew"]),
});
export type Stuck = z.infer<typeof Stuck>;
/** A person works in the agent's own interface, in the ticket's worktree. */
const Takeover = z.object({ by: z.string(), at: z.string(), session: Session.optional() });

/** A ticket's hold. With a takeover it also keeps everybody else from starting the ticket again. */
const TicketHold = Hold.extend({ takeover: Takeover.optional() });

/** What a person says to the agent that works next. */
const Message = z.object({ by: z.string(), at: z.string(), text: z.string() });
export type Message = z.infer<typeof Message>;

export const HistoryEntry = z.looseObject({
  phase: z.string(),
  /** success, failure and skipped are the first seed's; lost and interrupted runs consumed no attempt; a takeover is a person's. */
  status: z.enum(["success", "failure", "skipped", "lost", "interrupted", "takeover"]),
  startedAt: z.string(),
  completedAt: z.string().nullable().default(null),
  runId: z.string().optional(),
  agent: z.string().optional(),
  /** Who took it over. */
  by: z.string().optional(),
  /** A bounded excerpt; the whole output is in the run's folder. */
  output: z.string().optional(),
  session: Session.optional(),
  category: FailureCategory.optional(),
  reason: z.string().optional(),
  /** Commit of the worktree's branch after the phase. */
  head: z.string().optional(),
  usage: Usage.optional(),
  costUsd: z.number().optional(),
  isolation: IsolationBreach.optional(),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;

const counters = z.record(z.string(), z.number().int().min(0)).default({});

/** How many skills a ticket or a phase may name. */
export const maxSkills = 8;

/** Fields a planner or a person writes. */
const plannerFields = {
  planId: Id,
  ticketId: Id,
  title: z
    .string()
    .max(256 * 1024)
    .default(""),
  description: z
    .string()
    .max(256 * 1024)
    .default(""),
  acceptanceCriteria: z.array(z.string()).default([]),
  linearUrl: z.string().nullable().default(null),
  repo: z.string().nullable().default(null),
  workflow: z.string().nullable().default(null),
  branch: z.string().nullable().default(null),
  worktree: z.string().nullable().default(null),
  agent: z.string().nullable().default(null),
  model: z.string().nullable().default(null),
  priority: Priority.nullable().default(null),
  /** Skills whose text the agents get that do its work. */
  skills: z.array(z.string().min(1)).max(maxSkills).default([]),
  /** What all its runs may cost together, in USD; nothing starts that might not fit. */
  budgetUsd: z.number().min(0).nullable().default(null),
  /** The same in tokens. */
  budgetTokens: z.number().int().min(0).nullable().default(null),
  /** What sort of work it is: feature, bug, refactor, test, docs, chore or spike. */
  type: z.string().nullable().default(null),
  /** Globs of the files it is to change, relative to the repository. Its agents are told; what they change beyond is noted. */
  scope: z.array(z.string()).default([]),
  /** Where it was written down before; a source that is read again finds its ticket by this. */
  source: Source.nullable().default(null),
  createdAt: z.string().nullable().default(null),
};

/** Fields only the runner writes; a change of them by anybody else is read as a wish or ignored with a note. */
const runnerFields = {
  rev: z.number().int().min(0).default(0),
  /** What people see; derived from `activity` and `hold` by statusOf() whenever the file is written. */
  status: TicketStatus.default("queued"),
  activity: Activity.optional(),
  hold: TicketHold.nullable().default(null),
  currentPhase: z.string().nullable().default(null),
  /** When the current phase was entered. */
  enteredAt: z.string().nullable().default(null),
  /** What the current phase has used of the time in which it may answer "not yet" or "try later". */
  windowUsedMs: z.number().int().min(0).default(0),
  currentSession: Session.nullable().default(null),
  phaseHistory: z.array(HistoryEntry).default([]),
  /** Captured values, for templates. */
  context: z.record(z.string(), z.string()).default({}),
  /** Phase → extra runs used in this visit. */
  retries: counters,
  /** Phase → times entered. */
  visits: counters,
  /** Phase → runs that died with their host. */
  lost: counters,
  /** Phase → runs that the agent's provider did not serve. */
  unserved: counters,
  /** Phase → 1 once a missing verdict was asked for again in this visit. */
  reasked: counters,
  /** Phase → answers to runs of this visit that got nowhere: 1 once the agent was nudged, 2 once it began anew. */
  nudges: counters,
  /** Phase → how often in a row it has failed again as it had failed before. */
  repeats: counters,
  stuck: Stuck.nullable().default(null),
  /** Phase → what it found wrong last; gone when the phase passes. Prompts show it. */
  feedback: z.record(z.string(), z.string()).default({}),
  /** What people said to its agents and no run has passed with yet. */
  messages: z.array(Message).default([]),
  /** Runs started so far; the next run's number. */
  runs: z.number().int().min(0).default(0),
  /** Commit the branch started from. */
  baseSha: z.string().nullable().default(null),
  error: z.string().nullable().default(null),
  /** Why the last edit of the file was not followed; gone with the next edit, or once the ticket has moved on. */
  refusedEdit: z.string().optional(),
};

/** tickets/<id>.json. Unknown fields are kept. Files of the first seed have none of the newer fields. */
export const TicketFile = z.looseObject({ schema: z.number().int().default(1), ...plannerFields, ...runnerFields });
export type TicketFile = z.infer<typeof TicketFile>;

/** A ticket as the engine sees it: what it is doing is always known. */
export type Ticket = TicketFile & { activity: Activity };

export const plannerOwned = Object.keys(plannerFields) as (keyof typeof plannerFields)[];
export const runnerOwned = Object.keys(runnerFields) as (keyof typeof runnerFields)[];

/** The values that hold for a ticket once its plan's defaults are filled in. */
export interface Resolved {
  repo: string | null;
  workflow: string | null;
  branch: string;
  worktree: string;
  baseBranch: string | null;
}

/** Ticket fields first, then the plan's, then names made from the ids. `worktreeRoot` is the configuration's default. */
export function resolveTicket(ticket: TicketFile, plan: Plan, worktreeRoot: string): Resolved {
  return {
    repo: ticket.repo ?? plan.repo,
    workflow: ticket.workflow ?? plan.workflow,
    branch: ticket.branch ?? `orch/${plan.id}/${ticket.ticketId}`,
    worktree: ticket.worktree ?? `${plan.worktreeRoot ?? `${worktreeRoot}/${plan.id}`}/${ticket.ticketId}`,
    baseBranch: plan.baseBranch,
  };
}
