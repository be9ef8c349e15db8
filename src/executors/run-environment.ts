import type { RunRef } from "../domain/run.ts";

/**
 * The shim gets the program's variables under other names: NODE_OPTIONS, LD_PRELOAD and their like are meant for the
 * program and must not act on the shim.
 */
const prefix = "ORCH_ENV_";

/** The shim's environment that carries `env` for its program. */
export function packEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [prefix + name, value]));
}

/** What `packEnvironment` packed, as far as it is named. */
export function unpackEnvironment(names: readonly string[], packed: Readonly<NodeJS.ProcessEnv>): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of names) {
    const value = packed[prefix + name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/**
 * The variables that every process of a run inherits. ORCH_RUN names the run for people and as a key for outside
 * effects; ORCH_RUN_DIR is what the processes are recognised by, for it is unique on the machine even when two homes
 * hold plans of the same name.
 */
export function runVariables(ref: RunRef, realRunDir: string): { ORCH_RUN: string; ORCH_RUN_DIR: string } {
  return { ORCH_RUN: `${ref.planId}/${ref.ticketId}/${ref.runId}`, ORCH_RUN_DIR: realRunDir };
}

/** The entry of the environment that marks the processes of the run in this folder (its real path). */
export function markVariable(realRunDir: string): string {
  return `ORCH_RUN_DIR=${realRunDir}`;
}
