/**
 * The program that one run lives under: `node shim.cjs <folder of runs>`. It is started in a session of its own, in a pid
 * namespace or under a parent that adopts orphans where the machine can, waits on its stdin to be told its run (`Order`), and then
 * outlives the daemon. It claims the run, has it supervised, and writes exit.json. Exit codes: 0 the run is recorded, or it
 * was never told one, 3 someone else has claimed it, anything else: the run has no record and counts as lost.
 *
 * It starts once per phase, so it imports little.
 */
import { readFileSync, realpathSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Claim, ExitRecord } from "../domain/run.ts";
import { instant } from "../domain/time.ts";
import { monotonicMs } from "../lib/monotonic.ts";
import { hasCode, linkExclusiveSync } from "../state/atomic-write.ts";
import { dropFifos, makeFifos } from "./pipes.ts";
import { identityIn, ownIdentity, type ProcessIdentity, pidsIn } from "./process-identity.ts";
import { readSpec, runFiles } from "./run-files.ts";
import type { Order } from "./shims.ts";
import { supervise } from "./supervise.ts";

/** The daemon's /proc, where this process lives in a pid namespace. Nothing inherits it: Node sees to that at its start. */
const procFd = process.env.ORCH_PROC_FD === undefined ? undefined : Number(process.env.ORCH_PROC_FD);
const recordTries = 600;
const recordRetryMs = 1000;

async function main(): Promise<number> {
  const stopRequest = Promise.withResolvers<void>();
  process.on("SIGTERM", () => stopRequest.resolve());
  // These are meant for whoever sits at the terminal, not for a run.
  process.on("SIGINT", () => {});
  process.on("SIGHUP", () => {});
  const order = readOrder();
  if (order === undefined) return 0;
  const { dir: runDir, env } = order;
  process.chdir(runDir);

  const spec = readSpec(runDir);
  const fifos = makeFifos(runDir);
  const startedAt = instant(Date.now());
  const startedMs = monotonicMs();
  const claim: Claim = { schema: 1, runId: spec.runId, by: "shim", ...identity(), at: startedAt };
  const isOurs = linkExclusiveSync(runFiles(runDir).claim, JSON.stringify(claim));
  const outcome = isOurs ? await supervise(spec, realpathSync(runDir), env, fifos, stopRequest.promise) : null;
  await dropFifos(fifos);
  if (outcome === null) return 3;
  const endedAt = instant(Date.now());
  // People look for them outside.
  if (procFd !== undefined && outcome.survivors.length > 0) outcome.survivors = pidsIn(procFd, outcome.survivors);
  const durationMs = Math.round(monotonicMs() - startedMs);
  await writeRecord(runFiles(runDir).exit, { schema: 1, runId: spec.runId, startedAt, endedAt, durationMs, ...outcome });
  return 0;
}

/** Waits for its run; undefined when whoever would have told it has gone. */
function readOrder(): Order | undefined {
  const text = readFileSync(0, "utf8");
  try {
    return JSON.parse(text) as Order;
  } catch {
    return undefined; // cut off
  }
}

/** This process as the daemon sees it. */
function identity(): ProcessIdentity {
  return procFd === undefined ? ownIdentity() : identityIn(procFd);
}

/** Writes exit.json, if need be once the disk has room again: without it the run would count as lost. */
async function writeRecord(path: string, record: ExitRecord): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      linkExclusiveSync(path, JSON.stringify(record));
      return;
    } catch (error) {
      // Without its folder there is no run any more.
      if (tries === recordTries || hasCode(error, "ENOENT")) throw error;
      await delay(recordRetryMs);
    }
  }
}

// Built as CommonJS, which knows no await at the top.
void main().then((code) => process.exit(code));
