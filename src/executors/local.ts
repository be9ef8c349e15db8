import { existsSync, type FSWatcher, realpathSync, statSync, watch as watchFolder } from "node:fs";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import type { Claim, Observation, RunRef } from "../domain/run.ts";
import { instant } from "../domain/time.ts";
import { linkExclusive, makeDir, writeDurable } from "../state/atomic-write.ts";
import type { Executor } from "./executor.ts";
import { type Isolation, isolationFinder } from "./isolation.ts";
import { bootId, isAlive, ownIdentity } from "./process-identity.ts";
import { killTree } from "./process-tree.ts";
import { markVariable, namedIn } from "./run-environment.ts";
import { readClaim, readExit, runFiles } from "./run-files.ts";
import { createShims } from "./shims.ts";
import { startSlots } from "./start-slots.ts";

const pollMs = 250;
/** A shim that has not claimed its run by then keeps no other one waiting. */
const longestStartMs = 2000;

/**
 * Runs on this machine, each under a shim of its own that outlives the caller. `runDir` gives the folder of a run, absolute
 * and the same in every process that looks after it; `isolation` says what holds the processes of a run together.
 */
export function createLocalExecutor(runDir: (ref: RunRef) => string, isolation = isolationFinder(() => "auto")): Executor {
  const live = new Map<string, { ref: RunRef; seen: string; watcher: FSWatcher | undefined }>();
  const callbacks: ((ref: RunRef) => void)[] = [];
  let timer: NodeJS.Timeout | undefined;
  // Many that start at once take the processor from everybody, also from this process, and none of them is up sooner.
  const starting = startSlots(availableParallelism(), longestStartMs);
  const shims = createShims();
  let held: Isolation | undefined;
  let isClosed = false;

  function hint(ref: RunRef): void {
    if (!isClosed) for (const callback of callbacks) callback(ref);
  }

  /**
   * The next run's shim is got ready when one ends: earlier it would take the processor from the program at work. Where many are
   * being started anyway it would only be in their way.
   */
  function hasEnded(ref: RunRef): void {
    if (held !== undefined && starting.isIdle()) shims.prepare(held, runDir(ref));
    hint(ref);
  }

  function watch(ref: RunRef): void {
    const dir = runDir(ref);
    if (!live.has(dir)) {
      const watcher = watchRun(dir, { onClaim: () => starting.free(dir), onExit: () => hasEnded(ref) });
      live.set(dir, { ref, seen: fingerprint(dir), watcher });
      if (existsSync(runFiles(dir).claim)) starting.free(dir);
    }
    if (!isClosed) timer ??= setInterval(poll, pollMs).unref();
  }

  function unwatch(ref: RunRef): void {
    live.get(runDir(ref))?.watcher?.close();
    live.delete(runDir(ref));
    if (live.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  function poll(): void {
    for (const [dir, run] of live) {
      const now = fingerprint(dir);
      if (now === run.seen) continue;
      run.seen = now;
      starting.free(dir);
      hint(run.ref);
    }
  }

  async function observe(ref: RunRef): Promise<Observation> {
    const observation = await look(runDir(ref));
    if (observation.state === "running" || observation.state === "unclaimed") watch(ref);
    else unwatch(ref);
    if (observation.state !== "unclaimed") starting.free(runDir(ref));
    return observation;
  }

  return {
    async submit(spec, env, prompt) {
      const dir = runDir(spec);
      const files = runFiles(dir);
      await makeDir(dir);
      if (prompt !== null) await writeDurable(files.prompt, prompt);
      await writeDurable(files.spec, JSON.stringify(spec));
      const kind = await isolation();
      held = kind;
      await starting.take(dir);
      try {
        const order = { dir, env: namedIn(env, [...spec.envNames, ...(spec.hiddenNames ?? [])]) };
        await shims.start(kind, order, () => hint(spec));
      } catch (error) {
        starting.free(dir);
        throw error;
      }
      watch(spec);
    },

    async cancel(ref, why) {
      const dir = runDir(ref);
      await makeDir(dir);
      // The request is there before the claim is read: a shim that claims later than that finds it.
      await linkExclusive(runFiles(dir).stop, why ?? "");
      const claim = readClaim(dir);
      if (claim?.by === "shim" && isAlive(claim)) signal(claim.pid);
    },

    observe,

    async revoke(ref) {
      const dir = runDir(ref);
      await makeDir(dir);
      const claim: Claim = { schema: 1, runId: ref.runId, by: "revoked", ...ownIdentity(), at: instant(Date.now()) };
      await linkExclusive(runFiles(dir).claim, JSON.stringify(claim));
      return observe(ref);
    },

    onHint(callback) {
      callbacks.push(callback);
    },

    close() {
      isClosed = true;
      clearInterval(timer);
      starting.close();
      shims.close();
      for (const { watcher } of live.values()) watcher?.close();
      live.clear();
    },
  };
}

/** Hears of claim.json, and of exit.json before the shim's process is gone. Where folders cannot be watched, the poll sees them a little later. */
function watchRun(dir: string, { onClaim, onExit }: { onClaim(): void; onExit(): void }): FSWatcher | undefined {
  const { claim, exit } = runFiles(dir);
  try {
    const watcher = watchFolder(dir, { persistent: false }, (_event, changed) => {
      if (changed === basename(exit)) onExit();
      else if (changed === basename(claim)) onClaim();
    });
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

async function look(dir: string): Promise<Observation> {
  const exit = readExit(dir);
  if (exit !== undefined) return { state: "finished", exit };
  const claim = readClaim(dir);
  if (claim === undefined) return { state: "unclaimed" };
  if (claim.by === "revoked") return { state: "revoked" };
  if (isAlive(claim)) return { state: "running", pid: claim.pid };
  // It may have written its last words between the first look and its end.
  const last = readExit(dir);
  if (last !== undefined) return { state: "finished", exit: last };
  if (claim.bootId !== bootId()) return { state: "lost", reason: "the machine was restarted while it ran" };
  const survivors = await killTree({ variable: markVariable(realpathSync(dir)), leader: null });
  const reason = `its supervisor (pid ${claim.pid}) was killed`;
  return { state: "lost", reason, ...(survivors.length === 0 ? {} : { survivors }) };
}

/** What may change of a run in progress, as one string to compare. */
function fingerprint(dir: string): string {
  const { exit, session, usage, claim } = runFiles(dir);
  const parts = [exit, session, usage, claim].map((path) => statSync(path, { throwIfNoEntry: false })?.ino ?? 0);
  return `${parts.join(" ")} ${isClaimantAlive(dir)}`;
}

function isClaimantAlive(dir: string): boolean {
  try {
    const claim = readClaim(dir);
    return claim !== undefined && isAlive(claim);
  } catch {
    return false; // `observe` tells what is wrong with it
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // It ended in the meantime.
  }
}
