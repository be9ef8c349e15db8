import { readFileSync } from "node:fs";
import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify } from "./classify.ts";
import { tokensOf as tokenCount, totalUsage } from "./price.ts";
import {
  addWarning,
  clip,
  clipInput,
  cutLineWarning,
  isSessionId,
  type Json,
  maxEventText,
  maxFinalText,
  number,
  object,
  parseLine,
  type Reader,
  type ReaderOptions,
  since,
  string,
  tokensByModel,
  unfinished,
} from "./stream.ts";

/** Reads `copilot --output-format json`. */
export function copilotReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const warnings: string[] = [];
  let session: AgentReport["session"] = null;
  let lastText = "";
  let turns = 0;
  let error: { type: string | undefined; message: string; status: number | null } | undefined;
  let trouble: { message: string; status: number | null } | undefined;
  let exitCode: number | undefined;
  let used: Spent | null = null;
  let news = false;

  function read(line: Json): AgentEvent[] {
    const data = object(line.data) ?? {};
    switch (line.type) {
      case "assistant.message":
        return readMessage(data);
      case "tool.execution_start": {
        const call = { callId: string(data.toolCallId) ?? "", tool: string(data.toolName) ?? "", input: clipInput(data.arguments) };
        return [{ type: "tool_use", ...call }];
      }
      case "tool.execution_complete": {
        const output = string(object(data.result)?.content) ?? string(object(data.error)?.message) ?? "";
        const callId = string(data.toolCallId) ?? "";
        return [{ type: "tool_result", callId, isError: data.success === false, output: clip(output, maxEventText) }];
      }
      case "model.call_failure": {
        trouble = { message: readableError(string(data.errorMessage) ?? "the request failed"), status: statusOf(data) };
        return [{ type: "retry", attempt: number(data.retryAttempt) + 1, reason: clip(trouble.message, 1000) }];
      }
      case "session.error":
        error = { type: string(data.errorType), message: clip(string(data.message) ?? "", 1000), status: statusOf(data) };
        return [];
      case "session.warning":
        return warn(string(data.message) ?? "");
      case "result":
        return readResult(line);
      default:
        return [];
    }
  }

  function readMessage(data: Json): AgentEvent[] {
    error = undefined;
    trouble = undefined;
    // The words of a subagent are not the agent's own.
    if (string(data.parentToolCallId) !== undefined) return [];
    turns += 1;
    const text = string(data.content) ?? "";
    lastText = clip(text, maxFinalText);
    return text.trim() === "" ? [] : [{ type: "text", text: clip(text, maxEventText) }];
  }

  function readResult(line: Json): AgentEvent[] {
    exitCode = number(line.exitCode);
    const events: AgentEvent[] = [
      { type: "result", ok: exitCode === 0, text: clip(exitCode === 0 ? lastText : (error?.message ?? ""), maxFinalText) },
    ];
    return [...knowSession(line.sessionId), ...events];
  }

  function knowSession(id: unknown): AgentEvent[] {
    if (!isSessionId(id) || session?.id === id) return [];
    session = { id, provider: "copilot" };
    return [{ type: "session", session }];
  }

  function warn(message: string): AgentEvent[] {
    addWarning(warnings, message);
    return [{ type: "warning", message: clip(message, 1000) }];
  }

  /** Its stream says nothing of tokens; it writes them down at its end, as totals over the session. It bills requests, not money. */
  function readUsage(): void {
    const path = valueAfter(options.argv, "--usage-output-file");
    const metrics = path === undefined ? undefined : object(parseLine(readText(path) ?? "")?.modelMetrics);
    if (metrics === undefined) return;
    const models = tokensByModel();
    for (const [model, metric] of Object.entries(metrics)) models.add(model, tokensOf(object(object(metric)?.usage) ?? {}));
    const byModel = models.all();
    const [only, ...others] = byModel;
    const before = options.priorUsage;
    const isResumed = before !== undefined && tokenCount(before) > 0;
    const total = totalUsage({ byModel, costUsd: null, partial: false });
    // Which model had used what before is not known.
    const added = { model: others.length === 0 ? (only?.model ?? null) : null, usage: since(before, total) };
    used = { byModel: isResumed ? [added] : byModel, costUsd: null, partial: exitCode === undefined };
  }

  function failure(info: Parameters<Reader["end"]>[0]): AgentReport["failure"] {
    if (exitCode === 0) return null;
    if (error !== undefined) {
      const { type, message, status } = error;
      return { ...classify({ codes: [type], status, message, stderr: info.stderrTail }, now()), message };
    }
    if (trouble !== undefined && info.end !== "stopped") {
      const { message, status } = trouble;
      return { ...classify({ status, message, stderr: info.stderrTail }, now()), message };
    }
    return unfinished(info, undefined, now());
  }

  return {
    line(text, isCut) {
      // It repeats its prompt, twice, which may be longer than a line is read.
      if (isCut && text.startsWith('{"type":"user.message"')) return [];
      if (isCut) {
        news = false;
        return warn(cutLineWarning(text));
      }
      const line = parseLine(text);
      const type = string(line?.type) ?? "";
      // Requests that fail, and what surrounds them, are none; nor is the state of the session.
      news = /^(assistant|tool)\./.test(type) && !/^assistant\.(turn_|idle)/.test(type);
      if (!line) return [];
      // Its id is told at the end alone; it is ours.
      const begun = session === null && type !== "result" ? knowSession(chosenSession(options.argv)) : [];
      return [...begun, ...read(line)];
    },
    progress: () => news,
    spent: () => used,
    end(info) {
      const failed = failure(info);
      readUsage();
      const told = used;
      return {
        provider: "copilot",
        session,
        finalText: failed === null ? lastText : null,
        usage: told === null ? null : totalUsage(told),
        costUsd: null,
        spent: told,
        turns: turns > 0 ? turns : null,
        failure: failed,
        warnings,
      };
    },
  };
}

function chosenSession(argv: string[] = []): string | undefined {
  return valueAfter(argv, "--session-id") ?? argv.find((arg) => arg.startsWith("--resume="))?.slice("--resume=".length);
}

function valueAfter(argv: string[] = [], flag: string): string | undefined {
  const index = argv.lastIndexOf(flag);
  return index === -1 ? undefined : argv[index + 1];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function statusOf(data: Json): number | null {
  return typeof data.statusCode === "number" ? data.statusCode : null;
}

function readableError(text: string): string {
  const body = parseLine(text);
  return clip(string(object(body?.error)?.message) ?? string(body?.message) ?? text, 1000);
}

/** Its counts of input include the cache. */
function tokensOf(data: Json): Usage {
  const cacheReadTokens = number(data.cacheReadTokens);
  const cacheWriteTokens = number(data.cacheWriteTokens);
  return {
    inputTokens: Math.max(0, number(data.inputTokens) - cacheReadTokens - cacheWriteTokens),
    outputTokens: number(data.outputTokens),
    cacheReadTokens,
    cacheWriteTokens,
  };
}
