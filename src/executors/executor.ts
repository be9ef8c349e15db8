import type { Observation, RunRef, RunSpec } from "../domain/run.ts";

/**
 * Where runs happen. Everything that matters is read back by `observe`, so a caller that was restarted, or missed every
 * hint, comes to the same end as one that heard them all.
 */
export interface Executor {
  /**
   * Starts a run; resolves once it is under way or will surely claim itself later, not when it ends. `env` is the whole
   * environment of the program; `prompt` becomes its standard input where the spec says so. Rejects if nothing was
   * started: the run is then still unclaimed and may be revoked.
   */
  submit(spec: RunSpec, env: Readonly<Record<string, string>>, prompt: string | null): Promise<void>;
  /**
   * Asks a run to stop, by its own stop ladder, and notes that its budget is used up where that is why. May be repeated; does
   * nothing to a run that is over.
   */
  cancel(ref: RunRef, why?: "budget"): Promise<void>;
  /** What has become of a run. The answer of a run that is over never changes. Throws when its records are unreadable. */
  observe(ref: RunRef): Promise<Observation>;
  /** Makes sure that a run which nothing has claimed never starts, and says what has become of it: someone may have been faster. */
  revoke(ref: RunRef): Promise<Observation>;
  /** Calls back when something about a run may have changed: its end, its session. A hint can be lost or be wrong. */
  onHint(callback: (ref: RunRef) => void): void;
  /** Stops watching. Runs go on. */
  close(): void;
}
