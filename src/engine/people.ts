import type { TicketEvent } from "../domain/event.ts";
import type { Session } from "../domain/session.ts";
import type { HistoryEntry, Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { phaseById, type Workflow } from "../domain/workflow.ts";
import {
  afresh,
  become,
  clip,
  currentPhase,
  enter,
  finish,
  follow,
  historyLimit,
  noteWithoutRun,
  present,
  rejectGate,
  type Step,
  stay,
  stop,
} from "./moves.ts";

const maxMessages = 20;

type Command = Extract<
  TicketEvent,
  {
    type: "paused" | "resumed" | "retried" | "skipped" | "cancelled" | "approved" | "rejected" | "sent" | "taken_over" | "handed_back";
  }
>;

/** What a ticket becomes when a person asks for something. What makes no sense is refused, and says why. */
export function command(ticket: Ticket, workflow: Workflow, event: Command): Step {
  const now = ticket.activity;
  const name = `Ticket ${ticket.planId}/${ticket.ticketId}`;
  switch (event.type) {
    case "paused": {
      if (now.state === "finished") return stay(ticket, `${name} has ended (${now.outcome}); there is nothing to pause.`);
      if (ticket.hold) return stay(ticket, `${name} is already paused by ${ticket.hold.by}.`);
      const held = { ...ticket, hold: event.hold };
      return now.state === "running" && !now.stop ? stop(held, { next: "again" }) : { ticket: held, effects: [] };
    }
    case "resumed": {
      if (!ticket.hold) return stay(ticket, `${name} is not paused.`);
      return release(noteTakeover(ticket, event.at));
    }
    case "retried": {
      if (now.state === "queued") return stay(ticket, `${name} has not started; it starts when its blockers are complete.`);
      if (now.state === "running") return stay(ticket, `${name} is running; pause it first, or skip to another phase.`);
      if (ticket.hold?.takeover && now.state !== "finished") {
        return stay(ticket, `${name} is taken over by ${ticket.hold.takeover.by}; "resume" takes it back.`);
      }
      if (now.state === "finished" && now.outcome === "complete") {
        return stay(ticket, `${name} is complete; "skip" starts it again at a phase of your choice.`);
      }
      const target = phaseToRetry(ticket, workflow);
      if (!target) return stay(ticket, `${name} has no phase to run again.`);
      const feedback = event.message ? { ...ticket.feedback, operator: clip(event.message) } : ticket.feedback;
      const step = enter({ ...afresh(ticket), hold: null, feedback }, workflow, target, event.at);
      return step.ticket.activity.state === "ready" ? become(step.ticket, { state: "ready", cause: "retry" }) : step;
    }
    case "skipped": {
      if (!phaseById(workflow, event.phase)) {
        const known = workflow.phases.map((phase) => phase.id).join(", ");
        return stay(ticket, `Workflow "${workflow.name}" has no phase "${event.phase}"; it has ${known}.`);
      }
      if (now.state === "running") return stop(ticket, { next: "enter", phase: event.phase });
      const left = { ...ticket, currentPhase: currentPhase(ticket, workflow)?.id ?? ticket.currentPhase };
      const noted = noteWithoutRun(left, "skipped", event.at, `skipped by ${event.by}`);
      return enter(afresh(noted), workflow, event.phase, event.at);
    }
    case "cancelled":
      if (now.state === "finished") return stay(ticket, `${name} has already ended (${now.outcome}).`);
      if (now.state === "running") return stop(ticket, { next: "cancel", reason: event.reason });
      return finish(ticket, "cancelled", event.at, event.reason);
    case "approved":
    case "rejected": {
      const phase = phaseById(workflow, ticket.currentPhase ?? "");
      if (now.state !== "awaiting" || phase?.type !== "gate") return stay(ticket, `${name} is not waiting for an approval.`);
      if (event.type === "rejected") return rejectGate(ticket, workflow, phase, event.at, event.feedback);
      const { [phase.id]: _settled, ...feedback } = ticket.feedback;
      const approved = noteWithoutRun({ ...ticket, feedback }, "success", event.at, event.message ?? `approved by ${event.by}`);
      return follow(approved, workflow, phase.onSuccess, event.at);
    }
    case "sent":
      return tell(ticket, workflow, event, name);
    case "taken_over":
      return takeOver(ticket, event, name);
    case "handed_back":
      return handBack(ticket, event, name);
  }
}

/** Keeps a message for the agent that works next, and has the one that works now stop to hear it. */
function tell(ticket: Ticket, workflow: Workflow, { at, by, message }: Extract<Command, { type: "sent" }>, name: string): Step {
  const now = ticket.activity;
  if (now.state === "awaiting") return stay(ticket, `${name} waits for an approval; "approve" and "reject" take your words along.`);
  if (now.state === "running" && now.stop?.next === "cancel") return stay(ticket, `${name} is being cancelled.`);
  if (now.state === "finished" && now.outcome === "complete") {
    return stay(ticket, `${name} is complete; "skip" starts it again at a phase of your choice.`);
  }
  if (ticket.messages.length >= maxMessages)
    return stay(ticket, `${name} has ${maxMessages} messages already that no agent has passed with.`);
  const told: Ticket = { ...ticket, messages: [...ticket.messages, { by, at, text: clip(message) }] };
  if (now.state === "finished") {
    const target = phaseToRetry(ticket, workflow);
    if (target === undefined || phaseById(workflow, target)?.type !== "agent") {
      return stay(ticket, `${name} has ended in phase "${target}", in which no agent works; "retry" and "skip" start it again.`);
    }
    const step = enter({ ...afresh(told), hold: null }, workflow, target, at);
    return become(step.ticket, { state: "ready", cause: "retry" });
  }
  // Whoever speaks to it has looked at it: there is nothing to wait for any more.
  if (now.state === "ready") return become(told, { state: "ready", cause: now.cause, ...present({ notAgent: now.notAgent }) });
  const isAgent = phaseById(workflow, ticket.currentPhase ?? "")?.type === "agent";
  return now.state === "running" && !now.stop && isAgent ? stop(told, { next: "tell" }) : { ticket: told, effects: [] };
}

function takeOver(ticket: Ticket, { at, by, session }: Extract<Command, { type: "taken_over" }>, name: string): Step {
  const now = ticket.activity;
  if (now.state === "finished") return stay(ticket, `${name} has ended (${now.outcome}); "resume-session" opens its conversation.`);
  const other = ticket.hold?.takeover;
  if (other) return stay(ticket, `${name} is taken over by ${other.by} since ${other.at}; "resume" takes it back.`);
  const hold = { ...(ticket.hold ?? { by, at, reason: "taken over" }), takeover: { by, at, ...present({ session }) } };
  return now.state === "running" && !now.stop ? stop({ ...ticket, hold }, { next: "again" }) : { ticket: { ...ticket, hold }, effects: [] };
}

function handBack(ticket: Ticket, { at, keep, session }: Extract<Command, { type: "handed_back" }>, name: string): Step {
  if (!ticket.hold?.takeover) return stay(ticket, `${name} is not taken over.`);
  const { takeover, ...hold } = ticket.hold;
  const noted = noteTakeover(ticket, at, session);
  // A hold that was there before is not the takeover's to lift.
  return keep || hold.at !== takeover.at || hold.by !== takeover.by ? { ticket: { ...noted, hold }, effects: [] } : release(noted);
}

/** Writes a takeover that is over into the history; `session` is where the person really was. */
function noteTakeover(ticket: Ticket, at: Instant, session?: Session): Ticket {
  const takeover = ticket.hold?.takeover;
  if (!takeover) return ticket;
  const entry: HistoryEntry = {
    phase: ticket.currentPhase ?? "",
    status: "takeover",
    startedAt: takeover.at,
    completedAt: at,
    by: takeover.by,
    ...present({ session: session ?? takeover.session }),
  };
  return { ...ticket, phaseHistory: [...ticket.phaseHistory, entry].slice(-historyLimit) };
}

function release(ticket: Ticket): Step {
  const { activity } = ticket;
  const free: Ticket = { ...ticket, hold: null };
  return { ticket: activity.state === "ready" ? { ...free, activity: { ...activity, cause: "resume" } } : free, effects: [] };
}

/** The failed work behind a ticket's end: a notifying terminal is where it stands, not what went wrong. */
function phaseToRetry(ticket: Ticket, workflow: Workflow): string | undefined {
  const here = currentPhase(ticket, workflow);
  if (here && here.type !== "terminal") return here.id;
  const last = ticket.phaseHistory.findLast((entry) => {
    const phase = phaseById(workflow, entry.phase);
    return entry.status !== "skipped" && phase !== undefined && phase.type !== "terminal";
  });
  return last?.phase ?? workflow.phases.find((phase) => phase.type !== "terminal")?.id;
}
