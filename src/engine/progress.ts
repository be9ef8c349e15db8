import { errorSignature } from "../domain/error-signature.ts";
import type { TicketEvent } from "../domain/event.ts";
import type { FailureCategory } from "../domain/failure.ts";
import type { Stuck, Ticket } from "../domain/ticket.ts";
import type { FlatPhase } from "../domain/workflow.ts";

type Failed = Extract<TicketEvent, { type: "failed" }>;

/** So often in a row a phase may fail again as before until the agent is nudged, begins anew, and a person is asked. */
export const repeatsUntil = { nudge: 2, anew: 3, person: 4 };
/** What the count of a phase is after each answer. */
export const nudgesOf: Record<Stuck["answer"], number> = { nudge: 1, anew: 2 };
const evidenceLimit = 1000;

/** Whether a run of an agent that ended like this got nowhere, rather than having done something wrong. */
export function gotNowhere(phase: FlatPhase, category: FailureCategory): boolean {
  return phase.type === "agent" && (category === "stuck" || category === "stalled" || category === "timeout");
}

/**
 * Whether a phase fails as it failed the last time although an agent has worked on it since: with the same feedback, or with
 * not one commit more. `ticket` is as it was before the failure is noted; `feedback` is as it will be.
 */
export function failsAgain(ticket: Ticket, phase: FlatPhase, event: Failed, feedback: string): boolean {
  if (gotNowhere(phase, event.category)) return false;
  const isOfPhase = (entry: Ticket["phaseHistory"][number]) => entry.phase === phase.id && entry.status === "failure";
  const at = ticket.phaseHistory.findLastIndex(isOfPhase);
  const last = ticket.phaseHistory[at];
  const before = Object.hasOwn(ticket.feedback, phase.id) ? ticket.feedback[phase.id] : undefined;
  // Without its feedback it has passed in between.
  if (last === undefined || before === undefined || last.category !== event.category) return false;
  const worked = hasWorkedSince(ticket, at);
  if (phase.type !== "agent" && !worked) return false;
  const isReader = phase.type === "agent" && phase.readOnly && !worked;
  if (!isReader && event.head !== undefined && event.head === last.head) return true;
  return errorSignature(feedback) === errorSignature(before);
}

/** Whether a run failed because of what a reviewer found, not because something went wrong with the reviewer. */
export function isFinding(phase: FlatPhase, category: FailureCategory): boolean {
  return phase.type === "agent" && phase.readOnly && category === "verification";
}

/** Whether a reviewer looked at the same work once more: that it finds the same says nothing of anybody's progress. */
export function isSecondLook(ticket: Ticket, phase: FlatPhase, { category }: Failed): boolean {
  const at = ticket.phaseHistory.findLastIndex((entry) => entry.phase === phase.id && entry.status === "failure");
  return isFinding(phase, category) && at !== -1 && !hasWorkedSince(ticket, at);
}

/** Whether a run of an agent has settled after the history's entry `at`. */
function hasWorkedSince(ticket: Ticket, at: number): boolean {
  return ticket.phaseHistory.slice(at + 1).some(({ agent, status }) => agent !== undefined && isSettled(status));
}

function isSettled(status: string): boolean {
  return status === "success" || status === "failure";
}

/** The note for the next run of an agent, after `phase` has failed again as before so often; null while that is no wonder. */
export function noteOfRepeats(phase: FlatPhase, repeats: number, reason: string): Stuck | null {
  if (repeats < repeatsUntil.nudge) return null;
  const evidence = `Phase "${phase.id}" has failed ${repeats + 1} times in a row, in the same way or with nothing changed: ${reason}`;
  return { phase: phase.id, evidence: clip(evidence), answer: repeats < repeatsUntil.anew ? "nudge" : "anew" };
}

/** The note for the next run of an agent whose run got nowhere; null once it was nudged and has begun anew. */
export function noteOfRun(phase: FlatPhase, nudges: number, event: Pick<Failed, "reason" | "nudge">): Stuck | null {
  if (nudges >= nudgesOf.anew) return null;
  const answer = nudges === 0 && event.nudge === true ? "nudge" : "anew";
  return { phase: phase.id, evidence: clip(event.reason), answer };
}

/** How a note shows to people. */
export function stuckText({ evidence, answer }: Stuck): string {
  const what = answer === "nudge" ? "is told what was seen, in its own conversation" : "begins anew and is to try another way";
  return `The agent got nowhere and ${what}. Seen: ${evidence}`;
}

function clip(text: string): string {
  return text.length <= evidenceLimit ? text : `${text.slice(0, evidenceLimit)}…`;
}
