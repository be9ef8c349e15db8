import type { Effect } from "../domain/event.ts";
import type { Activity, AfterStop, HistoryEntry, Ticket } from "../domain/ticket.ts";
import { type Instant, plusSeconds } from "../domain/time.ts";
import { defaultMaxVisits, type FlatPhase, phaseById, retryEdge, type Workflow } from "../domain/workflow.ts";

/** The outcome of one event. `refused` says why nothing changed, where a person asked for a change. */
export interface Step {
  ticket: Ticket;
  effects: Effect[];
  refused?: string;
}

/** Entries that a ticket's history keeps. */
export const historyLimit = 200;
const feedbackLimit = 8 * 1024;

/** The phase a ticket is in, or its workflow's first one when it has not started. */
export function currentPhase(ticket: Ticket, workflow: Workflow): FlatPhase | undefined {
  return ticket.currentPhase === null ? workflow.phases[0] : phaseById(workflow, ticket.currentPhase);
}

/** Moves into a phase: counts the visit, starts its windows, ends the ticket when the phase is terminal or visited too often. */
export function enter(ticket: Ticket, workflow: Workflow, phaseId: string, at: Instant): Step {
  const phase = phaseById(workflow, phaseId);
  if (!phase) return unknownPhase({ ...ticket, currentPhase: phaseId }, workflow, at);
  const visits = counted(ticket.visits, phaseId) + 1;
  const bound = ("maxVisits" in phase ? phase.maxVisits : undefined) ?? defaultMaxVisits;
  const entered: Ticket = {
    ...ticket,
    currentPhase: phaseId,
    currentSession: null,
    enteredAt: at,
    windowUsedMs: 0,
    visits: { ...ticket.visits, [phaseId]: visits },
    retries: { ...ticket.retries, [phaseId]: 0 },
    reasked: { ...ticket.reasked, [phaseId]: 0 },
    nudges: without(ticket.nudges, phaseId),
  };
  if (phase.type === "terminal") {
    return phase.notify
      ? finish(entered, "needs_attention", at, ticket.error ?? phase.description ?? null)
      : finish(entered, "complete", at, null);
  }
  if (visits > bound) {
    const why = ticket.error ? ` Last failure: ${ticket.error}` : "";
    return finish(entered, "needs_attention", at, `Phase "${phaseId}" would be entered ${visits} times; its limit is ${bound}.${why}`);
  }
  switch (phase.type) {
    case "wait":
      return become(entered, { state: "waiting", until: plusSeconds(at, phase.seconds) });
    case "gate": {
      const until = phase.timeoutSeconds === undefined ? {} : { until: plusSeconds(at, phase.timeoutSeconds) };
      return become(entered, { state: "awaiting", since: at, ...until }, [
        { type: "notify", status: "awaiting_approval", reason: phase.message ?? `Phase "${phaseId}" waits for an approval.` },
      ]);
    }
    default:
      return become(entered, { state: "ready", cause: "next" });
  }
}

/** Moves along an edge; an edge that is not there ends the ticket well. */
export function follow(ticket: Ticket, workflow: Workflow, target: string | null | undefined, at: Instant): Step {
  return target ? enter(ticket, workflow, target, at) : finish(ticket, "complete", at, null);
}

/** Takes `onFailure`; a phase without one fails its ticket. */
export function failureEdge(
  ticket: Ticket,
  workflow: Workflow,
  phase: FlatPhase & { onFailure?: string | null | undefined },
  at: Instant,
  reason: string,
): Step {
  const target = phase.onFailure ?? undefined;
  // `retry`, or an edge back to the phase itself, asks for exactly what maxRetries has just used up.
  if (target === undefined || target === retryEdge || target === phase.id) return finish(ticket, "failed", at, reason);
  return enter({ ...ticket, error: reason }, workflow, target, at);
}

/** Notes the rejection of a gate with what was said, and takes its `onFailure`. */
export function rejectGate(ticket: Ticket, workflow: Workflow, phase: FlatPhase & { type: "gate" }, at: Instant, feedback: string): Step {
  const noted = noteWithoutRun(ticket, "failure", at, feedback);
  const rejected = { ...noted, feedback: { ...ticket.feedback, [phase.id]: clip(feedback) } };
  return failureEdge(rejected, workflow, phase, at, feedback);
}

/** A person's decision starts all counts again: bounds are there for what nobody decided. */
export function afresh(ticket: Ticket): Ticket {
  return { ...ticket, error: null, retries: {}, visits: {}, lost: {}, unserved: {}, reasked: {}, nudges: {}, repeats: {}, stuck: null };
}

/** The ticket needs a person: its workflow has no such phase. */
export function unknownPhase(ticket: Ticket, workflow: Workflow, at: Instant): Step {
  const known = workflow.phases.map((phase) => phase.id).join(", ");
  return finish(ticket, "needs_attention", at, `Workflow "${workflow.name}" has no phase "${ticket.currentPhase}"; it has ${known}.`);
}

/** The ticket ends; a person is told where it did not end well. */
export function finish(
  ticket: Ticket,
  outcome: Extract<Activity, { state: "finished" }>["outcome"],
  at: Instant,
  reason: string | null,
): Step {
  const effects: Effect[] =
    outcome === "failed" || outcome === "needs_attention"
      ? [{ type: "notify", status: outcome, reason: reason ?? "It needs a person." }]
      : [];
  return become({ ...ticket, currentSession: null, error: reason }, { state: "finished", outcome, at }, effects);
}

/** Asks the run to stop, and notes what is to follow. Nothing where there is none. */
export function stop(ticket: Ticket, after: AfterStop): Step {
  const now = ticket.activity;
  if (now.state !== "running") return stay(ticket);
  return become(ticket, { ...now, stop: after }, [{ type: "stop", runId: now.runId, after }]);
}

/** A new activity, and what is to be done for it. */
export function become(ticket: Ticket, activity: Activity, effects: Effect[] = []): Step {
  return { ticket: { ...ticket, activity }, effects };
}

/** Nothing changes. `refused` says why, where a person asked for a change. */
export function stay(ticket: Ticket, refused?: string): Step {
  return refused === undefined ? { ticket, effects: [] } : { ticket, effects: [], refused };
}

/** A counter's value. A phase may be called "constructor", which every object has without ever having counted it. */
export function counted(counter: Readonly<Record<string, number>>, phase: string): number {
  return Object.hasOwn(counter, phase) ? (counter[phase] ?? 0) : 0;
}

/** The counts without that of a phase. */
export function without(counter: Readonly<Record<string, number>>, phase: string): Record<string, number> {
  const { [phase]: _gone, ...rest } = counter;
  return rest;
}

/** The history entry of a phase that ended without a program having run. */
export function noteWithoutRun(ticket: Ticket, status: HistoryEntry["status"], at: Instant, reason?: string): Ticket {
  const entry: HistoryEntry = {
    phase: ticket.currentPhase ?? "",
    status,
    startedAt: ticket.enteredAt ?? at,
    completedAt: at,
    ...present({ reason }),
  };
  return { ...ticket, phaseHistory: [...ticket.phaseHistory, entry].slice(-historyLimit) };
}

/** The fields that are not undefined. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** The text, cut at what feedback and messages may hold. */
export function clip(text: string): string {
  return text.length <= feedbackLimit ? text : `${text.slice(0, feedbackLimit)}\n[… ${text.length - feedbackLimit} more characters]`;
}
