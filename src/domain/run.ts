/**
 * A run is one start of one phase. These records are what daemon and shim exchange through the run's folder
 * `run/<plan>/<ticket>/<runId>/`; they hold no secret values and no schema library, so that the shim stays small.
 */
import type { AgentReport, Price } from "./session.ts";
import type { Instant } from "./time.ts";

/** Where a run belongs. `runId` is unique within its ticket, e.g. "0007-implement". */
export interface RunRef {
  planId: string;
  ticketId: string;
  runId: string;
}

/** What a run may use at most before it is stopped. */
export interface RunLimit {
  unit: "usd" | "tokens";
  amount: number;
  /** Whose cap it is: the phase's own for each run, or what a wider one had left. */
  of: "phase" | "ticket" | "plan" | "day";
}

/** spec.json: what the shim is to run. */
export interface RunSpec extends RunRef {
  schema: 1;
  phase: string;
  phaseType: "script" | "agent" | "poll" | "checks" | "merge";
  argv: string[];
  cwd: string;
  /** The whole environment of the child, by name; the values travel in the shim's own environment only. */
  envNames: string[];
  /** Variables of the shim alone, whose values are to be kept out of what it writes down. */
  hiddenNames?: string[];
  /** `prompt`: prompt.md of the run's folder is the child's stdin. `none`: it is empty. */
  stdin: "none" | "prompt";
  /** `file`: the child writes stdout itself and the shim follows the file (claude truncates pipes). */
  stdout: "pump" | "file";
  /** Whose stream stdout is: names an adapter of agents/ that turns it into events; null for plain output. */
  reader: string | null;
  /** Cumulative token counts of the resumed session so far, for CLIs that report totals (codex). */
  priorUsage?: { inputTokens: number; outputTokens: number; cacheReadTokens: number; cacheWriteTokens: number };
  /** The model that was asked for; absent: whatever the CLI takes by itself. */
  model?: string;
  /** Prices of the configuration, which come before those of the program. */
  prices?: Record<string, Price>;
  limits?: RunLimit[];
  /** What was kept back for it under every cap, as far as anybody knew. */
  reserved?: { usd?: number; tokens?: number };
  wallMs: number;
  /** No output for this long ends the run; null: only the wall time counts. */
  idleMs: number | null;
  /** Whether an agent that goes in circles is ended. */
  endLoops?: boolean;
  /** Kept of each stream; the head and the tail survive, the middle goes. */
  keepBytes: number;
  stop: { signal: "SIGINT" | "SIGTERM"; graceMs: number };
  /** An agent that has given its result and says no more may take this long to exit; absent: for ever. */
  settleMs?: number;
  /** What the phase needs to know again when it reads the result, e.g. a merge candidate. */
  data: Record<string, unknown>;
}

/** claim.json: created exclusively, so a run starts at most once. */
export interface Claim {
  schema: 1;
  runId: string;
  /** `shim`: it runs (or ran). `revoked`: the daemon won the claim and it never will. */
  by: "shim" | "revoked";
  pid: number;
  /** Start time of the process in clock ticks since boot (/proc/<pid>/stat field 22); "" where unknown. */
  start: string;
  bootId: string;
  at: Instant;
}

/** Why a run is over. */
export type RunEnd =
  | "exited" // the leader ended by itself
  | "result" // it gave its result and did not exit; we ended it
  | "timeout" // wall time
  | "idle" // silence
  | "stuck" // it went in circles; `message` says which
  | "stopped" // we asked it to stop
  | "budget" // it used up what it may use; we ended it
  | "output_limit" // it wrote more than a sane program does
  | "spawn_failed"; // it never started; `message` says why

/** exit.json: created exclusively, once nothing of the run is alive any more. */
export interface ExitRecord {
  schema: 1;
  runId: string;
  startedAt: Instant;
  endedAt: Instant;
  durationMs: number;
  end: RunEnd;
  exitCode: number | null;
  signal: string | null;
  message: string | null;
  /** The last kibibytes of each stream, redacted. */
  stdoutTail: string;
  stderrTail: string;
  stdoutBytes: number;
  stderrBytes: number;
  agent: AgentReport | null;
  /** Processes that would not die. */
  survivors: number[];
}

/** What is to be found of a run on this machine. */
export type Observation =
  | { state: "unclaimed" } // recorded, but nothing has started it yet
  | { state: "running"; pid: number }
  | { state: "finished"; exit: ExitRecord }
  | { state: "revoked" }
  | { state: "lost"; reason: string /** Processes that would not die; absent: none is left. */; survivors?: number[] };
