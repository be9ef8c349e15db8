/** A step of the program at which it can be made to die. */
export interface Point {
  name: string;
  /** The functions of node:fs, node:fs/promises and node:child_process that take it. */
  calls: string[];
  /** What they are given: the path that is created, removed or opened, or the command line that is started. */
  target: RegExp;
  /** It is part of what only plans with a repository do. */
  git?: true;
  /** It can also die with half of what it writes to this file written. */
  half?: true;
}

const run = "/run/[^/]+/[^/]+/[^/]+";

/** Every step whose neighbours differ in what is on disk or alive. */
export const points: Point[] = [
  { name: "daemon-record", calls: ["rename"], target: /\/daemon\.json$/ },
  { name: "workflow-pinned", calls: ["linkSync"], target: /\/workflows\/[^/]+\.yaml$/ },
  { name: "first-revision", calls: ["link"], target: /\/\.orch\/revs\/[^/]+\/0\.json$/ },
  { name: "revision", calls: ["link"], target: /\/\.orch\/revs\/[^/]+\/[1-9]\d*\.json$/ },
  { name: "ticket-taken", calls: ["rename"], target: /\/\.orch\/trash\/ticket~[^/]*$/ },
  { name: "ticket-shown", calls: ["link"], target: /\/tickets\/[^/]+\.json$/ },
  { name: "trash-emptied", calls: ["unlink"], target: /\/\.orch\/trash\/[^/]*$/ },
  { name: "plan-taken", calls: ["rename"], target: /\/\.orch\/trash\/plan~[^/]*$/ },
  { name: "plan-shown", calls: ["link"], target: /\/plan\.json$/ },
  { name: "temporary", calls: ["open"], target: /\/\.tmp-[^/]*$/, half: true },
  { name: "journal", calls: ["open"], target: /\/journal\.jsonl$/, half: true },
  { name: "prompt", calls: ["rename"], target: /\/prompt\.md$/, git: true },
  { name: "spec", calls: ["rename"], target: /\/spec\.json$/ },
  { name: "shim", calls: ["spawn"], target: /\/shim\.cjs / },
  { name: "revocation", calls: ["link", "rename"], target: new RegExp(`${run}/claim\\.json$`) },
  { name: "stop-request", calls: ["link"], target: new RegExp(`${run}/stop$`) },
  { name: "intent-read", calls: ["openSync"], target: /\/inbox\/new\/[^/]+\.json$/ },
  { name: "answer", calls: ["link"], target: /\/inbox\/done\/[^/]+\.json$/ },
  { name: "intent-removed", calls: ["unlink"], target: /\/inbox\/new\/[^/]+\.json$/ },
  // The shim's:
  { name: "claim", calls: ["linkSync"], target: new RegExp(`${run}/claim\\.json$`) },
  { name: "program", calls: ["spawn"], target: /(\/work\.sh|\/claude) / },
  { name: "session", calls: ["rename"], target: new RegExp(`${run}/session\\.json$`), git: true },
  { name: "exit", calls: ["linkSync"], target: new RegExp(`${run}/exit\\.json$`) },
  // Git commands, which go on when the daemon is gone:
  { name: "worktree-added", calls: ["spawn"], target: / worktree add /, git: true },
  { name: "work-committed", calls: ["spawn"], target: / update-ref -m commit: /, git: true },
  { name: "merge-built", calls: ["spawn"], target: / merge-tree /, git: true },
  { name: "merge-landed", calls: ["spawn"], target: / update-ref -m orchestrator: land /, git: true },
];

/** The places at which a process can be made to die: before, after or halfway through each step that has to do with `git`, or not. */
export function crashPoints(git: boolean): string[] {
  return points
    .filter((point) => git === (point.git ?? false))
    .flatMap(({ name, half }) => [`before-${name}`, ...(half ? [`half-${name}`] : []), `after-${name}`]);
}

/** What is to go wrong in the processes of one home; faults.json beside the home. */
export interface Faults {
  seed: number;
  /** Crash point → at which of its occurrences (from 1) one process dies, once. */
  once: Record<string, number>;
  /** Probability with which a process dies at any crash point. */
  p: number;
  /** Crash point → it takes up to `ms` longer with probability `p`. */
  stalls: Record<string, { p: number; ms: number }>;
}
