import type { RunFacts, TicketEvent } from "../domain/event.ts";
import type { FailureCategory } from "../domain/failure.ts";
import type { Reactions } from "../domain/reaction.ts";
import type { AfterStop, HistoryEntry, Ticket } from "../domain/ticket.ts";
import { type Instant, plusSeconds } from "../domain/time.ts";
import { type FlatPhase, phaseById, type Workflow } from "../domain/workflow.ts";
import { fraction } from "./jitter.ts";
import {
  afresh,
  become,
  clip,
  counted,
  currentPhase,
  enter,
  failureEdge,
  finish,
  follow,
  historyLimit,
  noteWithoutRun,
  present,
  rejectGate,
  type Step,
  stay,
  stop,
  unknownPhase,
  without,
} from "./moves.ts";
import { command } from "./people.ts";
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

function isToBeTold({ activity }: Ticket): boolean {
  return activity.state === "running" && activity.stop?.next === "tell";
}

/** The messages that came after the run of an agent had begun: those before were in its prompt. */
function unheard({ activity, messages }: Ticket, phase: FlatPhase): Ticket["messages"] {
  return activity.state === "running" && phase.type === "agent" ? messages.filter(({ at }) => at >= activity.since) : messages;
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

function count(ticket: Ticket, counter: "retries" | "lost" | "unserved" | "reasked" | "repeats", phase: string): Ticket {
  return { ...ticket, [counter]: { ...ticket[counter], [phase]: counted(ticket[counter], phase) + 1 } };
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
