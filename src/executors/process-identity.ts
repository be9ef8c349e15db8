import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { isPassing } from "../lib/passing.ts";

/** One process for all time: the pid alone is used again sooner or later. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot on Linux, the start date elsewhere; "" where unknown. */
  start: string;
  /** "" where unknown. */
  bootId: string;
}

/** What /proc/<pid>/stat tells of a process. */
export interface ProcessStat {
  pid: number;
  /** One letter; Z is a zombie: dead, but not yet collected by its parent. */
  state: string;
  ppid: number;
  /** Process group. */
  pgid: number;
  /** Session. */
  sid: number;
  start: string;
}

/** Identifies this process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, start: startOf(process.pid) ?? "", bootId: bootId() };
}

/**
 * Identifies this process as those see it who have given it their own /proc as a descriptor: in a pid namespace it has another pid
 * for itself than for them. Throws when the descriptor is none of /proc.
 */
export function identityIn(procFd: number): ProcessIdentity {
  const { pid, start } = parseStat(readFileSync(`/proc/self/fd/${procFd}/self/stat`, "latin1"));
  return { pid, start, bootId: bootId() };
}

/** The pids that processes of this pid namespace have for those whose /proc the descriptor is; those that are gone are left out. */
export function pidsIn(procFd: number, pids: readonly number[]): number[] {
  const proc = `/proc/self/fd/${procFd}`;
  const ours = readlinkSync("/proc/self/ns/pid");
  const isAmong = (name: string) => {
    try {
      const innermost = /^NSpid:.*?(\d+)$/m.exec(readFileSync(`${proc}/${name}/status`, "latin1"))?.[1];
      return pids.includes(Number(innermost)) && readlinkSync(`${proc}/${name}/ns/pid`) === ours;
    } catch {
      return false; // gone meanwhile
    }
  };
  return readdirSync(proc)
    .filter((name) => /^\d+$/.test(name) && isAmong(name))
    .map(Number);
}

/**
 * Whether that very process runs; another one that got its pid later does not count, nor does a zombie. Throws errors of a
 * busy machine: a process that cannot be looked at now is not dead.
 */
export function isAlive(process: ProcessIdentity): boolean {
  return process.bootId === bootId() && startOf(process.pid) === process.start;
}

let knownBootId: string | undefined;

/** Tells this boot of the machine from all others; "" where the system has no such id. Throws errors of a busy machine. */
export function bootId(): string {
  if (knownBootId !== undefined) return knownBootId;
  try {
    knownBootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch (error) {
    if (isPassing(error)) throw error;
    knownBootId = "";
  }
  return knownBootId;
}

/** The stat line of a process, undefined if there is none (or no /proc). */
export function readStat(pid: number): ProcessStat | undefined {
  const line = readProc(pid, "stat");
  return line === undefined ? undefined : parseStat(line);
}

let buffer = Buffer.allocUnsafe(16 * 1024);

/** A file of /proc/<pid>/, its bytes as Latin-1; undefined when there is none or it is not for us. Hundreds are read at once: readFileSync takes four times as long. */
export function readProc(pid: number, name: "stat" | "environ" | "cmdline"): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(`/proc/${pid}/${name}`, "r");
    let length = 0;
    for (let n = -1; n !== 0; length += n) {
      if (length === buffer.length) buffer = Buffer.concat([buffer, Buffer.allocUnsafe(buffer.length)]);
      n = readSync(fd, buffer, length, buffer.length - length, null);
      // One read gives a whole stat line.
      if (name === "stat") return buffer.toString("latin1", 0, n);
    }
    return buffer.toString("latin1", 0, length);
  } catch (error) {
    if (isPassing(error)) throw error;
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Takes a line of /proc/<pid>/stat apart. The command may itself hold spaces and parentheses, so the last one counts. */
export function parseStat(line: string): ProcessStat {
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const field = (n: number) => fields[n - 3] ?? "";
  return {
    pid: Number.parseInt(line, 10),
    state: field(3),
    ppid: Number(field(4)),
    pgid: Number(field(5)),
    sid: Number(field(6)),
    start: field(22),
  };
}

function startOf(pid: number): string | undefined {
  if (bootId() === "") return startByPs(pid);
  const stat = readStat(pid);
  return stat === undefined || stat.state === "Z" || stat.state === "X" ? undefined : stat.start;
}

/** The start date of a process as `ps` prints it, for systems without /proc; undefined if it is not running. */
export function startByPs(pid: number): string | undefined {
  // Loading it takes longer than everything else here, and Linux never needs it.
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const ps = spawnSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
  });
  if (isPassing(ps.error)) throw ps.error;
  const [state, ...start] = (ps.stdout ?? "").trim().split(/\s+/);
  return state === undefined || state === "" || state.startsWith("Z") ? undefined : start.join(" ");
}
