import { existsSync, readFileSync } from "node:fs";
import { UserError } from "../domain/errors.ts";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord, RunRef } from "../domain/run.ts";
import { Session } from "../domain/session.ts";
import type { Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import { recover } from "../engine/recover.ts";
import type { Executor } from "../executors/executor.ts";
import { readSpec, runFiles } from "../executors/run-files.ts";
import { type Logger, ticketLog } from "../lib/logger.ts";
import { monotonicMs } from "../lib/monotonic.ts";
import { isPassing } from "../lib/passing.ts";
import { handlerOf } from "../phases/handlers.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { removePrivateFiles } from "../phases/private-files.ts";

/** Starts runs, watches over them and says what became of them. */
export interface Runs {
  /** Starts a run that the state calls running. Never rejects: what goes wrong is reported as news of the run. */
  start(ref: RunRef): Promise<void>;
  /** Looks at a run and reports what became of it, as often as anybody likes. Never rejects. */
  check(ref: RunRef): Promise<void>;
  /** As `check`, for a run of an earlier daemon: what that one had not started yet is not started any more. Never rejects. */
  takeUp(ref: RunRef): Promise<void>;
  /** Asks a run to stop; a request that fails is repeated with every look at the run. Never rejects. */
  stop(ref: RunRef, why?: "budget"): Promise<void>;
  /** Whether anything is being done about a run. */
  isBusy(): boolean;
  close(): void;
}

interface RunsParts {
  executor: Executor;
  log: Logger;
  now(): Instant;
  /** The ticket as it stands; undefined when it is gone. */
  ticketOf(ref: RunRef): Ticket | undefined;
  /** What the run's phase may know. Throws a UserError that says why it cannot be told. */
  contextOf(ref: RunRef): PhaseContext;
  runDirOf(ref: RunRef): string;
  /** Hands news to the engine. Never rejects: what cannot be recorded now is found again by a later look. */
  report(ref: RunRef, event: TicketEvent): Promise<void>;
  /** Called when nothing is being done about a run any more. */
  onSettled(): void;
}

/** A run that nobody has claimed for so long after it was submitted was never started: its shim did not come up. */
const unclaimedMs = 30_000;

export function createRuns({ executor, log, now, ticketOf, contextOf, runDirOf, report, onSettled }: RunsParts): Runs {
  const starting = new Set<string>();
  /** When runs were submitted, by the monotonic clock: the wall clock may be set meanwhile. */
  const submitted = new Map<string, number>();
  const looking = new Set<string>();
  /** Runs of which something was heard while they were being looked at. */
  const lookAgainAt = new Set<string>();
  let closed = false;

  async function start(ref: RunRef): Promise<void> {
    const key = runKey(ref);
    starting.add(key);
    try {
      const context = contextOf(ref);
      const begun = await handlerOf(context.phase.type).start(context);
      const run = runningOf(ref);
      if (run === undefined) discard(ref);
      else if (run.stop) await end(ref, { type: "interrupted", at: now(), runId: ref.runId, reason: "It was stopped before it started." });
      else if (begun.kind === "news") await end(ref, begun.event);
      else {
        for (const note of begun.notes ?? []) ticketLog(log, ref.planId, ref.ticketId).warn({ run: ref.runId }, note);
        await executor.submit(begun.spec, begun.env, begun.prompt);
      }
    } catch (error) {
      await end(ref, notStarted(ref, error));
    } finally {
      starting.delete(key);
      submitted.set(key, monotonicMs());
      // It may have ended, or may have to stop, since before anybody listened.
      await check(ref);
      onSettled();
    }
  }

  /**
   * What a person can mend needs a person; a machine that is full or busy now is tried again later; anything else may be
   * gone the next time, and is bounded as a lost run.
   */
  function notStarted({ runId, ...where }: RunRef, error: unknown): TicketEvent {
    if (error instanceof UserError) return { type: "faulted", at: now(), runId, reason: textOf(error) };
    log.error({ err: error, runId, ...where }, "a run could not be started");
    const news = { at: now(), runId, reason: `It could not be started: ${textOf(error)}` };
    return isPassing(error) ? { type: "pending", durationMs: 0, ...news } : { type: "lost", ...news };
  }

  /** The ticket's activity while this run is the ticket's; undefined when the ticket has moved on. */
  function runningOf(ref: RunRef): Extract<Ticket["activity"], { state: "running" }> | undefined {
    const activity = ticketOf(ref)?.activity;
    return activity?.state === "running" && activity.runId === ref.runId ? activity : undefined;
  }

  async function check(ref: RunRef, inherited = false): Promise<void> {
    const key = runKey(ref);
    if (closed || starting.has(key)) return;
    if (!runningOf(ref)) {
      submitted.delete(key);
      return;
    }
    if (looking.has(key)) {
      lookAgainAt.add(key);
      return;
    }
    looking.add(key);
    try {
      await look(ref, inherited);
    } catch (error) {
      log.error({ err: error, ...ref }, "a run could not be read");
      if (!isPassing(error))
        await end(ref, { type: "faulted", at: now(), runId: ref.runId, reason: `The run's records cannot be read: ${textOf(error)}` });
    } finally {
      looking.delete(key);
      if (!runningOf(ref)) submitted.delete(key);
      if (lookAgainAt.delete(key)) void check(ref);
      onSettled();
    }
  }

  async function look(ref: RunRef, inherited: boolean): Promise<void> {
    await takeSession(ref);
    const found = await executor.observe(ref);
    const ticket = ticketOf(ref);
    if (!ticket) return;
    let step = recover(ticket, found, now());
    if (step.do === "revoke") {
      if (!inherited && !isOverdue(ref)) return;
      // Its shim may have been faster: then it runs.
      step = recover(ticket, await executor.revoke(ref), now());
    }
    if (inherited) {
      ticketLog(log, ref.planId, ref.ticketId).info(
        { run: ref.runId, recovery: step.do },
        `run ${ref.runId} of an earlier daemon: ${step.do}`,
      );
    }
    if (step.do === "event") await end(ref, step.event);
    else if (step.do === "consume") await settle(ref, step.exit);
    else if (step.do === "adopt" && step.stopAgain) await executor.cancel(ref);
  }

  /** Counted from its submission: making a large worktree may take longer than that. One of an earlier daemon is always. */
  function isOverdue(ref: RunRef): boolean {
    return monotonicMs() - (submitted.get(runKey(ref)) ?? Number.NEGATIVE_INFINITY) > unclaimedMs;
  }

  /** The session is for people who look on: one that cannot be read says nothing about the run. */
  async function takeSession(ref: RunRef): Promise<void> {
    const file = runFiles(runDirOf(ref)).session;
    if (!existsSync(file)) return;
    let session: Session;
    try {
      session = Session.parse(JSON.parse(readFileSync(file, "utf8")));
    } catch (error) {
      log.debug({ err: error, ...ref }, "session.json cannot be read");
      return;
    }
    if (ticketOf(ref)?.currentSession?.id === session.id) return;
    await report(ref, { type: "session", at: now(), runId: ref.runId, session });
  }

  async function settle(ref: RunRef, exit: ExitRecord): Promise<void> {
    let event: TicketEvent;
    try {
      const context = contextOf(ref);
      event = await handlerOf(context.phase.type).settle(context, readSpec(context.runDir), exit);
    } catch (error) {
      if (isPassing(error)) throw error;
      log.error({ err: error, ...ref }, "a result could not be used");
      event = { type: "faulted", at: now(), runId: ref.runId, reason: `Its result could not be used: ${textOf(error)}` };
    }
    await end(ref, event);
  }

  /** Reports the end of a run. Its secrets go before that is recorded: after a crash in between, the run is looked at again. */
  async function end(ref: RunRef, event: TicketEvent): Promise<void> {
    discard(ref);
    await report(ref, event);
  }

  function discard(ref: RunRef): void {
    try {
      removePrivateFiles(runDirOf(ref));
    } catch (error) {
      log.error({ err: error, ...ref }, "what the run's program alone was to read could not be removed");
    }
  }

  return {
    start,
    check: (ref) => check(ref),
    takeUp: (ref) => check(ref, true),
    async stop(ref, why) {
      try {
        await executor.cancel(ref, why);
      } catch (error) {
        log.error({ err: error, ...ref }, "a run could not be asked to stop; it is tried again");
      }
    },
    isBusy: () => starting.size > 0 || looking.size > 0,
    close() {
      closed = true;
    },
  };
}

function textOf(error: unknown): string {
  if (error instanceof UserError && error.hint) return `${error.message} (${error.hint})`;
  return error instanceof Error ? error.message : String(error);
}

function runKey(ref: RunRef): string {
  return `${ref.planId}/${ref.ticketId}/${ref.runId}`;
}
