import type { Config } from "../domain/config.ts";
import type { Answer, Effect, Intent, TicketEvent } from "../domain/event.ts";
import type { Parks } from "../domain/park.ts";
import type { RunRef } from "../domain/run.ts";
import type { Ticket } from "../domain/ticket.ts";
import { epochMs, type Instant, instant } from "../domain/time.ts";
import type { Workflow } from "../domain/workflow.ts";
import { budgetsOf, budgetWait, shortageText } from "../engine/budget.ts";
import { type Decision, type Schedule, type Short, schedule } from "../engine/schedule.ts";
import { transition } from "../engine/transition.ts";
import { limitsOf, planStatus, workflowOf } from "../engine/world.ts";
import type { Executor } from "../executors/executor.ts";
import { spaceProblem } from "../lib/disk-space.ts";
import { type Logger, ticketLog } from "../lib/logger.ts";
import { monotonicMs } from "../lib/monotonic.ts";
import { isPassing } from "../lib/passing.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { answerIntent, takeIntents } from "../state/inbox.ts";
import type { Change, Index } from "../state/index.ts";
import type { JournalRecord } from "../state/journal.ts";
import { runDir } from "../state/layout.ts";
import { Fenced, type PendingIntent } from "../state/tickets.ts";
import { createCosts } from "./costs.ts";
import { applyIntent } from "./intents.ts";
import type { LiveWorld } from "./live-world.ts";
import { notify } from "./notify.ts";
import { openParks } from "./parks.ts";
import { runContext } from "./run-context.ts";
import { createRuns } from "./runs.ts";
import { type SerialQueue, serialQueue } from "./serial.ts";

/** What a runner works with. Whoever opens one holds the daemon lock. */
export interface RunnerParts {
  index: Index;
  world: LiveWorld;
  executor: Executor;
  /** Tells people and replays what happened; never read by the runner. */
  journal(planId: string, record: JournalRecord): void;
  log: Logger;
  /** The configuration of the moment: it may be read anew while the daemon runs. */
  config(): Config;
  self: PhaseContext["self"];
  daemonEnv: PhaseContext["daemonEnv"];
  /** Another writer lives: nothing may be written any more. */
  onFenced(error: Error): void;
  /** Which tickets may be dispatched; all of them when absent. */
  select?: (planId: string, ticketId: string) => boolean;
}

/** Loads, decides, commits, acts: the shell around the engine. */
export interface Runner {
  /** Takes up every run that the state calls running. To be done once, before anything is dispatched. */
  recover(): Promise<void>;
  /** Reads what changed on disk and in the inbox, and dispatches. */
  tick(): Promise<void>;
  /** Passes one event to the engine and does what follows; says why nothing changed where a person asked. */
  apply(planId: string, ticketId: string, event: TicketEvent): Promise<{ refused?: string }>;
  /** Does what a person asks for and says what came of it. `id` makes sure that it is done once. */
  intend(intent: Intent, id?: string): Promise<Answer>;
  /** Whether new runs may start. */
  setDispatching(on: boolean): void;
  /** Why a ticket that could go on waits for money or tokens; undefined when it does not. */
  budgetWait(planId: string, ticketId: string): { message: string; command?: string } | undefined;
  /** The tickets that have a run now. */
  running(): { planId: string; ticket: Ticket }[];
  /** Stops every run; each goes on where it was with the next daemon. */
  stopRuns(): Promise<void>;
  /** Resolves when no ticket has a run and nothing is left to do about one. */
  quiet(): Promise<void>;
  /** Called after every change. */
  onChange(callback: () => void): void;
  /** Begins nothing any more, and resolves once what is being committed is. Runs go on. */
  close(): Promise<void>;
}

/** Longest time between two looks that timers are trusted with. */
const longestTimerMs = 60_000;

/** Longest time between two looks at the programs of parked agents. */
const programPauseMs = 30_000;

/** A runner over open parts. */
export function createRunner(parts: RunnerParts): Runner {
  const { index, world, executor, journal, log } = parts;
  const queue: SerialQueue = serialQueue();
  const listeners: (() => void)[] = [];
  const waiting: (() => void)[] = [];
  let dispatching = true;
  let lookPlanned = false;
  /** Whether the disk has been looked at: what people changed while no daemon ran comes before any dispatch. */
  let isCurrent = false;
  const edits: PendingIntent[] = [];
  let idle: { version: number; config: Config; parks: Parks; since: Instant; nextAt: Instant | undefined } | undefined;
  /** Why nothing new starts on this machine, as it was when last looked at. */
  let stopped: string | undefined;
  /** The caps that people were told of, each at its height. */
  const toldCaps = new Set<string>();
  let runningNow: { version: number; found: { planId: string; ticket: Ticket }[] } | undefined;
  /** When the programs of parked agents were last looked at, by the monotonic clock, and the look that is under way. */
  let programs: { at: number; looking?: Promise<void> } = { at: Number.NEGATIVE_INFINITY };
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  const now = (): Instant => instant(Date.now());
  const parks = openParks({ log, config: parts.config, now, env: parts.daemonEnv });
  const policy = () => {
    const { retryBackoffSeconds, pollInterval, progressWatch, reactions } = parts.config();
    return { retryBackoffSeconds, pollInterval, progressWatch, reactions };
  };
  const ticketOf = (ref: { planId: string; ticketId: string }): Ticket | undefined =>
    world.plans.get(ref.planId)?.tickets.get(ref.ticketId);

  const costs = createCosts({ config: parts.config, world, now, log });
  const runs = createRuns({
    executor,
    log,
    now,
    ticketOf,
    contextOf: (ref) => runContext(ref, { ...parts, config: parts.config(), now, spending: costs.spending }),
    runDirOf: (ref) => runDir(parts.config().home, ref),
    report,
    onSettled: release,
  });
  executor.onHint((ref) => {
    void runs.check(ref);
    stopOverdrawn();
  });

  async function apply(planId: string, ticketId: string, news: TicketEvent, settles?: string): Promise<{ refused?: string }> {
    return queue.run(`${planId}/${ticketId}`, async () => {
      const view = world.plans.get(planId);
      const before = view?.tickets.get(ticketId);
      if (!view || !before) return { refused: `There is no ticket ${planId}/${ticketId}.` };
      const event = await withCost(planId, before, news);
      const workflow = workflowOf(view, before);
      const step = transition(before, typeof workflow === "string" ? noPhases(workflow) : workflow, event, policy());
      const refusal = step.refused === undefined ? {} : { refused: step.refused };
      // What changes nothing needs no revision, or a successor whose predecessor died over the answer would take it for
      // applied. Only what an edit asked for is asked again until a revision settles it.
      if (step.ticket === before && (settles === undefined || !index.isPending(planId, ticketId, settles))) return refusal;
      await parks.heed(before, event);
      // State first: an effect begins only once its cause is on disk.
      const after = await commit(planId, step.ticket, settles, step.refused);
      world.replaceTicket(planId, after);
      if (step.ticket === before) return refusal;
      record(planId, before, after, event);
      for (const effect of step.effects) perform(planId, ticketId, effect);
      await updatePlan(planId);
      changed();
      return {};
    });
  }

  /** The news of a run's end with what the run cost, once that is in the ledger: after a crash in between it is found there. */
  async function withCost(planId: string, { ticketId, activity }: Ticket, news: TicketEvent): Promise<TicketEvent> {
    if (activity.state !== "running" || !("runId" in news) || news.runId !== activity.runId || news.type === "session") return news;
    const cost = await costs.enter({ planId, ticketId, runId: activity.runId }, news);
    return news.type === "pending" ? news : { ...news, ...cost };
  }

  /** Stops the runs under a cap that they have used up together; each has limits of its own besides. */
  function stopOverdrawn(): void {
    if (closed || running().length === 0) return;
    for (const { planId, ticketId } of budgetsOf(world, costs.spending()).overdrawn()) {
      const ticket = ticketOf({ planId, ticketId });
      if (ticket?.activity.state === "running" && !ticket.activity.stop) void runs.stop(refOf(planId, ticket), "budget");
    }
  }

  async function commit(planId: string, ticket: Ticket, settles: string | undefined, refused: string | undefined): Promise<Ticket> {
    try {
      return await index.commit(planId, ticket, settles, refused);
    } catch (error) {
      if (error instanceof Fenced) parts.onFenced(error);
      throw error;
    }
  }

  /** Passes on news of a run. What cannot be written now is found again by a later look: the run's folder keeps it. */
  async function report({ planId, ticketId }: { planId: string; ticketId: string }, event: TicketEvent): Promise<void> {
    try {
      await apply(planId, ticketId, event);
    } catch (error) {
      // The next look tells that the plan went away, and this is found again once its folder is back.
      if (!index.plans.has(planId)) return;
      log.error({ err: error, plan: planId, ticket: ticketId }, `${event.type} could not be recorded; it is tried again`);
    }
  }

  function record(planId: string, before: Ticket, after: Ticket, event: TicketEvent): void {
    const { ticketId } = after;
    const { type, at, ...facts } = event;
    journal(planId, { at, type, ticketId, from: before.status, status: after.status, phase: after.currentPhase, ...facts });
    if ("isolation" in event && event.isolation) {
      const { evidence, restore } = event.isolation;
      journal(planId, {
        at,
        type: "isolation_breach",
        ticketId,
        phase: before.currentPhase,
        runId: event.runId,
        reason: evidence,
        restore,
      });
    }
    const phase =
      before.currentPhase === after.currentPhase ? (after.currentPhase ?? "") : `${before.currentPhase ?? "start"} → ${after.currentPhase}`;
    const detail = detailOf(event);
    ticketLog(log, planId, ticketId).info(
      { event: event.type, phase, status: after.status, run: "runId" in event ? event.runId : undefined },
      `${event.type} ${phase} [${after.status}]${detail}`,
    );
  }

  /** Keeps plan.json's status true. A plan.json that cannot be written now is tried again with the next change or look. */
  async function updatePlan(planId: string): Promise<void> {
    const view = world.plans.get(planId);
    if (!view) return;
    const status = planStatus(view);
    if (status === view.plan.status || view.plan.status === "draft") return;
    try {
      await index.updatePlan(planId, { status });
    } catch (error) {
      if (!index.plans.has(planId)) return;
      log.error({ err: error, plan: planId }, `plan.json could not be marked ${status}`);
      return;
    }
    world.refresh(planId);
    log.info({ plan: planId }, `plan ${planId} is ${status}`);
    // It may be a look that found it, not a change of a ticket.
    changed();
    if (status === "blocked") notify(parts.config(), log, { planId, status, reason: "No ticket of the plan can go on without a person." });
  }

  function perform(planId: string, ticketId: string, effect: Effect): void {
    switch (effect.type) {
      case "start":
        void runs.start({ planId, ticketId, runId: effect.runId });
        return;
      case "stop":
        void runs.stop({ planId, ticketId, runId: effect.runId });
        return;
      case "notify":
        notify(parts.config(), log, { planId, ticketId, status: effect.status, reason: effect.reason });
        return;
    }
  }

  /** Decides once per turn of the event loop, however many changes asked for it. */
  function changed(): void {
    for (const listener of listeners) listener();
    release();
    if (lookPlanned || closed) return;
    lookPlanned = true;
    setImmediate(() => {
      lookPlanned = false;
      void queue
        .run("look", look)
        .catch((error: unknown) => log.error({ err: error }, "could not dispatch"))
        .then(release);
    });
  }

  function release(): void {
    for (const resolve of waiting.splice(0)) resolve();
  }

  /** What schedule() says; of a world that has not changed since it found nothing to do, it is not asked before something is due. */
  function scheduleAt(at: Instant): Schedule {
    const config = parts.config();
    // A clock that was set back makes what is due later due at once.
    const isSameTime = idle !== undefined && at >= idle.since && (idle.nextAt === undefined || at < idle.nextAt);
    const wasStopped = stopped;
    stopped = spaceProblem([config.stateDir, config.worktreeRoot], config.minFreeMiB);
    if ((stopped === undefined) !== (wasStopped === undefined)) tellStopped(config);
    const isIdle =
      isSameTime &&
      idle?.version === world.version() &&
      idle.config === config &&
      idle.parks === parks.all() &&
      (stopped ?? wasStopped) === undefined;
    if (isIdle) return { decisions: [], nextAt: idle?.nextAt };
    const found = schedule(world, limitsOf(config, stopped, parks.all(), costs.spending()), at, parts.select);
    const mayWait = found.decisions.length === 0 && parts.select === undefined;
    idle = mayWait ? { version: world.version(), config, parks: parks.all(), since: at, nextAt: found.nextAt } : undefined;
    return found;
  }

  function tellStopped(config: Config): void {
    if (stopped === undefined) log.info({}, "there is room again: work goes on");
    else
      notify(config, log, {
        status: "stopped",
        reason: `Nothing new starts: ${stopped}. Make room, or lower minFreeMiB in ${config.file}.`,
      });
  }

  /** Once for each cap: whatever else waits for it does so for the same reason. */
  function tellShort(short: Short[]): void {
    for (const { planId, ticketId, phase, shortage } of short) {
      const { of, unit, limit, unknown } = shortage;
      const where = of === "day" ? {} : of === "plan" ? { planId } : { planId, ticketId };
      const cap = JSON.stringify([of, where, unit, limit, unknown !== undefined]);
      if (toldCaps.has(cap)) continue;
      toldCaps.add(cap);
      const { message, command } = shortageText(shortage, planId, ticketId, phase);
      notify(parts.config(), log, { ...where, status: "out_of_budget", reason: command === undefined ? message : `${message} ${command}` });
    }
  }

  async function look(): Promise<void> {
    if (!dispatching || !isCurrent || closed) return;
    const at = now();
    const { decisions, nextAt, short = [] } = scheduleAt(at);
    tellShort(short);
    await Promise.all(decisions.map((decision) => report(decision, eventOf(decision, at))));
    clearTimeout(timer);
    if (nextAt !== undefined && !closed) timer = setTimeout(changed, Math.min(longestTimerMs, Math.max(1, epochMs(nextAt) - Date.now())));
  }

  function tellRemoved(planId: string): void {
    costs.forget(planId);
    const left = running().flatMap((run) => (run.planId === planId ? [run.ticket.ticketId] : []));
    const going = left.length === 0 ? "" : `; the runs of ${left.join(", ")} go on to their own end, and count once the folder is back`;
    const instead = `To stop a plan, use: orchestrator pause-plan ${planId}; to end it for good: orchestrator cancel-plan ${planId}`;
    log.warn({ plan: planId }, `plan ${planId} was removed${going}. ${instead}`);
  }

  async function tick(): Promise<void> {
    for (const change of await pollIndex()) {
      if (change.kind === "removed" && change.ticketId === undefined && !index.plans.has(change.planId)) tellRemoved(change.planId);
      world.refresh(change.planId, change.ticketId);
      for (const note of change.notes ?? []) log.warn({ plan: change.planId, ticket: change.ticketId }, note);
      edits.push(...(change.intents ?? []));
    }
    isCurrent = true;
    await followEdits();
    await readInbox();
    world.retryWorkflows();
    for (const planId of world.takeDirty()) await updatePlan(planId);
    // Hints may be lost: whatever runs is looked at again.
    await Promise.all(running().map(({ planId, ticket }) => runs.check(refOf(planId, ticket))));
    stopOverdrawn();
    lookAtPrograms();
    await queue.run("look", look);
  }

  /** Not waited for: to ask a program what it takes needs seconds. */
  function lookAtPrograms(): void {
    const pause = Math.min(programPauseMs, parts.config().pollInterval * 1000);
    if (programs.looking || monotonicMs() - programs.at < pause) return;
    programs.looking = parks
      .lookAtPrograms()
      .then((found) => {
        if (found) changed();
      })
      .catch((error: unknown) => log.error({ err: error }, "the programs of parked agents could not be looked at"))
      .finally(() => {
        programs = { at: monotonicMs() };
      });
  }

  /** What edits of ticket files ask for. One that cannot be followed now stays for the next look. */
  async function followEdits(): Promise<void> {
    for (const { id, intent } of edits.splice(0)) {
      const answer = await answerOf(intent, id);
      if (!answer) edits.push({ id, intent });
      else if (answer.result === "refused")
        log.warn({ plan: "planId" in intent ? intent.planId : undefined }, `an edit was not followed: ${answer.message}`);
    }
  }

  async function readInbox(): Promise<void> {
    const { home } = parts.config();
    for (const { id, intent } of await takeIntents(home)) {
      const answer = await answerOf(intent, id);
      if (answer) await answerIntent(home, id, answer);
    }
  }

  /** The answer to an intent, which stops nobody else's; undefined when it has to be tried again later. */
  async function answerOf(intent: Intent, id: string): Promise<Answer | undefined> {
    try {
      return await intend(intent, id);
    } catch (error) {
      log.error({ err: error, intent }, "an intent could not be carried out");
      if (isPassing(error) || error instanceof Fenced) return undefined;
      return { result: "refused", message: error instanceof Error ? error.message : String(error) };
    }
  }

  async function pollIndex(): Promise<Change[]> {
    try {
      return await index.poll();
    } catch (error) {
      if (error instanceof Fenced) parts.onFenced(error);
      throw error;
    }
  }

  function intend(intent: Intent, id?: string): Promise<Answer> {
    const follow = () => applyIntent({ world, index, config: parts.config, parks, apply, alone, now, changed }, intent, id);
    if ("ticketId" in intent) return follow();
    // Not while tickets are being dispatched: one that starts now would not be among those that a pause stops.
    return queue.run("look", async () => {
      const answer = await follow();
      // No journal has it: those are of tickets.
      log.info({ intent: intent.type, plan: "planId" in intent ? intent.planId : undefined, by: intent.by }, answer.message);
      return answer;
    });
  }

  function alone<T>(planId: string, ticketIds: readonly string[], step: () => Promise<T>): Promise<T> {
    return ticketIds.reduceRight<() => Promise<T>>((inner, ticketId) => () => queue.run(`${planId}/${ticketId}`, inner), step)();
  }

  function running(): { planId: string; ticket: Ticket }[] {
    if (runningNow?.version === world.version()) return runningNow.found;
    const found: { planId: string; ticket: Ticket }[] = [];
    for (const view of world.plans.values()) {
      for (const ticket of view.tickets.values()) if (ticket.activity.state === "running") found.push({ planId: view.plan.id, ticket });
    }
    runningNow = { version: world.version(), found };
    return found;
  }

  async function stopRuns(): Promise<void> {
    await Promise.all(running().map(({ planId, ticket }) => report(refOf(planId, ticket), { type: "stop_requested", at: now() })));
  }

  async function quiet(): Promise<void> {
    for (;;) {
      await queue.idle();
      if (running().length === 0 && !lookPlanned && !runs.isBusy()) return;
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  }

  return {
    async recover() {
      await Promise.all(running().map(({ planId, ticket }) => runs.takeUp(refOf(planId, ticket))));
    },
    tick,
    apply,
    intend,
    setDispatching: (on) => {
      dispatching = on;
    },
    budgetWait: (planId, ticketId) => budgetWait(world, budgetsOf(world, costs.spending()), planId, ticketId),
    running,
    stopRuns,
    quiet,
    onChange: (callback) => listeners.push(callback),
    async close() {
      closed = true;
      clearTimeout(timer);
      runs.close();
      await Promise.all([queue.idle(), programs.looking]);
    },
  };
}

function eventOf(decision: Decision, at: Instant): TicketEvent {
  switch (decision.do) {
    case "dispatch":
      return { type: "dispatched", at, ...(decision.agent === undefined ? {} : { agent: decision.agent }) };
    case "due":
      return { type: "due", at };
    case "skip":
      return { type: "blocker_failed", at, reason: decision.reason };
    case "fault":
      return { type: "faulted", at, reason: decision.reason };
  }
}

/** What the log of a ticket says of an event besides its name. */
function detailOf(event: TicketEvent): string {
  switch (event.type) {
    case "session":
      return `: ${event.session.provider} ${event.session.id}`;
    case "sent":
      return `: by ${event.by}: ${event.message}`;
    case "taken_over":
    case "handed_back":
      return `: by ${event.by}${event.session ? `: ${event.session.provider} ${event.session.id}` : ""}`;
    default:
      return "reason" in event && event.reason ? `: ${event.reason}` : "";
  }
}

function refOf(planId: string, ticket: Ticket): RunRef {
  return { planId, ticketId: ticket.ticketId, runId: ticket.activity.state === "running" ? ticket.activity.runId : "" };
}

/** Stands in for a workflow that cannot be read: holds and cancellations work all the same. */
function noPhases(problem: string): Workflow {
  return { name: problem, description: "", tags: [], phases: [] };
}
