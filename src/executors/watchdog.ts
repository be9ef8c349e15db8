import { monotonicMs } from "../lib/monotonic.ts";

/** Ends a run that takes too long or has gone silent. */
export interface Watchdog {
  /** The run has made progress: silence starts anew. */
  progress(): void;
  stop(): void;
}

/** Longer timers overflow: Node fires them after one millisecond. Short ones also bound what a suspended machine can cost. */
const longestTimerMs = 1000;
/** A timer that comes later than this was held up, by a suspended machine or a stopped process: that time does not count. */
const latenessMs = 250;

interface Limits {
  wallMs: number;
  /** Null: silence is fine. */
  idleMs: number | null;
  /** How long the silence before the first progress may be, if that is longer. */
  startMs?: number;
  /** Whether the run waits for work of its own, such as a long tool: that is no silence. */
  isBusy?: () => boolean;
}

/**
 * Calls `onTimeout` once, with the limit that was reached: when `wallMs` have passed or `idleMs` without progress. Only time
 * in which this process could run counts, by the monotonic clock `now`.
 */
export function startWatchdog(
  limits: Limits,
  onTimeout: (kind: "timeout" | "idle", limitMs: number) => void,
  now: () => number = monotonicMs,
): Watchdog {
  let awakeMs = 0;
  let progressAt = 0;
  let mayBeSilentMs = limits.idleMs === null ? Number.POSITIVE_INFINITY : Math.max(limits.idleMs, limits.startMs ?? 0);
  let lookedAt = now();
  let plannedMs = 0;
  let isExcused = false;
  let timer: NodeJS.Timeout | undefined;

  function awake(): number {
    const at = now();
    awakeMs += Math.min(at - lookedAt, plannedMs);
    plannedMs = Math.max(0, plannedMs - (at - lookedAt));
    lookedAt = at;
    return awakeMs;
  }

  function look(): void {
    const isLate = now() - lookedAt > plannedMs + latenessMs;
    const at = awake();
    if (limits.isBusy?.()) progressAt = at;
    const wallLeft = limits.wallMs - at;
    const idleLeft = progressAt + mayBeSilentMs - at;
    const due = wallLeft <= 0 ? "timeout" : idleLeft <= 0 ? "idle" : null;
    if (due !== null && (!isLate || isExcused)) {
      onTimeout(due, due === "timeout" ? limits.wallMs : mayBeSilentMs);
      return;
    }
    // After a wake-up, what the run has said meanwhile is yet to be read: it gets one more look, and no third.
    isExcused = due !== null;
    plannedMs = due === null ? Math.ceil(Math.min(wallLeft, idleLeft, longestTimerMs)) : latenessMs;
    timer = setTimeout(look, plannedMs);
  }

  look();
  return {
    progress() {
      progressAt = awake();
      mayBeSilentMs = limits.idleMs ?? Number.POSITIVE_INFINITY;
    },
    stop() {
      clearTimeout(timer);
    },
  };
}
