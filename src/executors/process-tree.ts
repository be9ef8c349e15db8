import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "../lib/monotonic.ts";
import { isPassing } from "../lib/passing.ts";
import { type ProcessStat, readProc, readStat } from "./process-identity.ts";

/** How to recognise the processes of a run. */
export interface TreeMark {
  /** `NAME=value`, an entry of the environment that nothing outside the run has; every descendant inherits it. */
  variable: string;
  /** The process that the run began with, which led a session of its own; null when unknown. */
  leader: { pid: number; start: string } | null;
  /** The parent of this process, where it takes in what loses its own parent and nothing else. */
  adopter?: number;
}

interface Candidate extends ProcessStat {
  marked: boolean;
}

const maxPasses = 20;
const deathMs = 1000;
/** How long a machine that has no file to open, or the like, is left to itself before the next pass. */
const busyMs = 100;

/**
 * Kills what a run has left: everything that carries its mark, was in its leader's session or process group, or
 * descends from such a process, or was adopted. Resolves with the pids that would not die. Never kills the calling process.
 * Rejects with an error of a busy machine that lasts.
 *
 * What escapes where nobody adopts orphans: a process that cleared its environment AND left the session AND whose parent is gone.
 */
export async function killTree(mark: TreeMark): Promise<number[]> {
  for (let pass = 1; pass <= maxPasses; pass++) {
    const look = tryFindTree(mark);
    if (look === undefined) {
      await delay(busyMs);
      continue;
    }
    const { found, complete } = look;
    // A process that vanished while we looked may have handed over to a child that we did not see; three looks settle it.
    if (found.length === 0 && (complete || pass >= 3)) return [];
    for (const { pid } of found) kill(pid);
    await gone(found);
  }
  return findTree(mark).found.map(({ pid }) => pid);
}

/** As killTree(), without waiting: for a process that is about to end. What a dying process starts meanwhile is met in another pass. */
export function killTreeNow(mark: TreeMark): void {
  for (let pass = 1; pass <= 3; pass++) for (const { pid } of tryFindTree(mark)?.found ?? []) kill(pid);
}

/** findTree(); undefined when the machine is too busy to tell. */
function tryFindTree(mark: TreeMark): ReturnType<typeof findTree> | undefined {
  try {
    return findTree(mark);
  } catch (error) {
    if (isPassing(error)) return undefined;
    throw error;
  }
}

/** Every live process of a run, without killing any; `complete` is false when some process vanished while it was looked at. Throws errors of a busy machine. */
export function findTree(mark: TreeMark): { found: ProcessStat[]; complete: boolean } {
  const { candidates, complete } = listProcesses(mark);
  const live = candidates.filter(({ pid, state }) => pid !== process.pid && state !== "Z" && state !== "X");
  // A number is given to a new process only once its group and session are empty: then none of the old ones is left in them.
  const reused = live.some(({ pid, start }) => pid === mark.leader?.pid && start !== mark.leader.start);
  // 0 is no session: it stands for kernel threads and for what was started outside of our pid namespace.
  const session = reused ? 0 : (mark.leader?.pid ?? 0);
  // Without its parent this process would have another one, whose children are none of ours.
  const adopter = process.ppid === mark.adopter ? mark.adopter : Number.NaN;
  const seeds = live.filter(
    ({ marked, sid, pgid, ppid }) => marked || ppid === adopter || (session > 0 && (sid === session || pgid === session)),
  );
  const members = new Map(seeds.map((seed) => [seed.pid, seed]));
  for (let grown = -1; grown !== members.size; ) {
    grown = members.size;
    for (const candidate of live) if (members.has(candidate.ppid)) members.set(candidate.pid, candidate);
  }
  return { found: [...members.values()], complete };
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone already, or not ours to kill: the next look tells.
  }
}

async function gone(processes: ProcessStat[]): Promise<void> {
  const deadline = monotonicMs() + deathMs;
  let left = processes;
  while (left.length > 0 && monotonicMs() < deadline) {
    left = left.filter(isStillThere);
    if (left.length > 0) await delay(2);
  }
}

function isStillThere(process_: ProcessStat): boolean {
  if (process_.start !== "") {
    const now = readStat(process_.pid);
    return now !== undefined && now.start === process_.start && now.state !== "Z" && now.state !== "X";
  }
  try {
    return process.kill(process_.pid, 0);
  } catch {
    return false;
  }
}

function listProcesses(mark: TreeMark): { candidates: Candidate[]; complete: boolean } {
  let names: string[];
  try {
    names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch (error) {
    if (isPassing(error)) throw error;
    names = [];
  }
  if (names.length === 0) return { candidates: listByPs(mark.variable), complete: true };
  const candidates: Candidate[] = [];
  let complete = true;
  // Nothing of a run is older than its leader, which spares us most environments.
  const oldest = Number(mark.leader?.start ?? 0);
  const entry = `${Buffer.from(mark.variable).toString("latin1")}\0`;
  for (const name of names) {
    const stat = readStat(Number(name));
    if (stat === undefined) complete = false;
    else if (Number(stat.start) >= oldest) candidates.push({ ...stat, marked: hasEntry(readProc(stat.pid, "environ"), entry) });
  }
  return { candidates, complete };
}

function hasEntry(environ: string | undefined, entry: string): boolean {
  return environ !== undefined && (environ.startsWith(entry) || environ.includes(`\0${entry}`));
}

function listByPs(variable: string): Candidate[] {
  const ps = spawnSync("ps", ["-axEww", "-o", "pid=,ppid=,pgid=,stat=,command="], { encoding: "utf8", maxBuffer: 256 * 1024 * 1024 });
  if (isPassing(ps.error)) throw ps.error;
  return parsePs(ps.stdout ?? "", variable);
}

/** Reads what `ps -axEww -o pid=,ppid=,pgid=,stat=,command=` prints (macOS: the environment follows the command). */
export function parsePs(text: string, variable: string): Candidate[] {
  const candidates: Candidate[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line);
    if (match === null) continue;
    const [, pid, ppid, pgid, state = "", command = ""] = match;
    candidates.push({
      pid: Number(pid),
      ppid: Number(ppid),
      pgid: Number(pgid),
      sid: 0,
      state: state.charAt(0),
      start: "",
      marked: ` ${command} `.includes(` ${variable} `),
    });
  }
  return candidates;
}
