import { appendFileSync, mkdirSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { stripVTControlCharacters, styleText } from "node:util";
import { type Logger, pino, stdTimeFunctions } from "pino";
import { createRedactor } from "./redact.ts";

export type { Logger } from "pino";

/** Bytes a log file may grow to before it is set aside, and how many set aside are kept: `x.log.1` is the youngest. */
const rotateAtBytes = 10 * 1024 * 1024;
const rotationsKept = 3;
/** Characters of a message beyond which it is cut: logs point to outputs, they do not hold them. */
const longestMessage = 16 * 1024;

const warnLevel = 40;
const errorLevel = 50;

/** The fields of a log line that are shown to people. */
interface Line {
  level: number;
  time: string;
  msg?: string;
  plan?: string;
  ticket?: string;
  err?: { message?: string };
}

/**
 * A log that writes JSON lines to `file` and, for people, short lines to stderr when `console` is set. Lines with the
 * fields `plan` and `ticket` also go to `<plan>/<ticket>.log` beside the file. `secrets` are the values that must not
 * be written, as secretValues() finds them. Files are for their owner alone, bounded in size, and written when the call
 * returns; a disk that takes no more loses lines, never the program, and the next line that fits says how many.
 */
export function createLogger(options: { file: string; console: boolean; level: string; secrets: readonly string[] }): Logger {
  const redact = createRedactor(options.secrets);
  let lost = 0;
  const write = (text: string) => {
    try {
      const json = redact(text.trimEnd());
      const line: Line = JSON.parse(json);
      if (options.console) process.stderr.write(consoleLine(line));
      if (lost > 0) {
        appendBounded(
          options.file,
          `${JSON.stringify({ level: warnLevel, time: line.time, msg: `${lost} log lines could not be written` })}\n`,
        );
        lost = 0;
      }
      appendBounded(options.file, `${json}\n`);
      const ticketFile = ticketLogFile(dirname(options.file), line);
      if (ticketFile) appendBounded(ticketFile, ticketLine(line));
    } catch {
      lost += 1;
    }
  };
  const settings = {
    level: options.level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { log: cutStrings },
    hooks: {
      logMethod(this: Logger, args: Parameters<Logger["info"]>, method: (...args: Parameters<Logger["info"]>) => void) {
        method.apply(this, args.map((arg: unknown) => (typeof arg === "string" ? cut(arg) : arg)) as Parameters<Logger["info"]>);
      },
    },
  };
  return pino(settings, { write });
}

/** The part of a log that is about one ticket; what it is told also goes to the ticket's own file, as plain lines. */
export function ticketLog(logger: Logger, planId: string, ticketId: string): Logger {
  return logger.child({ plan: planId, ticket: ticketId });
}

function cut(text: string): string {
  return text.length <= longestMessage ? text : `${text.slice(0, longestMessage)} … (${text.length - longestMessage} more characters)`;
}

function cutStrings(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, typeof value === "string" ? cut(value) : value]));
}

/** Where a ticket's plain lines go; undefined for lines about no ticket, and for names that would lead elsewhere. */
function ticketLogFile(logDir: string, { plan, ticket }: Line): string | undefined {
  const isName = (id: string | undefined): id is string =>
    typeof id === "string" && id !== "" && basename(id) === id && !id.startsWith(".");
  return isName(plan) && isName(ticket) ? join(logDir, plan, `${ticket}.log`) : undefined;
}

function messageOf({ msg = "", err }: Line): string {
  const cause = err?.message ?? "";
  return harmless(msg.includes(cause) ? msg : `${msg}: ${cause}`);
}

/** `HH:MM:SS [plan/ticket] message` in local time, coloured by severity where stderr shows colours. */
function consoleLine(line: Line): string {
  const clock = new Date(line.time).toTimeString().slice(0, 8);
  const about = [line.plan, line.ticket].filter((id) => id !== undefined).join("/");
  const style = (format: "dim" | "red" | "yellow", text: string) => styleText(format, text, { stream: process.stderr });
  const message = messageOf(line);
  const shown = line.level >= errorLevel ? style("red", message) : line.level >= warnLevel ? style("yellow", message) : message;
  return `${style("dim", clock)} ${about ? `[${harmless(about)}] ` : ""}${shown}\n`;
}

function ticketLine(line: Line): string {
  const severity = line.level >= errorLevel ? "error: " : line.level >= warnLevel ? "warning: " : "";
  return `${line.time} ${severity}${messageOf(line)}\n`;
}

/**
 * What others wrote, made safe for a terminal: no escape sequence, no control or direction-changing character, and
 * no line that could pass for one of the log's own.
 */
function harmless(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\r?\n/g, "\n  ")
    .replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (char) =>
      char === "\n" || char === "\t" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}

/** Appends to a file that only its owner may read, after setting it aside when it has grown too large. */
function appendBounded(file: string, text: string): void {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (size !== undefined && size + Buffer.byteLength(text) > rotateAtBytes) {
    for (let n = rotationsKept; n >= 1; n--) {
      const from = n === 1 ? file : `${file}.${n - 1}`;
      if (statSync(from, { throwIfNoEntry: false })) renameSync(from, `${file}.${n}`);
    }
  }
  appendFileSync(file, text, { mode: 0o600 });
}
