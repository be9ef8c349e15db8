import { tryFileLock } from "../lib/file-lock.ts";
import { lockFile } from "./layout.ts";

/** Whoever holds it is the only one who commits. The system gives it back when its holder dies. */
export interface DaemonLock {
  release(): void;
}

/** Takes the daemon lock, or gives undefined while another process holds it. Throws when the file cannot be opened. */
export function acquireDaemonLock(home: string): DaemonLock | undefined {
  const release = tryFileLock(lockFile(home));
  return release && { release };
}
