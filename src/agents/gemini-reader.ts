import type { FailureCategory } from "../domain/failure.ts";
import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify } from "./classify.ts";
import { totalUsage } from "./price.ts";
import {
  addWarning,
  clip,
  clipInput,
  cutLineWarning,
  isSessionId,
  type Json,
  lastLineWith,
  maxEventText,
  maxFinalText,
  number,
  object,
  parseLine,
  type Reader,
  type ReaderOptions,
  string,
  tokensByModel,
  unfinished,
} from "./stream.ts";

/** Reads `gemini --output-format stream-json`. */
export function geminiReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const warnings: string[] = [];
  let session: AgentReport["session"] = null;
  /** What the agent has said since its last tool: it comes in pieces, and the last of these texts is its final message. */
  let said = "";
  let untold = "";
  let answers = 0;
  let lastType: unknown;
  let trouble: string | undefined;
  let result: Json | undefined;
  let news = false;

  function read(line: Json): AgentEvent[] {
    switch (line.type) {
      case "init":
        if (!isSessionId(line.session_id)) return [];
        session = { id: line.session_id, provider: "gemini" };
        return [{ type: "session", session }];
      case "message":
        return line.role === "assistant" ? readPiece(string(line.content) ?? "") : [];
      case "tool_use": {
        const events = tellText();
        said = "";
        trouble = undefined;
        // Several tools of one answer come one after the other.
        if (lastType !== "tool_use") answers += 1;
        const call = { callId: string(line.tool_id) ?? "", tool: string(line.tool_name) ?? "", input: clipInput(line.parameters) };
        return [...events, { type: "tool_use", ...call }];
      }
      case "tool_result": {
        const output = string(object(line.error)?.message) ?? string(line.output) ?? "";
        const callId = string(line.tool_id) ?? "";
        return [{ type: "tool_result", callId, isError: line.status === "error", output: clip(output, maxEventText) }];
      }
      case "error": {
        news = false;
        const message = string(line.message) ?? "";
        if (line.severity === "error") trouble = message;
        addWarning(warnings, message);
        return [{ type: "warning", message: clip(message, 1000) }];
      }
      case "result":
        result = line;
        return [...tellText(), { type: "result", ok: line.status === "success", text: clip(failureText() ?? said, maxFinalText) }];
      default:
        return [];
    }
  }

  function readPiece(text: string): AgentEvent[] {
    trouble = undefined;
    said = clip(said + text, maxFinalText);
    untold += text;
    return untold.length >= maxEventText ? tellText() : [];
  }

  function tellText(): AgentEvent[] {
    const text = untold;
    untold = "";
    return text.trim() === "" ? [] : [{ type: "text", text: clip(text, maxEventText) }];
  }

  function failureText(): string | undefined {
    if (result === undefined || result.status === "success") return undefined;
    return readableError(string(object(result.error)?.message) ?? trouble ?? "the run ended with an error");
  }

  function spent(): Spent | null {
    const stats = object(result?.stats);
    if (!stats) return null;
    const models = tokensByModel();
    for (const [model, each] of Object.entries(object(stats.models) ?? {})) models.add(model, tokensOf(object(each) ?? {}));
    return { byModel: models.all(), costUsd: null, partial: result?.status !== "success" };
  }

  function failure(info: Parameters<Reader["end"]>[0]): AgentReport["failure"] {
    const message = failureText();
    if (message === undefined && result !== undefined) return null;
    if (message === undefined) {
      // It tells nobody but stderr that it asks its provider again.
      const waited = trouble ?? lastLineWith(info.stderrTail, /attempt \d+ failed|retrying/i);
      const found = unfinished(info, waited === undefined ? undefined : { message: clip(waited, 1000) }, now());
      const category = found.category === "unknown" ? byExitCode[info.exitCode ?? 0] : undefined;
      return category === undefined ? found : { ...found, category };
    }
    const error = object(result?.error) ?? {};
    const codes = [string(error.type)];
    // What names the error may lie around the words.
    const said = string(error.message) ?? message;
    return { ...classify({ codes, status: statusOf(error, info.exitCode), message: said, stderr: info.stderrTail }, now()), message };
  }

  return {
    line(text, isCut) {
      // It repeats its prompt, which may be longer than a line is read.
      if (isCut && /^.{0,200}"role":"user"/.test(text)) return [];
      if (isCut) {
        news = false;
        const message = cutLineWarning(text);
        addWarning(warnings, message);
        return [{ type: "warning", message }];
      }
      const line = parseLine(text);
      news = line !== undefined;
      if (!line) return [];
      const events = read(line);
      lastType = line.type;
      return events;
    },
    progress: () => news,
    spent,
    end(info) {
      const failed = failure(info);
      const used = spent();
      return {
        provider: "gemini",
        session,
        finalText: failed === null ? said : null,
        usage: used === null ? null : totalUsage(used),
        costUsd: null,
        spent: used,
        turns: result === undefined ? null : answers + 1,
        failure: failed,
        warnings,
      };
    },
  };
}

/** Its counts of input include what came from the cache; what it thought is in the total alone. */
function tokensOf(stats: Json): Usage {
  const cacheReadTokens = number(stats.cached);
  const input = number(stats.input_tokens);
  return {
    inputTokens: Math.max(0, input - cacheReadTokens),
    outputTokens: Math.max(number(stats.output_tokens), number(stats.total_tokens) - input),
    cacheReadTokens,
    cacheWriteTokens: 0,
  };
}

/** The provider's answer stands in brackets, as it came. */
function readableError(text: string): string {
  const body = parseLine(text.replace(/^\[API Error: /, "").replace(/\]$/, ""));
  const error = object(body?.error) ?? body;
  return clip(string(error?.message) ?? text, 1000);
}

/** What it means by its own exit codes, for those that say nothing else. */
const byExitCode: Record<number, FailureCategory> = {
  41: "auth",
  42: "environment",
  44: "environment",
  52: "environment",
  53: "budget",
  55: "environment",
};

/** The HTTP status: as code, or as exit code, of which the system keeps the last eight bits. */
function statusOf(error: Json, exitCode: number | null): number | null {
  if (typeof error.code === "number" && error.code >= 400) return error.code;
  const inner = object(parseLine((string(error.message) ?? "").replace(/^\[API Error: /, "").replace(/\]$/, ""))?.error)?.code;
  if (typeof inner === "number") return inner;
  return [400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529].find((status) => status % 256 === exitCode) ?? null;
}
