import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** Locks of this process. A database that nothing refers to any more would be closed, and its lock given back, by the garbage collector. */
const held = new Set<DatabaseSync>();

/** The lock was still held by somebody else when the time was up. */
export class LockTimeout extends Error {
  constructor(file: string, timeoutMs: number) {
    super(`${file} was still locked after ${timeoutMs} ms`);
    this.name = "LockTimeout";
  }
}

/**
 * Takes an exclusive lock on `file`, at once or not at all: returns the function that gives it back, or undefined while
 * another process (or another caller in this one) holds it. The system drops it when its holder dies, however it dies.
 * Nothing else may ever open `file`: POSIX locks vanish when their process closes any descriptor of the file.
 * Creates missing folders. Throws when the file cannot be opened or is no lock file, and ENOSPC on a full disk.
 */
export function tryFileLock(file: string): (() => void) | undefined {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  createPrivate(file);
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw isFull(error) ? Object.assign(new Error(`ENOSPC: no space left on device, lock '${file}'`), { code: "ENOSPC" }) : error;
  }
  held.add(database);
  return () => {
    if (held.delete(database)) database.close();
  };
}

/** SQLite would create it readable by everybody. A file that is there is not opened, as no descriptor of it may ever be closed. */
function createPrivate(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function isBusy(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === 5;
}

/** Even a lock needs a little room: SQLite begins its journal. */
function isFull(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === 13;
}

/**
 * Runs `fn` while holding the lock on `file` (see tryFileLock) and gives its result. Waits without blocking the event
 * loop; throws LockTimeout when the lock is not free within `timeoutMs`.
 */
export async function withFileLock<T>(file: string, fn: () => Promise<T> | T, options: { timeoutMs: number }): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (let pause = 2; ; pause = Math.min(pause * 2, 100)) {
    const release = tryFileLock(file);
    if (release) {
      try {
        return await fn();
      } finally {
        release();
      }
    }
    if (performance.now() > deadline) throw new LockTimeout(file, options.timeoutMs);
    // Random, so that several waiters do not meet at the same instant again and again.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
  }
}
