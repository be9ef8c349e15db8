import { makeDir, removeIfThere, sweep, writeDurable } from "./atomic-write.ts";
import { readJson, Unreadable } from "./json.ts";
import { daemonFile } from "./layout.ts";

/** daemon.json: who runs, for people and `status`. It excludes nobody; the lock does. */
export interface DaemonRecord {
  pid: number;
  /** Start time of the process in clock ticks since boot; "" where unknown. */
  start: string;
  bootId: string;
  version: string;
  since: string;
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
  const { pid, start, bootId, version, since } = value as Record<string, unknown>;
  return Number.isInteger(pid) && [start, bootId, version, since].every((field) => typeof field === "string");
}

/** Removes daemon.json when the daemon that `own` identifies ends in good order; another daemon's, or what none wrote, stays. */
export async function removeDaemonRecord(home: string, own: Pick<DaemonRecord, "pid" | "start" | "bootId">): Promise<void> {
  const record = readJson(daemonFile(home));
  const isOwn = isRecord(record) && record.pid === own.pid && record.start === own.start && record.bootId === own.bootId;
  if (isOwn) await removeIfThere(daemonFile(home));
}
