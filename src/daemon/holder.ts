import { isAlive } from "../executors/process-identity.ts";
import { type DaemonRecord, readDaemonRecord } from "../state/daemon-record.ts";

/** The process that holds this home, as daemon.json has it, if that very process is alive. */
export function runningDaemon(home: string): DaemonRecord | undefined {
  try {
    const record = readDaemonRecord(home);
    return record && isAlive(record) ? record : undefined;
  } catch {
    // For people only: the lock decides what may be done.
    return undefined;
  }
}
