import { makeDir, removeIfThere, sweep, writeDurable } from "./atomic-write.ts";
import { readJson, Unreadable } from "./json.ts";
import { daemonFile } from "./layout.ts";

/** How a daemon was started and how far it is. */
export interface DaemonFacts {
  /** What stood behind `orchestrator daemon`, in full: enough to start the same again. */
  arguments: string[];
  cwd: string;
  /** It has taken up what it found. */
  ready: boolean;
  /** The service manager that starts it; null when a person did. */
  service: string | null;
}

/** daemon.json: who runs, for people and `status`. It excludes nobody; the lock does. */
export interface DaemonRecord {
  pid: number;
  /** Start time of the process in clock ticks since boot; "" where unknown. */
  start: string;
  bootId: string;
  version: string;
  since: string;
  /** Of a daemon alone: other commands hold a home as well, for as long as they work. */
  daemon?: DaemonFacts;
}

/** Writes daemon.json. The caller holds the lock. */
export async function writeDaemonRecord(home: string, record: DaemonRecord): Promise<void> {
  await makeDir(home);
  sweep(home);
  await writeDurable(daemonFile(home), `${JSON.stringify(record, undefined, 2)}\n`);
}

/** Reads daemon.json; undefined when no daemon has left one. Its process may be gone. Throws Unreadable. */
export function readDaemonRecord(home: string): DaemonRecord | undefined {
  const file = daemonFile(home);
  const value = readJson(file);
  if (value === undefined || isRecord(value)) return value;
  throw new Unreadable({
    file,
    message: "this is not what a daemon writes",
    hint: "remove the file; a running daemon holds its lock anyway",
  });
}

function isRecord(value: unknown): value is DaemonRecord {
  if (typeof value !== "object" || value === null) return false;
  const { pid, start, bootId, version, since, daemon } = value as Record<string, unknown>;
  const areTexts = [start, bootId, version, since].every((field) => typeof field === "string");
  return Number.isInteger(pid) && areTexts && (daemon === undefined || isFacts(daemon));
}

function isFacts(value: unknown): value is DaemonFacts {
  if (typeof value !== "object" || value === null) return false;
  const { arguments: list, cwd, ready, service } = value as Record<string, unknown>;
  const isList = Array.isArray(list) && list.every((text) => typeof text === "string");
  return isList && typeof cwd === "string" && typeof ready === "boolean" && (service === null || typeof service === "string");
}

/** Removes daemon.json when the daemon that `own` identifies ends in good order; another daemon's, or what none wrote, stays. */
export async function removeDaemonRecord(home: string, own: Pick<DaemonRecord, "pid" | "start" | "bootId">): Promise<void> {
  const record = readJson(daemonFile(home));
  const isOwn = isRecord(record) && record.pid === own.pid && record.start === own.start && record.bootId === own.bootId;
  if (isOwn) await removeIfThere(daemonFile(home));
}
