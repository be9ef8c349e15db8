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

/**
 * Calls `onTimeout` once, when `wallMs` have passed or `idleMs` without progress (null: silence is fine). Only time in
 * which this process could run counts, by the monotonic clock `now`.
 */
export function startWatchdog(
  limits: { wallMs: number; idleMs: number | null },
  onTimeout: (kind: "timeout" | "idle") => void,
  now: () => number = monotonicMs,
): Watchdog {
  let awakeMs = 0;
  let progressAt = 0;
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
    const wallLeft = limits.wallMs - at;
    const idleLeft = limits.idleMs === null ? Number.POSITIVE_INFINITY : progressAt + limits.idleMs - at;
    const due = wallLeft <= 0 ? "timeout" : idleLeft <= 0 ? "idle" : null;
    if (due !== null && (!isLate || isExcused)) {
      onTimeout(due);
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
    },
    stop() {
      clearTimeout(timer);
    },
  };
}
