import { isUtf8 } from "node:buffer";
import { constants } from "node:fs";
import type { z } from "zod";
import { UserError } from "../domain/errors.ts";
import { jsonErrorAt } from "../lib/json-syntax.ts";
import { disk, hasCode, signatureOf, systemCode } from "./atomic-write.ts";
import { lineAndColumn, placeOf } from "./json-places.ts";

/** What is wrong with a file that is there but cannot be used. Line and column count from 1. */
export interface Problem {
  file: string;
  line?: number;
  column?: number;
  message: string;
  hint: string;
}

/** A file that is there but cannot be used. */
export class Unreadable extends UserError {
  readonly problem: Problem;
  /** The system did not let it be read: what it holds may well be good. */
  readonly refused: boolean;
  constructor(problem: Problem, { refused = false } = {}) {
    const place = [problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":");
    super(`${place}: ${problem.message}`, { hint: problem.hint, exit: "invalid" });
    this.problem = problem;
    this.refused = refused;
  }
}

/** A file's bytes as text, with what tells this version from another. */
export interface FileText {
  text: string;
  signature: string;
  mtimeMs: number;
}

const maxBytes = 4 * 1024 * 1024;
const maxDepth = 64;
let shared = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Reads a regular file of at most 4 MiB of UTF-8. Undefined when there is none. Never opens anything but a regular file:
 * a FIFO would block and a symbolic link could lead anywhere. Throws Unreadable.
 */
export function readTextFile(file: string): FileText | undefined {
  const before = statFile(file);
  if (before === undefined) return undefined;
  let fd: number;
  try {
    fd = disk.openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw refusal(file, error);
  }
  try {
    let length = 0;
    for (;;) {
      if (length === shared.length) shared = Buffer.concat([shared, Buffer.allocUnsafeSlow(shared.length)]);
      const count = disk.readSync(fd, shared, length, shared.length - length, null);
      if (count === 0) break;
      length += count;
      if (length > maxBytes) throw tooLarge(file);
    }
    return { text: decode(file, shared.subarray(0, length)), signature: before.signature, mtimeMs: before.mtimeMs };
  } catch (error) {
    throw error instanceof Unreadable ? error : refusal(file, error);
  } finally {
    disk.closeSync(fd);
  }
}

/** The signature of a regular file; undefined when there is none. Throws Unreadable for anything else of that name. */
export function statFile(file: string): { signature: string; mtimeMs: number } | undefined {
  const stat = disk.lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (!stat.isFile()) {
    const kind = stat.isSymbolicLink() ? "a symbolic link" : stat.isDirectory() ? "a folder" : "not a regular file";
    throw new Unreadable({ file, message: `this is ${kind}`, hint: "put a regular file in its place" });
  }
  if (stat.size > maxBytes) throw tooLarge(file);
  return { signature: signatureOf(stat), mtimeMs: stat.mtimeMs };
}

function tooLarge(file: string): Unreadable {
  return new Unreadable({ file, message: `larger than ${maxBytes / 1024 / 1024} MiB`, hint: "shorten its texts" });
}

function refusal(file: string, error: unknown): Unreadable {
  return new Unreadable(systemProblem(file, systemCode(error) ?? String(error)), { refused: true });
}

/** What is wrong with a file or folder that the system does not let be read; `code` is that of its error. */
export function systemProblem(file: string, code: string): Problem {
  return { file, message: `cannot be read (${code})`, hint: "check its owner, its permissions and the disk" };
}

function decode(file: string, bytes: Buffer): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || bytes.subarray(0, 64).includes(0)) {
    throw new Unreadable({ file, message: "is UTF-16 or binary", hint: "save it as UTF-8" });
  }
  if (!isUtf8(bytes)) throw new Unreadable({ file, message: "is not valid UTF-8", hint: "save it as UTF-8" });
  const start = first === 0xef && second === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  return bytes.toString("utf8", start);
}

/**
 * The value of a JSON text, `file` naming it in errors. Stricter than JSON.parse: no `__proto__` keys, no numbers
 * that overflow, at most 64 levels. Throws Unreadable, for syntax errors with line and column.
 */
export function parseJson(text: string, file: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw syntaxProblem(text, file, error as SyntaxError);
  }
  checkValue(value, file, "", 1);
  return value;
}

function checkValue(value: unknown, file: string, path: string, depth: number): void {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new Unreadable({ file, message: `${path}: number out of range`, hint: "write a smaller number" });
  }
  if (typeof value !== "object" || value === null) return;
  if (depth > maxDepth) {
    throw new Unreadable({ file, message: `nested deeper than ${maxDepth} levels`, hint: "flatten it" });
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) checkValue(item, file, `${path}[${index}]`, depth + 1);
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    // Most values are texts, of which there is nothing to check, so that their place need not be named.
    if (typeof item === "string" && key !== "__proto__") continue;
    const field = path === "" ? key : `${path}.${key}`;
    if (key === "__proto__") throw new Unreadable({ file, message: `${field}: this key is not allowed`, hint: "rename the key" });
    checkValue(item, file, field, depth + 1);
  }
}

function syntaxProblem(text: string, file: string, error: SyntaxError): Unreadable {
  const hint = "correct the JSON; nothing of the file is used until then";
  if (text.trim() === "") return new Unreadable({ file, line: 1, column: 1, message: "the file is empty", hint });
  const at = jsonErrorAt(text, error);
  const message = error.message.replace(/ in JSON at position.*/s, "").replace(/, (\.\.\.)?".*/s, "");
  return new Unreadable({ file, ...lineAndColumn(text, at), message: message.replace(/ JSON input$/, " of the file"), hint });
}

/** Validates a value against a schema; throws Unreadable that names the first wrong fields, and where the first is in `text`. */
export function validate<T>(schema: z.ZodType<T>, value: unknown, file: string, text?: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const place = text === undefined ? {} : placeOf(text, result.error.issues[0]?.path ?? []);
  const issues = result.error.issues.slice(0, 3).map((issue) => {
    const path = issue.path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
    return `${path.replace(/^\./, "") || "the file"}: ${issue.message}`;
  });
  const more = result.error.issues.length > 3 ? ` and ${result.error.issues.length - 3} more` : "";
  throw new Unreadable({ file, ...place, message: `${issues.join("; ")}${more}`, hint: "correct the named field" });
}

/** Reads and parses a file (see readTextFile and parseJson). Undefined when there is none. Throws Unreadable. */
export function readJson(file: string): unknown {
  const read = readTextFile(file);
  return read === undefined ? undefined : parseJson(read.text, file);
}
