import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { withFileLock } from "./file-lock.ts";

/** Somebody else changed the file as often as it was about to be rewritten. */
export class FileKeepsChanging extends Error {
  constructor(file: string) {
    super(`${file} was changed by somebody else again and again`);
    this.name = "FileKeepsChanging";
  }
}

const tries = 5;

/**
 * Gives a file of another owner new content, at once or not at all: readers see the old or the new file, with its mode and
 * owner. `change` gets the bytes that are there and returns those that are to be; it is asked again when the file has
 * changed meanwhile, so that no edit is lost. Writers that take the same `lockFile` (see withFileLock) wait for each other, up to
 * `timeoutMs`. Returns whether anything was written. Throws system errors, FileKeepsChanging, and what `change` throws;
 * the file is as it was then.
 */
export async function rewriteFile(
  file: string,
  change: (before: Buffer) => Buffer,
  options: { lockFile: string; timeoutMs: number },
): Promise<boolean> {
  return withFileLock(options.lockFile, () => rewriteNow(realpathSync(file), change), { timeoutMs: options.timeoutMs });
}

function rewriteNow(path: string, change: (before: Buffer) => Buffer): boolean {
  for (let attempt = 0; attempt < tries; attempt++) {
    const before = readFileSync(path);
    const after = change(before);
    if (after.equals(before)) return false;
    if (replaceUnlessChanged(path, before, after)) return true;
  }
  throw new FileKeepsChanging(path);
}

function replaceUnlessChanged(path: string, before: Buffer, after: Buffer): boolean {
  const temp = writeBeside(path, after);
  try {
    // Nothing may come between these two: what is written there now would be lost.
    if (!readFileSync(path).equals(before)) return false;
    renameSync(temp, path);
  } finally {
    dropIfThere(temp);
  }
  syncFolder(dirname(path));
  return true;
}

function writeBeside(path: string, content: Buffer): string {
  const temp = join(dirname(path), `.${process.pid}-${Math.random().toString(36).slice(2, 10)}.tmp`);
  const fd = openSync(temp, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
  try {
    writeFileSync(fd, content);
    keepOwnerAndMode(fd, path);
    fsyncSync(fd);
    return temp;
  } catch (error) {
    dropIfThere(temp);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function keepOwnerAndMode(fd: number, path: string): void {
  const { mode, uid, gid } = statSync(path);
  const own = fstatSync(fd);
  if (own.uid !== uid || own.gid !== gid) fchownSync(fd, uid, gid);
  fchmodSync(fd, mode & 0o7777);
}

function dropIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function syncFolder(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
