import type { Effect, RunFacts, TicketEvent } from "../domain/event.ts";
import type { FailureCategory } from "../domain/failure.ts";
import type { Reactions } from "../domain/reaction.ts";
import type { Session } from "../domain/session.ts";
import type { Activity, AfterStop, HistoryEntry, Ticket } from "../domain/ticket.ts";
import { type Instant, plusSeconds } from "../domain/time.ts";
import { defaultMaxVisits, type FlatPhase, phaseById, retryEdge, type Workflow } from "../domain/workflow.ts";
import { fraction } from "./jitter.ts";
import { failsAgain, gotNowhere, isFinding, isSecondLook, noteOfRepeats, noteOfRun, nudgesOf, repeatsUntil } from "./progress.ts";
import { reactionTo } from "./reaction.ts";

/** Settings of the configuration that rules depend on. */
export interface Policy {
  /** Pause before the first retry, in seconds; it doubles with each further one. */
  retryBackoffSeconds: number;
  /** Seconds between two checks of a poll that names no interval. */
  pollInterval: number;
  /** Whether a ticket that gets nowhere is treated differently from one that fails; absent: it is. */
  progressWatch?: "on" | "off";
  /** What follows which kind of failure, where it is not as usual. */
  reactions?: Reactions;
}

/** The outcome of one event. `refused` says why nothing changed, where a person asked for a change. */
export interface Step {
  ticket: Ticket;
  effects: Effect[];
  refused?: string;
}

const historyLimit = 200;
const feedbackLimit = 8 * 1024;
const maxMessages = 20;
const defaultWindowSeconds = 24 * 3600;
/** The longest pause before a retry, without its jitter. */
export const longestBackoffSeconds = 300;
/** How long a phase that answered 75 (try later) rests. */
export const tryLaterSeconds = 60;
/** Runs of a phase that providers may turn away: days of outages, but not for ever. */
const maxUnserved = 100;

/**
 * The rules of a ticket's life: what it becomes when something happens, and what is to be done then.
 * Pure; docs/engine.md has every cell of it. Never throws: what makes no sense changes nothing.
 */
export function transition(ticket: Ticket, workflow: Workflow, event: TicketEvent, policy: Policy): Step {
  const step = decide(ticket, workflow, event, policy);
  // Where the ticket goes on all the same, a person should still hear of it.
  const breach = "isolation" in event ? event.isolation : undefined;
  const isTold = step.effects.some((effect) => effect.type === "notify" && effect.reason === breach?.evidence);
  if (breach === undefined || isTold || step.ticket === ticket) return step;
  return { ...step, effects: [...step.effects, { type: "notify", status: "isolation_breach", reason: breach.evidence }] };
}

function decide(ticket: Ticket, workflow: Workflow, event: TicketEvent, policy: Policy): Step {
  const now = ticket.activity;
  switch (event.type) {
    case "dispatched":
      return dispatch(ticket, workflow, event);
    case "due":
      return due(ticket, workflow, event.at);
    case "faulted": {
      if (now.state === "finished" || event.runId !== (now.state === "running" ? now.runId : undefined)) return stay(ticket);
      const faulted = now.state === "running" ? remember(ticket, "failure", event) : ticket;
      const after = leaving(ticket);
      return after ? divert(faulted, workflow, after, event.at) : finish(faulted, "needs_attention", event.at, event.reason);
    }
    case "blocker_failed":
      return now.state === "queued" ? finish(ticket, "skipped", event.at, event.reason) : stay(ticket);
    case "stop_requested":
      return now.state === "running" && !now.stop ? stop(ticket, { next: "again" }) : stay(ticket);
    case "paused":
    case "resumed":
    case "retried":
    case "skipped":
    case "cancelled":
    case "approved":
    case "rejected":
    case "sent":
    case "taken_over":
    case "handed_back":
      return command(ticket, workflow, event);
  }
  // Late news of a run that was replaced or already settled changes nothing.
  if (now.state !== "running" || now.runId !== event.runId) return stay(ticket);
  if (event.type === "session") return { ticket: { ...ticket, currentSession: event.session }, effects: [] };
  const phase = phaseById(workflow, ticket.currentPhase ?? "");
  if (!phase) return unknownPhase(ticket, workflow, event.at);
  const after = leaving(ticket);
  switch (event.type) {
    case "passed": {
      const { [phase.id]: _settled, ...feedback } = ticket.feedback;
      const repeats = without(ticket.repeats, phase.id);
      const unserved = without(ticket.unserved, phase.id);
      const news = { feedback, repeats, unserved, error: null, messages: unheard(ticket, phase) };
      const passed = { ...heeded(remember(ticket, "success", event), phase), ...news };
      if (isToBeTold(ticket)) return become(passed, { state: "ready", cause: "resume" });
      return after ? divert(passed, workflow, after, event.at) : follow(passed, workflow, successEdge(phase), event.at);
    }
    case "failed": {
      if (reactionTo(failureOf(event), phase, policy.reactions).do === "give-back") {
        return after ? divert(remember(ticket, "interrupted", event), workflow, after, event.at) : giveBack(ticket, phase, event);
      }
      const says = clip(event.feedback ?? event.reason);
      const isAgain = policy.progressWatch !== "off" && failsAgain(ticket, phase, event, says);
      const unserved = event.provider ? ticket.unserved : without(ticket.unserved, phase.id);
      const feedback = { ...ticket.feedback, [phase.id]: says };
      const noted = heeded({ ...remember(ticket, "failure", event), feedback, unserved }, phase);
      const failed =
        willBeReasked(ticket, phase, event) || isSecondLook(ticket, phase, event)
          ? noted
          : isAgain
            ? count(noted, "repeats", phase.id)
            : { ...noted, repeats: without(noted.repeats, phase.id) };
      // Whatever a person says, nothing is tried again that reached the user's checkout.
      if (isToBeTold(ticket) && event.category !== "isolation") return become(failed, { state: "ready", cause: "resume" });
      return after ? divert(failed, workflow, after, event.at) : fail(failed, workflow, phase, event, policy);
    }
    case "pending":
      return after ? divert(ticket, workflow, after, event.at) : lookAgain(ticket, workflow, phase, event, policy);
    case "interrupted": {
      const interrupted = remember(ticket, "interrupted", event);
      return after ? divert(interrupted, workflow, after, event.at) : become(interrupted, { state: "ready", cause: "resume" });
    }
    case "lost": {
      const lost = count(remember(ticket, "lost", event), "lost", phase.id);
      if (after) return divert(lost, workflow, after, event.at);
      const bound = "maxLost" in phase ? phase.maxLost : 0;
      const times = counted(lost.lost, phase.id);
      if (times > bound) {
        return finish(lost, "needs_attention", event.at, `Phase "${phase.id}" lost its run ${times} times: ${event.reason}`);
      }
      return become(lost, { state: "ready", cause: "resume" });
    }
  }
}

/** The phase a ticket is in, or its workflow's first one when it has not started. */
export function currentPhase(ticket: Ticket, workflow: Workflow): FlatPhase | undefined {
  return ticket.currentPhase === null ? workflow.phases[0] : phaseById(workflow, ticket.currentPhase);
}

function dispatch(ticket: Ticket, workflow: Workflow, { at, agent }: Extract<TicketEvent, { type: "dispatched" }>): Step {
  const now = ticket.activity;
  if (ticket.hold || (now.state !== "queued" && now.state !== "ready" && now.state !== "waiting")) return stay(ticket);
  const phase = currentPhase(ticket, workflow);
  if (!phase) return unknownPhase(ticket, workflow, at);
  if (now.state === "queued") {
    const entered = enter(ticket, workflow, phase.id, at);
    return entered.ticket.activity.state === "ready" ? begin(entered.ticket, phase, at, agent) : entered;
  }
  return startsProgram(phase) ? begin(ticket, phase, at, agent) : enter(ticket, workflow, phase.id, at);
}

function startsProgram(phase: FlatPhase): boolean {
  return phase.type !== "wait" && phase.type !== "gate" && phase.type !== "terminal";
}

function begin(ticket: Ticket, phase: FlatPhase, at: Instant, agent: string | undefined): Step {
  const runs = ticket.runs + 1;
  const runId = `${String(runs).padStart(4, "0")}-${phase.id}`;
  return become({ ...ticket, runs, currentSession: null }, { state: "running", runId, since: at, ...present({ agent }) }, [
    { type: "start", runId, phase: phase.id },
  ]);
}

function due(ticket: Ticket, workflow: Workflow, at: Instant): Step {
  const phase = phaseById(workflow, ticket.currentPhase ?? "");
  const now = ticket.activity;
  if (ticket.hold) return stay(ticket);
  if (now.state === "waiting" && now.until <= at && phase?.type === "wait") {
    return follow(noteWithoutRun(ticket, "success", at), workflow, phase.onSuccess, at);
  }
  if (now.state === "awaiting" && now.until !== undefined && now.until <= at && phase?.type === "gate") {
    if (phase.default === "approve")
      return follow(noteWithoutRun(ticket, "success", at, "nobody answered in time"), workflow, phase.onSuccess, at);
    return rejectGate(ticket, workflow, phase, at, "Nobody answered in time.");
  }
  return stay(ticket);
}

type Command = Extract<
  TicketEvent,
  {
    type: "paused" | "resumed" | "retried" | "skipped" | "cancelled" | "approved" | "rejected" | "sent" | "taken_over" | "handed_back";
  }
>;

function command(ticket: Ticket, workflow: Workflow, event: Command): Step {
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

function isToBeTold({ activity }: Ticket): boolean {
  return activity.state === "running" && activity.stop?.next === "tell";
}

/** The messages that came after the run of an agent had begun: those before were in its prompt. */
function unheard({ activity, messages }: Ticket, phase: FlatPhase): Ticket["messages"] {
  return activity.state === "running" && phase.type === "agent" ? messages.filter(({ at }) => at >= activity.since) : messages;
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

function rejectGate(ticket: Ticket, workflow: Workflow, phase: FlatPhase & { type: "gate" }, at: Instant, feedback: string): Step {
  const noted = noteWithoutRun(ticket, "failure", at, feedback);
  const rejected = { ...noted, feedback: { ...ticket.feedback, [phase.id]: clip(feedback) } };
  return failureEdge(rejected, workflow, phase, at, feedback);
}

type Failed = Extract<TicketEvent, { type: "failed" }>;

function failureOf({ category, provider }: Pick<Failed, "category" | "provider">) {
  return { category, unserved: provider !== undefined };
}

/** The run counts for nothing: the same phase runs again once its agent may, where it was left. */
function giveBack(ticket: Ticket, phase: FlatPhase, event: Failed): Step {
  const back = count(remember(ticket, "interrupted", event), "unserved", phase.id);
  const times = counted(back.unserved, phase.id);
  if (times <= maxUnserved) return become(back, { state: "ready", cause: "resume" });
  return finish(back, "needs_attention", event.at, `The agent of phase "${phase.id}" was not served ${times} times: ${event.reason}`);
}

/** Whether only the verdict is missing, and was not asked for again yet. */
function willBeReasked(ticket: Ticket, phase: FlatPhase, event: Pick<Failed, "reask">): boolean {
  return event.reask === true && counted(ticket.reasked, phase.id) === 0;
}

function fail(
  settled: Ticket,
  workflow: Workflow,
  phase: FlatPhase,
  event: Pick<Failed, "at" | "category" | "reason" | "reask" | "nudge" | "agent">,
  policy: Policy,
): Step {
  if (willBeReasked(settled, phase, event)) {
    return become(count(settled, "reasked", phase.id), { state: "ready", cause: "retry" });
  }
  if (phase.type === "terminal" || phase.type === "wait") return finish(settled, "failed", event.at, event.reason);
  const repeats = counted(settled.repeats, phase.id);
  const note = noteOfRepeats(phase, repeats, event.reason);
  const ticket = note === null ? settled : { ...settled, stuck: note };
  if (note !== null) {
    if (phase.on?.stuck !== undefined) return enter({ ...ticket, error: note.evidence }, workflow, phase.on.stuck, event.at);
    if (repeats >= repeatsUntil.person) return finish(ticket, "needs_attention", event.at, note.evidence);
  }
  const answer = reactionTo(failureOf(event), phase, policy.reactions);
  if (answer.do === "edge") return enter({ ...ticket, error: event.reason }, workflow, answer.target, event.at);
  if (answer.do === "escalate") return finish(ticket, "needs_attention", event.at, event.reason);
  if (answer.do === "fail") return finish(ticket, "failed", event.at, event.reason);
  if (answer.do === "fix") return failureEdge(ticket, workflow, phase, event.at, event.reason);
  const otherAgent = answer.do === "retry" && answer.otherAgent;
  if (policy.progressWatch !== "off" && !otherAgent && gotNowhere(phase, event.category)) return tryDifferently(ticket, phase, event);
  const used = counted(ticket.retries, phase.id);
  // What a reviewer has found time and again is for whoever is to mend it: another look would take the note away from there.
  const isForOthers = note !== null && isFinding(phase, event.category);
  if (used < phase.maxRetries && !isForOthers) {
    const notBefore = plusSeconds(event.at, backoffSeconds(ticket, used, policy));
    const notAgent = otherAgent ? event.agent : undefined;
    // With the old window a retry would time out on its first look.
    return become(
      { ...count(ticket, "retries", phase.id), windowUsedMs: 0, error: event.reason },
      { state: "ready", cause: "retry", notBefore, ...present({ notAgent }) },
    );
  }
  return failureEdge(ticket, workflow, phase, event.at, event.reason);
}

/** What follows a run that got nowhere: the agent is told, then it begins anew, then a person has to see. Costs no retry. */
function tryDifferently(ticket: Ticket, phase: FlatPhase, event: Pick<Failed, "at" | "reason" | "nudge">): Step {
  const note = noteOfRun(phase, counted(ticket.nudges, phase.id), event);
  if (note === null) {
    return finish(ticket, "needs_attention", event.at, `Phase "${phase.id}" got nowhere again after a new beginning: ${event.reason}`);
  }
  const nudges = { ...ticket.nudges, [phase.id]: nudgesOf[note.answer] };
  return become({ ...ticket, nudges, stuck: note, windowUsedMs: 0, error: event.reason }, { state: "ready", cause: "retry" });
}

/** Without the note for the next run of an agent, once that run has settled or the phase that it is about has done well. */
function heeded(ticket: Ticket, phase: FlatPhase): Ticket {
  return phase.type === "agent" || ticket.stuck?.phase === phase.id ? { ...ticket, stuck: null } : ticket;
}

function failureEdge(
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

/** Doubles per retry up to five minutes, spread by up to a quarter so that tickets that failed together do not return together. */
function backoffSeconds(ticket: Ticket, used: number, policy: Policy): number {
  const base = Math.min(longestBackoffSeconds, policy.retryBackoffSeconds * 2 ** used);
  return base * (1 + fraction(`${ticket.planId}/${ticket.ticketId}/${ticket.runs}`) / 4);
}

type Pending = Extract<TicketEvent, { type: "pending" }>;

/**
 * A look and the pause after it use up the window by what they are meant to take, never by what the wall clock says: a clock
 * that was set, a suspended machine or a daemon that was down would otherwise end the wait.
 */
function lookAgain(ticket: Ticket, workflow: Workflow, phase: FlatPhase, event: Pending, policy: Policy): Step {
  // A script's own timeout bounds one run; its try-later answers are bounded by the default window.
  const window = (phase.type === "poll" ? phase.timeoutSeconds : undefined) ?? defaultWindowSeconds;
  const longestLookMs = phase.type === "poll" ? phase.checkTimeoutSeconds * 1000 : Number.POSITIVE_INFINITY;
  const usedMs = ticket.windowUsedMs + Math.round(Math.max(0, Math.min(event.durationMs, longestLookMs)));
  const leftMs = Math.round(window * 1000) - usedMs;
  if (leftMs <= 0) {
    // Of an agent it is the machine that never let it start: that says nothing of the agent.
    const category = phase.type === "agent" ? "infrastructure" : "timeout";
    const why = phase.type === "agent" && event.reason ? ` ${event.reason}` : "";
    const reason = `Phase "${phase.id}" was not done within ${window} s.${why}`;
    const failed = remember(ticket, "failure", { at: event.at, category, reason });
    return fail(
      { ...failed, feedback: { ...ticket.feedback, [phase.id]: reason }, repeats: without(ticket.repeats, phase.id) },
      workflow,
      phase,
      { at: event.at, category, reason },
      policy,
    );
  }
  const pause = phase.type === "poll" ? (phase.intervalSeconds ?? policy.pollInterval) : tryLaterSeconds;
  // At least a millisecond, or looks that take no time would never come to an end.
  const pauseMs = Math.min(Math.max(1, Math.round(pause * 1000)), leftMs);
  const waiting = { state: "waiting" as const, until: plusSeconds(event.at, pauseMs / 1000), ...present({ reason: event.reason }) };
  return become({ ...ticket, windowUsedMs: usedMs + pauseMs }, waiting);
}

function successEdge(phase: FlatPhase): string | null | undefined {
  return "onSuccess" in phase ? phase.onSuccess : undefined;
}

/** Moves along an edge; an edge that is not there ends the ticket well. */
function follow(ticket: Ticket, workflow: Workflow, target: string | null | undefined, at: Instant): Step {
  return target ? enter(ticket, workflow, target, at) : finish(ticket, "complete", at, null);
}

/** Moves into a phase: counts the visit, starts its windows, ends the ticket when the phase is terminal or visited too often. */
function enter(ticket: Ticket, workflow: Workflow, phaseId: string, at: Instant): Step {
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

type Leaving = Exclude<AfterStop, { next: "again" | "tell" }>;

/** Where a person sent the ticket while its run was under way; undefined when the run's own result counts. */
function leaving(ticket: Ticket): Leaving | undefined {
  const stop = ticket.activity.state === "running" ? ticket.activity.stop : undefined;
  return stop?.next === "again" || stop?.next === "tell" ? undefined : stop;
}

/** What was to follow a stopped run. */
function divert(ticket: Ticket, workflow: Workflow, after: Leaving, at: Instant): Step {
  if (after.next === "cancel") return finish(ticket, "cancelled", at, after.reason);
  return enter(afresh(noteWithoutRun(ticket, "skipped", at, `skipped to ${after.phase}`)), workflow, after.phase, at);
}

/** A person's decision starts all counts again: bounds are there for what nobody decided. */
function afresh(ticket: Ticket): Ticket {
  return { ...ticket, error: null, retries: {}, visits: {}, lost: {}, unserved: {}, reasked: {}, nudges: {}, repeats: {}, stuck: null };
}

function unknownPhase(ticket: Ticket, workflow: Workflow, at: Instant): Step {
  const known = workflow.phases.map((phase) => phase.id).join(", ");
  return finish(ticket, "needs_attention", at, `Workflow "${workflow.name}" has no phase "${ticket.currentPhase}"; it has ${known}.`);
}

function stay(ticket: Ticket, refused?: string): Step {
  return refused === undefined ? { ticket, effects: [] } : { ticket, effects: [], refused };
}

function become(ticket: Ticket, activity: Activity, effects: Effect[] = []): Step {
  return { ticket: { ...ticket, activity }, effects };
}

function finish(ticket: Ticket, outcome: Extract<Activity, { state: "finished" }>["outcome"], at: Instant, reason: string | null): Step {
  const effects: Effect[] =
    outcome === "failed" || outcome === "needs_attention"
      ? [{ type: "notify", status: outcome, reason: reason ?? "It needs a person." }]
      : [];
  return become({ ...ticket, currentSession: null, error: reason }, { state: "finished", outcome, at }, effects);
}

function stop(ticket: Ticket, after: AfterStop): Step {
  const now = ticket.activity;
  if (now.state !== "running") return stay(ticket);
  return become(ticket, { ...now, stop: after }, [{ type: "stop", runId: now.runId, after }]);
}

function count(ticket: Ticket, counter: "retries" | "lost" | "unserved" | "reasked" | "repeats", phase: string): Ticket {
  return { ...ticket, [counter]: { ...ticket[counter], [phase]: counted(ticket[counter], phase) + 1 } };
}

/** A counter's value. A phase may be called "constructor", which every object has without ever having counted it. */
function counted(counter: Readonly<Record<string, number>>, phase: string): number {
  return Object.hasOwn(counter, phase) ? (counter[phase] ?? 0) : 0;
}

/** The counts without that of a phase. */
function without(counter: Readonly<Record<string, number>>, phase: string): Record<string, number> {
  const { [phase]: _gone, ...rest } = counter;
  return rest;
}

type RunNews = { at: Instant; category?: FailureCategory; reason?: string } & RunFacts;

/** Adds the history entry of the run that has just ended, and the values it captured. */
function remember(ticket: Ticket, status: HistoryEntry["status"], news: RunNews): Ticket {
  const now = ticket.activity;
  if (now.state !== "running") return ticket;
  const session = news.session ?? ticket.currentSession ?? undefined;
  const entry: HistoryEntry = {
    phase: ticket.currentPhase ?? "",
    status,
    startedAt: now.since,
    completedAt: news.at,
    runId: now.runId,
    ...present({ agent: news.agent, output: news.output, session, category: news.category, reason: news.reason }),
    ...present({ head: news.head, usage: news.usage, costUsd: news.costUsd, isolation: news.isolation }),
  };
  return {
    ...ticket,
    currentSession: null,
    phaseHistory: [...ticket.phaseHistory, entry].slice(-historyLimit),
    context: { ...ticket.context, ...news.captured },
    baseSha: news.baseSha ?? ticket.baseSha,
  };
}

/** The history entry of a phase that ended without a program having run. */
function noteWithoutRun(ticket: Ticket, status: HistoryEntry["status"], at: Instant, reason?: string): Ticket {
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
function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function clip(text: string): string {
  return text.length <= feedbackLimit ? text : `${text.slice(0, feedbackLimit)}\n[… ${text.length - feedbackLimit} more characters]`;
}
