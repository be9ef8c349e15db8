import type { RunRef } from "../domain/run.ts";

/** Those of the variables that are named. */
export function namedIn(env: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
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
