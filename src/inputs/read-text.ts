import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** No file that a person writes for the program is larger, in bytes. */
const maxFileBytes = 1024 * 1024;

export type TextFile = { text: string; mode: number; uid: number } | { problem: "missing" | "unreadable"; message: string };

/** Reads a regular UTF-8 file of at most 1 MiB. What is wrong with it is an answer, never thrown. */
export function readTextFile(file: string): TextFile {
  let fd: number;
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return { problem: "missing", message: "the file does not exist" };
    return { problem: "unreadable", message: `the file cannot be opened (${code})` };
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) return { problem: "unreadable", message: "this is not a regular file" };
    const bytes = readAtMost(fd, maxFileBytes + 1);
    if (bytes.length > maxFileBytes) return { problem: "unreadable", message: "the file is larger than 1 MiB" };
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (text.includes("\0")) return { problem: "unreadable", message: "the file holds NUL bytes; it is not UTF-8 text" };
    return { text, mode: stat.mode, uid: stat.uid };
  } catch (error) {
    if (error instanceof TypeError) return { problem: "unreadable", message: "the file is not UTF-8 text" };
    return { problem: "unreadable", message: `the file cannot be read (${(error as NodeJS.ErrnoException).code})` };
  } finally {
    closeSync(fd);
  }
}

// A file may grow while it is read, so the size that stat reports is not a bound.
function readAtMost(fd: number, limit: number): Buffer {
  const chunks: Buffer[] = [];
  for (let length = 0; length < limit; ) {
    const chunk = Buffer.allocUnsafe(Math.min(64 * 1024, limit - length));
    const count = readSync(fd, chunk, 0, chunk.length, null);
    if (count === 0) break;
    chunks.push(chunk.subarray(0, count));
    length += count;
  }
  return Buffer.concat(chunks);
}
