import { watch } from "node:fs";
import { UserError } from "../domain/errors.ts";
import type { Logger } from "../lib/logger.ts";
import { inboxDirs } from "../state/layout.ts";
import { type Opened, type OpenOptions, openRunner } from "./open.ts";

/** How a daemon ended: by itself never, by a signal always. */
export type DaemonEnd = "drained" | "stopped";

export interface DaemonOptions extends OpenOptions {
  /** Calls back with each request to stop: the first drains, the second ends the runs, and the next daemon goes on with them. */
  onStopRequest(callback: () => void): void;
  /** Called once the daemon has taken up what it found. */
  onReady?: (opened: Opened) => void;
}

/**
 * Works the plans of this home until it is asked to stop. Between two looks at the disk it is woken by changes in
 * state and inbox and by runs that end, so `pollInterval` only bounds how late a lost hint is noticed.
 */
export async function runDaemon(options: DaemonOptions): Promise<DaemonEnd> {
  const { log } = options;
  const opened = await openRunner(options);
  const { runner, index } = opened;
  let requests = 0;
  let wake = () => {};
  let poked = false;
  const poke = () => {
    poked = true;
    wake();
  };
  const unwatch = watchInbox(opened, log, poke);
  index.watch(poke);
  runner.onChange(() => {
    if (requests > 0 && runner.running().length === 0) poke();
  });
  options.onStopRequest(() => {
    requests += 1;
    if (requests === 1) {
      runner.setDispatching(false);
      log.info({}, drainingMessage(opened));
    } else if (requests === 2) {
      log.info({}, "stopping the runs; they go on with the next daemon");
    }
    poke();
  });
  try {
    await runner.recover();
    options.onReady?.(opened);
    while (requests === 0 || runner.running().length > 0) {
      opened.reloadConfig();
      const started = performance.now();
      try {
        // Also for a run whose stop could not be written down the first time.
        if (requests > 1) await runner.stopRuns();
        await runner.tick();
      } catch (error) {
        log.error({ err: error }, "a look at the state failed; it is tried again");
      }
      const fenced = opened.fenced();
      if (fenced)
        throw new UserError(fenced.message, {
          hint: "only one daemon may write a home; find and stop the other one",
          exit: "conflict",
          cause: fenced,
        });
      log.debug({ ms: performance.now() - started }, "tick");
      if (requests > 0 && runner.running().length === 0) break;
      if (!poked) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, opened.config().pollInterval * 1000);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      poked = false;
    }
    await runner.quiet();
    return requests > 1 ? "stopped" : "drained";
  } finally {
    unwatch();
    await opened.close();
  }
}

/** The inbox is looked at as soon as something arrives in it; where that cannot be watched, with the next tick. */
function watchInbox({ config }: Opened, log: Logger, poke: () => void): () => void {
  try {
    const watcher = watch(inboxDirs(config().home).new, poke);
    watcher.on("error", (error) => log.warn({ err: error }, "the inbox cannot be watched; it is read every pollInterval"));
    return () => watcher.close();
  } catch (error) {
    log.warn({ err: error }, "the inbox cannot be watched; it is read every pollInterval");
    return () => {};
  }
}

function drainingMessage({ runner }: Opened): string {
  const running = runner.running().map(({ planId, ticket }) => `${planId}/${ticket.ticketId} (${ticket.currentPhase})`);
  if (running.length === 0) return "stopping";
  return `draining: waiting for ${running.join(", ")}. Stop again to end them now; they go on with the next daemon.`;
}
