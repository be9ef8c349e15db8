import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { UserError } from "../domain/errors.ts";

/** No list of work that a person keeps in a file is longer, in bytes. */
const maxBytes = 16 * 1024 * 1024;

/** The bytes of a regular UTF-8 file of at most 16 MiB. UserError, which names the file, for everything else. */
export async function readSourceBytes(file: string): Promise<Buffer> {
  // Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error) => {
    throw cannotOpen(file, error);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw refused(file, "is not a regular file", "name a file");
    if (stat.size > maxBytes) throw refused(file, "is larger than 16 MiB", "split it");
    const bytes = await handle.readFile();
    if (bytes.length > maxBytes) throw refused(file, "is larger than 16 MiB", "split it");
    if (!isUtf8(bytes) || bytes.includes(0)) throw refused(file, "is not UTF-8 text", "save it as UTF-8");
    return bytes;
  } finally {
    await handle.close();
  }
}

/** A file's text with line feeds alone, whatever system wrote it, and without a byte order mark. UserError as `readSourceBytes`. */
export async function readSourceText(file: string): Promise<string> {
  const bytes = await readSourceBytes(file);
  return withoutMark(bytes.toString("utf8")).replace(/\r\n?/g, "\n");
}

/** A text without its byte order mark. */
export function withoutMark(text: string): string {
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

function cannotOpen(file: string, error: unknown): UserError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT" || code === "ENOTDIR")
    return new UserError(`There is no file ${file}.`, { exit: "notFound", hint: "check the path", cause: error });
  return refused(file, `cannot be opened (${code ?? String(error)})`, "check its owner and permissions");
}

function refused(file: string, why: string, hint: string): UserError {
  return new UserError(`${file} ${why}.`, { exit: "invalid", hint });
}
