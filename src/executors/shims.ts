import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { getCompileCacheDir } from "node:module";
import type { Socket } from "node:net";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Isolation } from "./isolation.ts";

/** What a shim is told through its stdin. It stands nowhere else: the variables may hold secrets. */
export interface Order {
  /** The folder of the run. */
  dir: string;
  /** The variables of its program. */
  env: Record<string, string>;
}

/** Has shims at hand. */
export interface Shims {
  /** Gives a run to a shim; `onExit` is called when that ends. Rejects when none can be started. */
  start(isolation: Isolation, order: Order, onExit: () => void): Promise<void>;
  /** Has one at hand for the next run of this home, of which `dir` is one. That there is none then is no failure. */
  prepare(isolation: Isolation, dir: string): void;
  /** Lets go of the one that waits. Those with a run go on. */
  close(): void;
}

interface Waiting {
  isolation: Isolation;
  shim: ChildProcess;
  stdin: Socket;
  /** Rejects when there will be none. */
  up: Promise<void>;
}

const shimPath = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./shim.ts" : "./shim.cjs", import.meta.url));
/** Who starts nothing for so long needs none at hand. */
const keptMs = 60_000;
/**
 * Shims, each in a session of its own. Starting Node takes most of the time that a run begins with, so one can be started
 * ahead. It ends by itself when this process does. One that takes no order in `patienceMs` is stopped, or hangs: it is ended.
 */
export function createShims(patienceMs = 20_000): Shims {
  let spare: Waiting | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  function takeSpare(isolation: Isolation): Waiting | undefined {
    if (spare?.isolation !== isolation) dropSpare();
    const taken = spare;
    clearTimeout(timer);
    spare = undefined;
    return taken;
  }

  function dropSpare(): void {
    clearTimeout(timer);
    if (spare) end(spare);
    spare = undefined;
  }

  function prepare(isolation: Isolation, dir: string): void {
    if (isClosed || spare !== undefined) return;
    try {
      const started = startShim(isolation, dir);
      spare = started;
      started.up.catch(() => {
        if (spare === started) spare = undefined;
      });
    } catch {
      return;
    }
    timer = setTimeout(dropSpare, keptMs).unref();
  }

  return {
    async start(isolation, order, onExit) {
      const ahead = takeSpare(isolation);
      // It may have been killed or stopped while it waited.
      const isTaken = ahead !== undefined && (await tell(ahead, order, patienceMs, onExit).catch(() => false));
      if (!isTaken && !(await tell(startShim(isolation, order.dir), order, patienceMs, onExit))) {
        throw new Error(`the shim of ${order.dir} took no order`);
      }
    },
    prepare,
    close() {
      isClosed = true;
      dropSpare();
    },
  };
}

/** It holds no descriptor of ours, and once it is told its run, we hold none of its. */
function startShim(isolation: Isolation, dir: string): Waiting {
  // Where its home's runs are, for people who look at the list of processes.
  const [program = process.execPath, ...args] = [...isolation.prefix, process.execPath, shimPath, resolve(dir, "../../..")];
  // In a namespace the shim cannot know the pid that it has for us but by our own /proc.
  const proc = isolation.kind === "namespace" ? openSync("/proc", "r") : undefined;
  try {
    const shim = spawn(program, args, {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore", proc ?? "ignore"],
      env: { ...inherited(), ...(proc === undefined ? {} : { ORCH_PROC_FD: "3" }) },
    });
    const up = new Promise<void>((yes, no) => {
      shim.once("spawn", yes);
      shim.once("error", no);
    });
    // Node makes none where there was no descriptor for it.
    const stdin = shim.stdin as Socket | null | undefined;
    if (!stdin) {
      up.catch(() => undefined);
      throw new Error("no shim can be started: too many open files");
    }
    // Whoever gives it a run hears of it.
    stdin.on("error", () => undefined);
    shim.unref();
    stdin.unref();
    return { isolation, shim, stdin, up };
  } finally {
    if (proc !== undefined) closeSync(proc);
  }
}

/** Ends one without a run: it would notice by itself, but only after us. */
function end({ shim, stdin }: Waiting): void {
  stdin.destroy();
  // Never started, or collected already: its number may be another's by now.
  if (shim.pid === undefined || shim.exitCode !== null || shim.signalCode !== null) return;
  try {
    process.kill(-shim.pid, "SIGKILL");
  } catch {
    // It ended in the meantime.
  }
}

function inherited(): Record<string, string> {
  // An orchestrator that itself runs inside a run keeps that run's mark: its shims go down with it.
  const names = ["PATH", "ORCH_RUN", "ORCH_RUN_DIR", "ORCH_FSYNC"];
  const env = Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
  const cache = getCompileCacheDir();
  return cache === undefined ? env : { ...env, NODE_COMPILE_CACHE: cache };
}

/** False when it ended before it could be told, or does not listen; it is gone then. Rejects when it could not be started. */
async function tell(waiting: Waiting, order: Order, patienceMs: number, onExit: () => void): Promise<boolean> {
  const { shim, stdin, up } = waiting;
  await up;
  if (shim.exitCode !== null || shim.signalCode !== null) return false;
  shim.once("exit", onExit);
  const isTold = await new Promise<boolean>((done) => {
    const timer = setTimeout(() => done(false), patienceMs);
    stdin.end(JSON.stringify(order), (error?: Error | null) => {
      clearTimeout(timer);
      done(!error);
    });
  });
  if (isTold) {
    stdin.destroy();
    return true;
  }
  shim.off("exit", onExit);
  end(waiting);
  return false;
}
