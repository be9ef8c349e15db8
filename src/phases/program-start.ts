import type { RunSpec } from "../domain/run.ts";
import type { PhaseContext, Start } from "./phase.ts";

/** A program that a phase runs. Without more it reads nothing, its output is plain text, and silence does not end it. */
export interface Program
  extends Pick<RunSpec, "argv" | "cwd" | "priorUsage" | "model" | "prices" | "limits" | "reserved" | "settleMs" | "endLoops">,
    Partial<Pick<RunSpec, "stdout" | "reader" | "keepBytes" | "stop" | "data">> {
  /** What it reads from its stdin. */
  prompt?: string;
  /** Silence that ends it unless the phase says otherwise. */
  idleSeconds?: number;
  /** Variables that the program does not get, but that nobody is to read in what it says. */
  hidden?: Record<string, string>;
  /** For the log. */
  notes?: string[];
}

/** How a phase begins that runs a program with exactly the environment `env`, within the phase's limits. */
export function programStart(context: PhaseContext, env: Record<string, string>, program: Program): Start {
  const { ref, phase, config } = context;
  const { prompt, idleSeconds: usualIdle, hidden = {}, notes, ...more } = program;
  const wallSeconds = phase.type === "poll" ? phase.checkTimeoutSeconds : (phase.timeoutSeconds ?? config.phaseTimeoutSeconds);
  const idleSeconds = phase.idleTimeoutSeconds ?? usualIdle;
  const spec: RunSpec = {
    ...ref,
    schema: 1,
    phase: phase.id,
    phaseType: phase.type,
    envNames: Object.keys(env),
    ...(Object.keys(hidden).length > 0 ? { hiddenNames: Object.keys(hidden) } : {}),
    stdin: prompt === undefined ? "none" : "prompt",
    stdout: "pump",
    reader: null,
    wallMs: wallSeconds * 1000,
    idleMs: idleSeconds === undefined ? null : idleSeconds * 1000,
    keepBytes: 8 * 1024 * 1024,
    stop: { signal: "SIGTERM", graceMs: 10_000 },
    data: {},
    ...more,
  };
  return { kind: "run", spec, env: { ...hidden, ...env }, prompt: prompt ?? null, ...(notes === undefined ? {} : { notes }) };
}
