import { watch } from "node:fs";
import { basename } from "node:path";
import { UserError } from "../domain/errors.ts";
import type { Logger } from "../lib/logger.ts";
import { inboxDirs, stopFile } from "../state/layout.ts";
import { isAskedOf, readStopRequest, removeStopRequest, type StopKind, stopKinds } from "../state/stop-request.ts";
import { type Opened, type OpenOptions, openRunner } from "./open.ts";
import { runningText } from "./running-text.ts";

/** How a daemon ended: by itself never, by a request always. Runs of one that detached go on. */
export type DaemonEnd = "drained" | "stopped" | "detached";

export interface DaemonOptions extends OpenOptions {
  /** Calls back with each request to stop: the first drains, the second ends the runs, and the next daemon goes on with them. */
  onStopRequest(callback: () => void): void;
  /** Called once the daemon has taken up what it found. */
  onReady?: (opened: Opened) => void;
}

/**
 * Works the plans of this home until it is asked to stop, by onStopRequest or by stop.json. Between two looks at the disk
 * it is woken by changes in state, inbox and home and by runs that end, so `pollInterval` only bounds how late a lost hint
 * is noticed.
 */
export async function runDaemon(options: DaemonOptions): Promise<DaemonEnd> {
  const { log } = options;
  const opened = await openRunner(options);
  const { runner, index } = opened;
  const { home } = opened.config();
  let stop: StopKind | undefined;
  let told = "";
  let wake = () => {};
  let poked = false;
  const poke = () => {
    poked = true;
    wake();
  };
  const isDone = () => stop === "detach" || (stop !== undefined && runner.running().length === 0);
  const tellDraining = (hint: string) => {
    const waitsFor = runningText(runner.running());
    if (waitsFor === told || waitsFor === "") return;
    told = waitsFor;
    log.info({}, `draining: waiting for ${waitsFor}${hint}`);
  };
  /** A later request may hurry the end, never put it off. */
  const request = (how: StopKind) => {
    if (stop !== undefined && stopKinds.indexOf(how) <= stopKinds.indexOf(stop)) return;
    stop = how;
    runner.setDispatching(false);
    if (how === "now") log.info({}, "stopping the runs; they go on with the next daemon");
    else if (how === "detach") log.info({}, "ending at once; the runs go on and the next daemon takes them up");
    else if (runner.running().length === 0) log.info({}, "stopping");
    else tellDraining(". Stop again to end them now; they go on with the next daemon.");
    poke();
  };
  const readRequest = async () => {
    try {
      const asked = readStopRequest(home);
      if (asked && isAskedOf(asked, opened.identity)) request(asked.how);
    } catch (error) {
      log.warn({ err: error }, "stop.json cannot be read and is removed; ask again");
      await removeStopRequest(home).catch(() => undefined);
    }
  };
  const unwatch = [watchFolder(inboxDirs(home).new, log, poke), watchFolder(home, log, poke, basename(stopFile(home)))];
  index.watch(poke);
  runner.onChange(() => {
    if (stop === "drain") tellDraining("");
    if (isDone()) poke();
  });
  options.onStopRequest(() => request(stop === undefined ? "drain" : "now"));
  try {
    await runner.recover();
    await opened.markReady();
    options.onReady?.(opened);
    while (!isDone()) {
      await readRequest();
      opened.reloadConfig();
      const started = performance.now();
      try {
        // Also for a run whose stop could not be written down the first time.
        if (stop === "now") await runner.stopRuns();
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
      if (isDone()) break;
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
    if (stop === "detach") return "detached";
    await runner.quiet();
    return stop === "now" ? "stopped" : "drained";
  } finally {
    for (const end of unwatch) end();
    await opened.close();
  }
}

/** Calls `poke` when something changes in a folder, or in its file `only`; where that cannot be watched, the next tick looks. */
function watchFolder(folder: string, log: Logger, poke: () => void, only?: string): () => void {
  const unwatched = (error: unknown) => log.warn({ err: error }, `${folder} cannot be watched; it is read every pollInterval`);
  try {
    const watcher = watch(folder, (_event, name) => {
      if (only === undefined || name === null || name === only) poke();
    });
    watcher.on("error", unwatched);
    return () => watcher.close();
  } catch (error) {
    unwatched(error);
    return () => {};
  }
}
