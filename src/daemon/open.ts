import { mkdirSync, statSync } from "node:fs";
import type { Config } from "../domain/config.ts";
import { formatFinding, UserError } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { isolationFinder } from "../executors/isolation.ts";
import { createLocalExecutor } from "../executors/local.ts";
import { ownIdentity, type ProcessIdentity } from "../executors/process-identity.ts";
import { programFile } from "../inputs/assets.ts";
import { loadConfig } from "../inputs/config.ts";
import type { Logger } from "../lib/logger.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { type DaemonFacts, type DaemonRecord, removeDaemonRecord, writeDaemonRecord } from "../state/daemon-record.ts";
import { type Index, openIndex } from "../state/index.ts";
import { inboxDirs, runDir } from "../state/layout.ts";
import { acquireDaemonLock, type DaemonLock } from "../state/lock.ts";
import { isAskedOf, readStopRequest, removeStopRequest } from "../state/stop-request.ts";
import { runningDaemon } from "./holder.ts";
import { startHousekeeping } from "./housekeeping.ts";
import { openJournals } from "./journals.ts";
import { createLiveWorld } from "./live-world.ts";
import { createRunner, type Runner } from "./runner.ts";

/** A runner and everything under it; whoever has one is the only writer of this home. */
export interface Opened {
  runner: Runner;
  index: Index;
  /** This process, as daemon.json has it. */
  identity: ProcessIdentity;
  config(): Config;
  /** Reads the configuration again if its file changed; a broken one is reported once and the last good one stays. */
  reloadConfig(): void;
  /** Set once another writer was met: nothing this process does counts any more. */
  fenced(): Error | undefined;
  /** Tells whoever reads daemon.json that the daemon has taken up what it found. */
  markReady(): Promise<void>;
  /** Waits for what is being written, gives the lock back. Runs that are under way go on. */
  close(): Promise<void>;
}

export interface OpenOptions {
  config: Config;
  log: Logger;
  env: Readonly<Record<string, string | undefined>>;
  version: string;
  /** Replaces values of the configuration for as long as this process lives. */
  override?: Partial<Pick<Config, "maxConcurrency" | "defaultAgent">>;
  select?: (planId: string, ticketId: string) => boolean;
  /** Given by a daemon: how it was started. */
  daemon?: Omit<DaemonFacts, "ready">;
  /** Milliseconds between a change and the look for what removals left behind that follows it; tests do not wait long. */
  housekeepingDelayMs?: number;
  /** The programs that runs start; those of this installation when absent. */
  self?: PhaseContext["self"];
}

/** Other commands hold the lock for moments, and a daemon for one before it says who it is. */
const lockPatienceMs = 2000;
const lockPauseMs = 25;

/** Takes the daemon lock and opens the state. Throws a UserError (conflict) that names the holder when another process has it. */
export async function openRunner(options: OpenOptions): Promise<Opened> {
  const { log, env } = options;
  let config: Config = { ...options.config, ...options.override };
  for (const folder of [config.home, config.stateDir]) refuseOpenFolder(folder);
  const lock = await takeLock(config.home);
  try {
    const identity = ownIdentity();
    const record: DaemonRecord = { ...identity, version: options.version, since: instant(Date.now()) };
    const facts = options.daemon;
    // Whatever an earlier daemon was asked.
    await removeStopRequest(config.home);
    await writeDaemonRecord(config.home, facts ? { ...record, daemon: { ...facts, ready: false } } : record);
    mkdirSync(inboxDirs(config.home).new, { recursive: true, mode: 0o700 });
    const index = openIndex(config.stateDir, { writer: true });
    const executor = createLocalExecutor(
      (ref) => runDir(config.home, ref),
      isolationFinder(() => config.isolateProcesses),
    );
    const journals = openJournals(config.stateDir, log);
    const world = createLiveWorld(index, () => config, true);
    const ownPrograms = { node: process.execPath, program: programFile("cli"), checksRunner: programFile("phases/checks-runner") };
    const self = options.self ?? ownPrograms;
    const select = options.select === undefined ? {} : { select: options.select };
    const runner = createRunner({
      index,
      world,
      executor,
      journal: journals.append,
      log,
      config: () => config,
      onFenced: (error) => {
        log.fatal({ err: error }, "another process writes the state; this one ends");
        fenced = error;
      },
      self,
      daemonEnv: env,
      ...select,
    });
    let fenced: Error | undefined;
    const delay = options.housekeepingDelayMs === undefined ? {} : { delayMs: options.housekeepingDelayMs };
    const housekeeping = startHousekeeping({ world, config: () => config, log, ...delay });
    runner.onChange(housekeeping.poke);
    let seen = mtimeOf(config.file);

    return {
      runner,
      index,
      identity,
      config: () => config,
      async markReady() {
        if (facts) await writeDaemonRecord(config.home, { ...record, daemon: { ...facts, ready: true } });
      },
      fenced: () => fenced,
      reloadConfig() {
        const mtime = mtimeOf(config.file);
        if (mtime === seen) return;
        seen = mtime;
        try {
          const loaded = loadConfig({ explicit: config.file, env, cwd: process.cwd() });
          config = { ...loaded.config, ...options.override, home: config.home, stateDir: config.stateDir };
          log.info({ file: config.file }, "the configuration was read again");
          for (const finding of loaded.findings) log.warn({}, formatFinding(finding));
        } catch (error) {
          log.error(
            { err: error },
            `the changed configuration cannot be used, the last good one stays: ${error instanceof Error ? error.message : String(error)}`,
          );
        }
      },
      async close() {
        await runner.close();
        await housekeeping.close();
        executor.close();
        index.close();
        await journals.flush();
        try {
          // What a daemon that took over was asked is not ours to forget.
          const asked = readStopRequest(config.home);
          if (asked && isAskedOf(asked, identity)) await removeStopRequest(config.home);
          await removeDaemonRecord(config.home, identity);
        } finally {
          lock.release();
        }
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The daemon lock. Throws a UserError (conflict) once a daemon is known to have it, or when nobody gives it back. */
async function takeLock(home: string): Promise<DaemonLock> {
  const deadline = performance.now() + lockPatienceMs;
  for (;;) {
    const lock = acquireDaemonLock(home);
    if (lock) return lock;
    const holder = runningDaemon(home);
    if (holder?.daemon || performance.now() > deadline) {
      throw new UserError(`A daemon is already running for ${home}${holder ? ` (pid ${holder.pid}, since ${holder.since})` : ""}.`, {
        hint: "orchestrator status shows what it does; pause, retry and the like reach it while it runs",
        exit: "conflict",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, lockPauseMs));
  }
}

/** What the daemon runs comes from these folders: nobody else may be able to write there. Throws a UserError. */
function refuseOpenFolder(folder: string): void {
  const info = statSync(folder, { throwIfNoEntry: false });
  if (info === undefined) return;
  const user = process.getuid?.();
  if (user !== undefined && info.uid !== user) {
    throw new UserError(`${folder} belongs to another user (uid ${info.uid}), who could change what runs here.`, {
      hint: `chown ${user} ${folder}, or name a folder of your own in ORCHESTRATOR_HOME or stateDir`,
      exit: "unsafe",
    });
  }
  if ((info.mode & 0o002) !== 0) {
    throw new UserError(`Every user of this machine may write to ${folder}, and so change what runs here.`, {
      hint: `chmod 700 ${folder}`,
      exit: "unsafe",
    });
  }
}

function mtimeOf(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return 0;
  }
}
