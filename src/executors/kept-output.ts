import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";

/** A file that keeps the head and the tail of what is written to it. */
export interface KeptOutput {
  write(text: string): void;
  /** Joins head and tail to one file, with a line in between that says how much was left out. */
  close(): void;
}

/**
 * Opens `path` (0600) for at most `keepBytes` of output. The first half of them is the head; what comes later goes to
 * two files beside it, of a quarter each, that replace one another, until `close` appends them to the head. A disk that takes no more
 * costs output, never the run.
 */
export function createKeptOutput(path: string, keepBytes: number): KeptOutput {
  const headLimit = Math.floor(keepBytes / 2);
  const segmentLimit = Math.max(1, Math.floor(keepBytes / 4));
  const segments = [`${path}.tail-0`, `${path}.tail-1`] as const;
  let fd = open(path);
  let headBytes = 0;
  let skipped = 0;
  let current: 0 | 1 = 0;
  const sizes: [number, number] = [0, 0];
  let inTail = false;

  /** Takes a piece that fits into a segment. */
  function writePiece(bytes: Buffer): void {
    if (!inTail && headBytes + bytes.length <= headLimit) {
      headBytes += append(fd, bytes);
      return;
    }
    if (!inTail) {
      inTail = true;
      close(fd);
      fd = open(segments[0]);
    }
    if (sizes[current] + bytes.length > segmentLimit) {
      close(fd);
      current = current === 0 ? 1 : 0;
      skipped += sizes[current];
      sizes[current] = 0;
      fd = open(segments[current]);
    }
    sizes[current] += append(fd, bytes);
  }

  return {
    write(text) {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; at += segmentLimit) writePiece(bytes.subarray(at, at + segmentLimit));
    },
    close() {
      close(fd);
      if (!inTail) return;
      fd = open(path, "a");
      const older = current === 0 ? 1 : 0;
      if (skipped > 0) append(fd, Buffer.from(`\n[… ${skipped} bytes left out …]\n`));
      for (const which of [older, current] as const) {
        if (sizes[which] > 0) append(fd, read(segments[which]));
        remove(segments[which]);
      }
      close(fd);
    },
  };
}

function open(path: string, flags = "w"): number | null {
  try {
    return openSync(path, flags, 0o600);
  } catch {
    return null;
  }
}

function append(fd: number | null, bytes: Buffer): number {
  let written = 0;
  try {
    while (fd !== null && written < bytes.length) written += writeSync(fd, bytes, written);
  } catch {
    // The disk is full: the run goes on without this piece.
  }
  return written;
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was never opened.
  }
}

function close(fd: number | null): void {
  if (fd !== null) closeSync(fd);
}
