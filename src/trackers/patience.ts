import { setTimeout as delay } from "node:timers/promises";
import type { UserError } from "../domain/errors.ts";

/** How long a tracker puts up with a service that does not answer as it should. */
export interface Patience {
  /** Milliseconds that one request may take. */
  requestMs: number;
  /** How often a request is made that fails for a reason that may pass. */
  tries: number;
  /** Milliseconds before the second try; doubled for each further one. */
  pauseMs: number;
  /** The longest wait, in milliseconds, for a limit of the service to be lifted. */
  maxWaitMs: number;
  /** Milliseconds between two writes. GitHub takes 80 new comments a minute. */
  writePauseMs: number;
}

export const defaultPatience: Patience = { requestMs: 30_000, tries: 4, pauseMs: 1_000, maxWaitMs: 120_000, writePauseMs: 1_000 };

/** The answer to a request, or why it is worth another try. */
export type Outcome<T> = { value: T } | Again;

/** A failure that may pass. */
export interface Again {
  /** What to tell when patience ends. */
  again: UserError;
  /** Milliseconds until the service will listen; absent when it did not say. */
  afterMs?: number;
  /** A request for less may succeed. */
  tooMuch?: boolean;
}

/**
 * Tries until there is a value. Throws the last failure when patience ends, at once where the wait would be longer than it
 * allows, and the signal's reason when that is aborted.
 */
export async function insist<T>(attempt: () => Promise<Outcome<T>>, patience: Patience, signal?: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    signal?.throwIfAborted();
    const outcome = await attempt();
    if ("value" in outcome) return outcome.value;
    const waitMs = outcome.afterMs ?? patience.pauseMs * 2 ** (tried - 1) * (0.75 + Math.random() / 2);
    if (tried >= patience.tries || waitMs > patience.maxWaitMs) throw outcome.again;
    await delay(waitMs, undefined, { signal });
  }
}
