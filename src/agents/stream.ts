/** What the readers of structured streams share. Loaded by the shim of every run, so it imports nothing at run time. */

import type { FailureCategory } from "../domain/failure.ts";
import type { RunEnd } from "../domain/run.ts";
import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify, complaints } from "./classify.ts";

export interface ReaderOptions {
  /** Token counts of the session before this run, for CLIs that report totals. */
  priorUsage?: Usage;
  /** What was started: names the file of pi's session, and the session that codex was to resume. */
  argv?: string[];
  /** Clock in epoch milliseconds, for reset times that only name an hour. */
  now?: () => number;
}

/** How the process ended, for the report. */
export interface StreamEnd {
  exitCode: number | null;
  signal: string | null;
  stderrTail: string;
  end: RunEnd;
  /** What a CLI with a structured stream wrote into it as plain text: its own words, such as a usage error. */
  plain?: string;
}

/** Turns a vendor's stream into events, line by line, in bounded memory. Never throws, whatever it is given. */
export interface Reader {
  /**
   * The events of one line of stdout, without its line break. Of a line that was too long (`isCut`) `text` is the beginning with
   * a marker: text like any other, but no data of a structured stream, whatever it looks like.
   */
  line(text: string, isCut?: boolean): AgentEvent[];
  /** Whether the line given last was news. Retry notices, errors and unreadable lines are none: they do not stop an idle timer. */
  progress(): boolean;
  /** What has been used up to the line given last; null when the stream does not tell, or not yet. */
  spent(): Spent | null;
  /** What the run came to. To be called once, after the last line. */
  end(info: StreamEnd): AgentReport;
}

export type Json = Record<string, unknown>;

/** Of one text in an event, in characters. */
export const maxEventText = 32_768;
/** Of the final message, in characters: verdicts are read from it. */
export const maxFinalText = 262_144;
const maxInput = 16_384;
const maxPlain = 2000;
const maxWarnings = 50;
/** A line longer than this is not worth the memory of parsing it. */
const maxLine = 16 * 1024 * 1024;

/** The object on a line, or undefined when there is none. */
export function parseLine(text: string): Json | undefined {
  if (text.length > maxLine || !text.trimStart().startsWith("{")) return undefined;
  try {
    return object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The objects of a line that holds one, or a list of them: what some CLIs print at the end in place of a stream. */
export function parseLines(text: string): Json[] {
  const line = parseLine(text);
  if (line || text.length > maxLine || !text.startsWith("[{")) return line ? [line] : [];
  try {
    return array(JSON.parse(text))
      .map(object)
      .filter((item) => item !== undefined);
  } catch {
    return [];
  }
}

/** Whether a line of a structured stream that holds no object is text of the CLI itself, not a piece of an object. */
export function isPlain(text: string): boolean {
  return text.trim() !== "" && !/^\s*[{[\]}"]/.test(text);
}

/** Gathers the plain text of a structured stream, as far as it is short. */
export function plainText(): { add(text: string): void; all(): string } {
  let kept = "";
  return {
    add(text) {
      if (isPlain(text) && kept.length < maxPlain) kept += `${clip(text, maxPlain)}\n`;
    },
    all: () => kept,
  };
}

export function object(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

export function array(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

export function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A count or an amount; anything else counts as nothing. */
export function number(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

/** Token counts by model, each model once. */
export function tokensByModel(): { add(model: string | null, usage: Usage): void; all(): Spent["byModel"] } {
  const models = new Map<string | null, Usage>();
  return {
    add(model, more) {
      const sum = models.get(model) ?? { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
      sum.inputTokens += more.inputTokens;
      sum.outputTokens += more.outputTokens;
      sum.cacheReadTokens += more.cacheReadTokens;
      sum.cacheWriteTokens += more.cacheWriteTokens;
      models.set(model, sum);
    },
    all: () => [...models].map(([model, usage]) => ({ model, usage: { ...usage } })),
  };
}

/** What this run added. Totals below the earlier ones belong to a thread that began anew. */
export function since(before: Usage | undefined, total: Usage): Usage {
  if (!before) return total;
  const added: Usage = {
    inputTokens: total.inputTokens - before.inputTokens,
    outputTokens: total.outputTokens - before.outputTokens,
    cacheReadTokens: total.cacheReadTokens - before.cacheReadTokens,
    cacheWriteTokens: total.cacheWriteTokens - before.cacheWriteTokens,
  };
  return Object.values(added).some((count) => count < 0) ? total : added;
}

/** The last line of a text that fits; undefined when none does. */
export function lastLineWith(text: string, pattern: RegExp): string | undefined {
  return text
    .split("\n")
    .findLast((line) => pattern.test(line))
    ?.trim();
}

/** The beginning and the end of a long text, with the middle left out. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  const half = Math.floor(max / 2);
  return `${text.slice(0, half)}\n[… ${text.length - 2 * half} characters left out …]\n${text.slice(-half)}`;
}

/** A tool's input, or the beginning of its JSON where it is long. */
export function clipInput(input: unknown): unknown {
  const text = JSON.stringify(input) ?? "null";
  return text.length <= maxInput ? input : { clipped: text.slice(0, maxInput) };
}

/** The text of a message's content: a string, or blocks of which only those of type text count. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  return array(content)
    .map((block) => object(block))
    .filter((block) => block?.type === "text")
    .map((block) => string(block?.text) ?? "")
    .join("\n");
}

/** Adds a warning, once, as long as there are few. */
export function addWarning(warnings: string[], message: string): void {
  const text = clip(message, 1000);
  if (warnings.length < maxWarnings && !warnings.includes(text)) warnings.push(text);
}

/** The warning that a line of a structured stream was too long to be read. */
export function cutLineWarning(text: string): string {
  return `a line was too long to be read; it begins: ${text.slice(0, 80)}`;
}

/** Whether this is an id that a Session may hold. */
export function isSessionId(id: unknown): id is string {
  return typeof id === "string" && /^[A-Za-z0-9_-]{1,128}$/.test(id);
}

const endings: Partial<Record<RunEnd, { category: FailureCategory; message: string }>> = {
  stopped: { category: "aborted", message: "it was stopped" },
  timeout: { category: "timeout", message: "it ran out of time" },
  idle: { category: "stalled", message: "it fell silent" },
  stuck: { category: "stuck", message: "it went in circles" },
  budget: { category: "budget", message: "it used up its budget" },
  output_limit: { category: "infrastructure", message: "it wrote more than is kept" },
  spawn_failed: { category: "environment", message: "it could not be started" },
};

/**
 * Why a run failed whose stream ended without a result. `trouble` is the last error or retry notice that nothing followed:
 * an agent that waits for its provider when its time is up has not stalled.
 */
export function unfinished(
  info: StreamEnd,
  trouble: { message: string; category?: FailureCategory; resetsAt?: string } | undefined,
  now: number,
): NonNullable<AgentReport["failure"]> {
  const ending = endings[info.end];
  if (info.end === "stopped" && ending) return ending;
  if (trouble) {
    const found = trouble.category ? { category: trouble.category } : classify({ message: trouble.message, stderr: info.stderrTail }, now);
    if (found.category !== "unknown" || !ending) {
      const resetsAt = trouble.resetsAt ?? ("resetsAt" in found ? found.resetsAt : undefined);
      return { category: found.category, message: trouble.message, ...(resetsAt === undefined ? {} : { resetsAt }) };
    }
  }
  if (ending) return ending;
  if (info.exitCode === 0)
    return { category: "infrastructure", message: "the stream ended without a result, although the program exited with 0" };
  const killed = info.signal !== null || (info.exitCode !== null && info.exitCode > 128);
  const how = info.signal === null ? `exit code ${info.exitCode}` : `killed by ${info.signal}`;
  const said = [info.stderrTail, info.plain ?? ""].join("\n");
  const stderr = tellingLines(said);
  const found = classify({ stderr: said }, now);
  return {
    ...(found.category === "unknown" && killed ? { category: "infrastructure" as const } : found),
    message: stderr === "" ? `no result (${how})` : `${clip(stderr, 500)} (${how})`,
  };
}

/** What stderr says about a failure: its first lines that sound like one, else its last lines; without what every run prints. */
function tellingLines(stderrTail: string): string {
  const lines = complaints(stderrTail)
    .split("\n")
    .filter((line) => line !== "");
  const telling = lines.filter((line) => /error|not |no |fail|cannot|unable|denied|limit/i.test(line));
  return (telling.length > 0 ? telling.slice(0, 3) : lines.slice(-3)).join("; ");
}
