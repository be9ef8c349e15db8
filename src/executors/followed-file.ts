import { closeSync, openSync, readSync, unlinkSync } from "node:fs";

/** A file that a child writes and we read behind it. */
export interface FollowedFile {
  writeFd: number;
  /** Begins to read. */
  follow(): void;
  /** Reads the rest, as far as nobody writes it faster than we read, and closes our own ends; the child's stays open. */
  close(): void;
}

const followMs = 100;
/** Read in one go at most, so that a fast writer cannot hold us for ever. */
const maxReadBytes = 16 * 1024 ** 2;
const maxRestBytes = 1024 ** 3;

/**
 * Opens `path` for a child's stdout and hands each new piece to `onData`. The file loses its name at once: what it
 * holds is not redacted and must be gone whenever the last process that has it open is, however that one ends.
 */
export function openFollowedFile(path: string, onData: (bytes: Buffer) => void): FollowedFile {
  const writeFd = openSync(path, "ax", 0o600);
  const readFd = openSync(path, "r");
  unlinkSync(path);
  const buffer = Buffer.allocUnsafe(256 * 1024);
  let position = 0;
  let timer: NodeJS.Timeout | undefined;

  /** Whether all there was has been read. */
  function read(limit: number): boolean {
    for (const stopAt = position + limit; position < stopAt; ) {
      const length = readSync(readFd, buffer, 0, buffer.length, position);
      if (length === 0) return true;
      position += length;
      onData(buffer.subarray(0, length));
    }
    return false;
  }

  function follow(): void {
    timer = setTimeout(follow, read(maxReadBytes) ? followMs : 0);
  }

  return {
    writeFd,
    follow,
    close() {
      clearTimeout(timer);
      read(maxRestBytes);
      closeSync(writeFd);
      closeSync(readFd);
    },
  };
}
