import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import { runningText } from "../daemon/running-text.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Ticket } from "../domain/ticket.ts";
import { isAlive } from "../executors/process-identity.ts";
import type { DaemonRecord } from "../state/daemon-record.ts";
import { openIndex } from "../state/index.ts";
import { acquireDaemonLock } from "../state/lock.ts";
import { type StopKind, writeStopRequest } from "../state/stop-request.ts";
import type { Ending } from "./command.ts";
import { printLine } from "./print.ts";
import { secondsOf } from "./seconds.ts";
import { onStopSignals } from "./signals.ts";

const lookEveryMs = 100;

/** Asks the daemon of this home to end and waits until it has. Without one there is nothing to do. */
export async function run(
  context: Context,
  _args: string[],
  options: { now?: boolean; detach?: boolean; timeout?: string },
): Promise<Ending> {
  if (options.now && options.detach) {
    throw new UserError("--now ends the runs and --detach leaves them to the next daemon: only one of them can be meant.", {
      exit: "usage",
    });
  }
  const timeout = options.timeout === undefined ? undefined : secondsOf(options.timeout, "--timeout");
  const config = await context.config();
  const daemon = findDaemon(config.home);
  if (!daemon) {
    printLine(context, `No daemon is running for ${config.home}.`);
    return "ok";
  }
  return stopDaemon(context, config, daemon, options.now ? "now" : options.detach ? "detach" : "drain", timeout);
}

/** The daemon of this home, if one runs. Throws a UserError (conflict) when something else holds the home. */
export function findDaemon(home: string): DaemonRecord | undefined {
  const holder = runningDaemon(home);
  if (holder?.daemon) return holder;
  const lock = acquireDaemonLock(home);
  lock?.release();
  if (lock) return undefined;
  // It may have started meanwhile.
  const now = runningDaemon(home);
  if (now?.daemon) return now;
  throw new UserError(`${now ? `Process ${now.pid}` : "An unknown process"} works in ${home}, and it is no daemon.`, {
    hint: "orchestrator run and tick end by themselves, or with Ctrl-C where they run",
    exit: "conflict",
  });
}

/**
 * Asks this daemon to end and waits for that, saying what it waits for. `timeout` in seconds; "tryLater" when it is over,
 * "interrupted" when the waiting was: either way the daemon still does what it was asked.
 */
export async function stopDaemon(
  context: Context,
  config: Config,
  daemon: DaemonRecord,
  how: StopKind,
  timeout: number | undefined,
): Promise<Ending> {
  const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeout * 1000;
  const name = `the daemon (pid ${daemon.pid})`;
  const index = openIndex(config.stateDir, { writer: false });
  const signals = onStopSignals();
  let isInterrupted = false;
  signals.listen(() => {
    isInterrupted = true;
  });
  const running = (): { planId: string; ticket: Ticket }[] =>
    [...index.plans].flatMap(([planId, { tickets }]) =>
      [...tickets.values()].flatMap(({ ticket }) => (ticket?.activity.state === "running" ? [{ planId, ticket }] : [])),
    );
  try {
    const { pid, start, bootId } = daemon;
    await writeStopRequest(config.home, { pid, start, bootId, how });
    for (let told: string | undefined; isAlive(daemon); ) {
      const text = runningText(running());
      if (text !== told && how !== "detach") context.say(text === "" ? `waiting for ${name}` : `${name} waits for ${text}`);
      told = text;
      if (isInterrupted) {
        context.say(`${name} still ends as it was asked; this only ended the waiting`);
        return signals.ending();
      }
      if (performance.now() > deadline) {
        context.stderr.write(`error: ${name} has not ended within ${timeout} s.\n`);
        context.stderr.write("hint:  it still ends as it was asked; --now ends its runs, --detach leaves them to the next daemon\n");
        return "tryLater";
      }
      await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
      await index.poll();
    }
    await index.poll();
    const left = runningText(running());
    printLine(context, `The daemon (pid ${pid}) has ended.`);
    if (left !== "") printLine(context, `These runs go on without it, and the next daemon takes them up: ${left}`);
    return "ok";
  } finally {
    signals.close();
    index.close();
  }
}
