import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
  watch,
  writeSync,
} from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Every call to the file system that state/ makes goes through here, so that a fault can be injected at any of them.
 * This file imports nothing but node, so that the process beside each run starts fast.
 */
export const disk = {
  link,
  mkdir,
  open,
  readdir,
  rename,
  unlink,
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  unlinkSync,
  watch,
  writeSync,
};

const fresh = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
const tempPrefix = ".tmp-";
let temps = 0;
/** Temporary files that this process is writing or about to give their name. */
const inFlight = new Set<string>();
/** No write takes this long: the process of that number is another one by now. */
const longestWriteMs = 3600 * 1000;

/**
 * Removes from a folder what atomic writes have left whose process died over them. What is younger than `youngMs` stays where processes
 * of other pid namespaces write, too: their numbers say nothing here. Throws system errors.
 */
export function sweep(dir: string, youngMs = 0): void {
  for (const name of namesIn(dir)) {
    const path = join(dir, name);
    if (!name.startsWith(tempPrefix) || isBeingWritten(path, Number.parseInt(name.slice(tempPrefix.length), 10))) continue;
    if (youngMs === 0 || isOlder(path, youngMs)) disk.unlinkSync(path);
  }
}

/** Names in a folder; none where there is no such folder. Throws system errors. */
export function namesIn(dir: string): string[] {
  try {
    return disk.readdirSync(dir);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return [];
    throw error;
  }
}

function isBeingWritten(path: string, writer: number): boolean {
  // In a container, each start may have the number of the one before.
  if (writer === process.pid) return inFlight.has(path);
  if (!(writer > 0) || !isAlive(writer)) return false;
  return !isOlder(path, longestWriteMs);
}

function isOlder(path: string, ms: number): boolean {
  const stat = disk.lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs >= ms;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !hasCode(error, "ESRCH");
  }
}

/** Whether `error` is a system error with this code, e.g. "ENOENT". */
export function hasCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}

/** The code of a system error, e.g. "ENOSPC"; undefined for every other error. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code?.startsWith("ERR_") ? undefined : code;
}

/** Identifies a version of a file well enough to know that it need not be read again; its time counts in quarter microseconds. */
export function signatureOf(stat: { dev: number; ino: number; size: number; mtimeMs: number }): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}`;
}

function temporary(dir: string): string {
  temps += 1;
  const path = join(dir, `${tempPrefix}${process.pid}-${temps}-${Math.random().toString(36).slice(2, 10)}`);
  inFlight.add(path);
  return path;
}

/** Unit tests turn syncing off to be fast: nothing there survives a power cut anyway. */
function syncs(): boolean {
  return process.env.ORCH_FSYNC !== "0";
}

async function writeAll(file: FileHandle, text: string): Promise<void> {
  const bytes = Buffer.from(text);
  // A filling disk takes a part of the bytes without an error; only the next write tells.
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

/** Writes `text`, synced, to a new file in `dir`; returns its path and its signature. Throws system errors, without litter. */
export async function writeTemporary(dir: string, text: string): Promise<{ path: string; signature: string }> {
  const path = temporary(dir);
  try {
    const file = await disk.open(path, fresh, 0o600);
    try {
      await writeAll(file, text);
      if (syncs()) await file.sync();
      return { path, signature: signatureOf(await file.stat()) };
    } finally {
      await file.close();
    }
  } catch (error) {
    await dropTemporary(path);
    throw error;
  }
}

/** Makes the names in a folder durable. */
export async function syncDir(dir: string): Promise<void> {
  if (!syncs()) return;
  const handle = await disk.open(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes a file; one that is not there is fine. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

/** Removes a temporary file. Failing to is no failure of what it was for: the next start sweeps it. */
export async function dropTemporary(path: string): Promise<void> {
  inFlight.delete(path);
  await disk.unlink(path).catch(() => undefined);
}

/** Creates a folder (0700) and its missing parents, and makes their names durable. */
export async function makeDir(dir: string): Promise<void> {
  const first = await disk.mkdir(dir, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = dir; made.length >= first.length; made = dirname(made)) await syncDir(dirname(made));
}

/**
 * Creates a folder (0700) and its missing parents below `root`, durably. `root` itself is never created: where somebody
 * has moved it away, this throws ENOENT and leaves nothing in its old place.
 */
export async function makeDirBelow(root: string, dir: string): Promise<void> {
  try {
    await disk.mkdir(dir, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, "EEXIST") && disk.lstatSync(dir, { throwIfNoEntry: false })?.isDirectory()) return;
    const parent = dirname(dir);
    if (!hasCode(error, "ENOENT") || parent === root) throw error;
    await makeDirBelow(root, parent);
    return makeDirBelow(root, dir);
  }
  await syncDir(dirname(dir));
}

/** Gives `path` a second name. False when that name is taken. */
export async function linkUnlessThere(path: string, name: string): Promise<boolean> {
  try {
    await disk.link(path, name);
    return true;
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
}

/**
 * Puts a whole new file (0600) in the place of what was there: readers see the old or the new one, and once this
 * returns, a power cut does not bring the old one back. Throws system errors: either file is there then, and no litter.
 */
export async function writeDurable(file: string, text: string): Promise<void> {
  const temp = await writeTemporary(dirname(file), text);
  await moveTemporary(temp.path, file);
}

/** Gives a temporary file its name for good, durably, in the place of what was there. Throws system errors and leaves no litter then. */
export async function moveTemporary(path: string, file: string): Promise<void> {
  try {
    await disk.rename(path, file);
    inFlight.delete(path);
  } catch (error) {
    await dropTemporary(path);
    throw error;
  }
  await syncDir(dirname(file));
}

/**
 * Creates a whole file (0600), durably, unless the name is taken: of several writers exactly one gets true.
 * Throws system errors and leaves neither file nor litter then.
 */
export async function linkExclusive(file: string, text: string): Promise<boolean> {
  const temp = await writeTemporary(dirname(file), text);
  let created: boolean;
  try {
    created = await linkUnlessThere(temp.path, file);
  } finally {
    await dropTemporary(temp.path);
  }
  if (!created) return false;
  try {
    await syncDir(dirname(file));
    return true;
  } catch (error) {
    await disk.unlink(file).catch(() => undefined);
    throw error;
  }
}

/** linkExclusive() for programs that have nothing else to do meanwhile. */
export function linkExclusiveSync(file: string, text: string): boolean {
  const temp = temporary(dirname(file));
  inFlight.delete(temp);
  const fd = disk.openSync(temp, fresh, 0o600);
  try {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) at += disk.writeSync(fd, bytes, at);
    if (syncs()) disk.fsyncSync(fd);
    disk.linkSync(temp, file);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    disk.closeSync(fd);
    disk.unlinkSync(temp);
  }
  if (syncs()) {
    const dir = disk.openSync(dirname(file), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      disk.fsyncSync(dir);
    } finally {
      disk.closeSync(dir);
    }
  }
  return true;
}

/** Adds `text` to the end of a file (0600, created when missing) and makes it durable. Throws system errors. */
export async function appendDurable(file: string, text: string): Promise<void> {
  const handle = await disk.open(file, constants.O_CREAT | constants.O_APPEND | constants.O_WRONLY | constants.O_NOFOLLOW, 0o600);
  try {
    const isNew = (await handle.stat()).size === 0;
    await writeAll(handle, text);
    if (syncs()) await handle.datasync();
    if (isNew) await syncDir(dirname(file));
  } finally {
    await handle.close();
  }
}
