import type { AgentReport } from "../domain/session.ts";
import { classify, type FailureSignals, signalsOf } from "./classify.ts";
import {
  clip,
  isPlain,
  type Json,
  maxEventText,
  maxFinalText,
  object,
  parseLine,
  type Reader,
  type ReaderOptions,
  string,
  unfinished,
} from "./stream.ts";

/**
 * Reads a program of which nothing is known: its whole output is its result. Where it writes JSON lines, those that call
 * themselves errors tell why it failed.
 */
export function textReader(provider: string, options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const half = maxFinalText / 2;
  let head = "";
  let tail = "";
  let leftOut = 0;
  let news = false;
  let error: FailureSignals = {};
  /** What it wrote that is no JSON, as long as it is a line or two. */
  let plain = "";

  return {
    line(text, isCut) {
      news = text.trim() !== "";
      const json = isCut ? undefined : parseLine(text);
      if (json) error = errorIn(json) ?? error;
      else if (!isCut && plain.length <= maxFinalHint && isPlain(text)) plain += `${text}\n`;
      const line = `${clip(text, maxEventText)}\n`;
      if (head.length < half && tail === "") head += line;
      else {
        tail += line;
        if (tail.length > 2 * half) {
          leftOut += tail.length - half;
          tail = tail.slice(-half);
        }
      }
      return news ? [{ type: "text", text: clip(text, maxEventText) }] : [];
    },
    progress: () => news,
    spent: () => null,
    end(info) {
      const output = leftOut > 0 ? `${head}[… ${leftOut} characters left out …]\n${tail}` : head + tail;
      const text = output.trim();
      return {
        provider,
        session: null,
        finalText: text === "" ? null : text,
        usage: null,
        costUsd: null,
        turns: null,
        failure: failure(),
        warnings: [],
      };

      function failure(): AgentReport["failure"] {
        if (info.end !== "exited") return unfinished(info, undefined, now());
        if (info.exitCode === 0) return null;
        const how = info.signal ? `killed by ${info.signal}` : `exit code ${info.exitCode}`;
        const found = classify({ ...error, stderr: info.stderrTail, finalText: plain.trim() }, now());
        return {
          ...(found.category === "unknown" && info.signal !== null ? { category: "infrastructure" as const } : found),
          message: [clip(error.message ?? info.stderrTail.trim(), 500), how].filter(Boolean).join(" — "),
        };
      }
    },
  };
}

/** More than a hint may have. */
const maxFinalHint = 300;

/** The error that a line of JSON is; undefined for everything else, and for the errors of tools, which are the agent's to handle. */
function errorIn(line: Json): FailureSignals | undefined {
  const type = string(line.type) ?? string(line.event) ?? "";
  if (/tool|command|function|user|prompt|item|message/i.test(type)) return undefined;
  if (line.error) return signalsOf(line.error);
  return /(?:^|[._-])(?:error|failed|failure)$/i.test(type) ? signalsOf(object(line.data) ?? line) : undefined;
}
