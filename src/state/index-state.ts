import { disk } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import type { TrackedPlan, TrackedTicket } from "./load.ts";

/** A replaced file in a plan's trash, to be looked at when `due` (milliseconds since the epoch) has come. */
export interface LateSave {
  planId: string;
  path: string;
  due: number;
}

/** Hints from the system about what may have changed. They may be lost, so polling never depends on them. */
export interface Watching {
  /** Watches the folder of all plans, anew if another folder has taken its place. */
  followRoot(): void;
  /** Watches a plan's folders, anew if others have taken their place. */
  followPlan(planId: string): void;
  forgetPlan(planId: string): void;
  close(): void;
}

/** What an open index holds in memory. */
export interface IndexState {
  readonly stateDir: string;
  readonly writer: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly plans: Map<string, TrackedPlan>;
  rootSignature: string | undefined;
  readonly hintedPlans: Set<string>;
  readonly hintedTickets: Set<TrackedTicket>;
  lateSaves: LateSave[];
  /** Plans in whose trash something may lie that `lateSaves` does not name: a crash or a failing disk has left it. */
  readonly straysIn: Set<string>;
  /** All tickets in the order in which polls look at them; undefined when some came or went. */
  ticketRing: TrackedTicket[] | undefined;
  /** Plans whose folder went away under a step; what is still under way on them has to end before they are read again. */
  dropped: TrackedPlan[];
  /** What is new and not told yet; a poll that fails leaves it to the next one. */
  changes: Change[];
  watching: Watching | undefined;
}

/** An unreadable file this young may be half written. */
export const graceMs = 2000;

/** Whether the program that writes `file` may not have finished. */
export function halfWritten(state: IndexState, file: string): boolean {
  const stat = disk.lstatSync(file, { throwIfNoEntry: false });
  return stat === undefined || Math.abs(state.now() - stat.mtimeMs) < graceMs;
}

/** Runs `step` once every earlier step on this ticket, or on this plan's file, is over. Throws what `step` throws. */
export function inTurn<T>(entry: Pick<TrackedTicket | TrackedPlan, "tail">, step: () => Promise<T>): Promise<T> {
  const result = (entry.tail ?? Promise.resolve()).then(step, step);
  const tail = result
    .catch(() => undefined)
    .then(() => {
      if (entry.tail === tail) entry.tail = undefined;
    });
  entry.tail = tail;
  return result;
}

/** Sets what is wrong with a ticket's files; true when that is news. A revision that cannot be read outweighs `problem`. */
export function judgeTicket(entry: TrackedTicket, problem: TrackedTicket["problem"]): boolean {
  const before = entry.problem;
  entry.problem = entry.truthProblem ?? problem;
  return before?.message !== entry.problem?.message || before?.line !== entry.problem?.line;
}

/** For as long as this a program that had a replaced file open may still write to it. */
export const trashMs = 3000;

/** Remembers to look once more at a replaced file when `due` (milliseconds since the epoch) has come. */
export function keepInTrash(state: IndexState, planId: string, path: string | undefined, due: number): void {
  if (path !== undefined) state.lateSaves.push({ planId, path, due });
}
