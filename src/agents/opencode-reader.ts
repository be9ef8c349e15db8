import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify, type FailureSignals, signalsOf } from "./classify.ts";
import { totalUsage } from "./price.ts";
import {
  addWarning,
  array,
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

/** Reads `opencode run --format json`. Its stream has no last line: it is over when a step ended by itself and the program with 0. */
export function opencodeReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const warnings: string[] = [];
  const models = tokensByModel();
  let costUsd = 0;
  let session: AgentReport["session"] = null;
  /** The texts of the message that came last: one message may have several. */
  let message = { id: "", text: "" };
  /** Why the last step ended; undefined while one is under way. */
  let reason: string | undefined;
  let steps = 0;
  let error: { message: string; signals: FailureSignals } | undefined;
  let rejected: string[] = [];
  let news = false;

  function read(line: Json): AgentEvent[] {
    const part = object(line.part) ?? {};
    switch (line.type) {
      case "step_start":
        reason = undefined;
        return [];
      case "text":
        return readText(part);
      case "tool_use":
        return readTool(part);
      case "step_finish":
        return readStep(part);
      case "error":
        return readError(object(line.error) ?? {});
      case "done":
        rejected = array(line.rejected).flatMap((permission) => string(permission) ?? []);
        return [];
      default:
        return [];
    }
  }

  function readText(part: Json): AgentEvent[] {
    const text = string(part.text) ?? "";
    const id = string(part.messageID) ?? "";
    message = { id, text: clip(id === message.id && message.text !== "" ? `${message.text}\n${text}` : text, maxFinalText) };
    error = undefined;
    return text.trim() === "" ? [] : [{ type: "text", text: clip(text, maxEventText) }];
  }

  /** A tool is told once, when it is over. */
  function readTool(part: Json): AgentEvent[] {
    error = undefined;
    const state = object(part.state) ?? {};
    const callId = string(part.callID) ?? "";
    const isError = state.status === "error";
    const output = string(isError ? state.error : state.output) ?? "";
    return [
      { type: "tool_use", callId, tool: string(part.tool) ?? "", input: clipInput(state.input) },
      { type: "tool_result", callId, isError, output: clip(output, maxEventText) },
    ];
  }

  function readStep(part: Json): AgentEvent[] {
    steps += 1;
    reason = string(part.reason) ?? "";
    const used = tokensOf(object(part.tokens) ?? {});
    const cost = number(part.cost);
    models.add(null, used);
    costUsd += cost;
    const events: AgentEvent[] = Object.values(used).some((count) => count > 0) ? [{ type: "usage", usage: used, costUsd: cost }] : [];
    return reason === "stop" ? [...events, { type: "result", ok: true, text: message.text }] : events;
  }

  function readError(found: Json): AgentEvent[] {
    news = false;
    const data = object(found.data) ?? {};
    const name = string(found.name);
    error = { message: clip(string(data.message) ?? name ?? "the session failed", 1000), signals: signalsOf(found) };
    // It may not exit after this.
    return [{ type: "result", ok: false, text: error.message }];
  }

  function spent(): Spent | null {
    if (steps === 0) return error === undefined ? null : { byModel: [], costUsd: 0, partial: false };
    const isFree = models.all().every(({ usage }) => Object.values(usage).every((count) => count === 0));
    // Nothing is what a model without a price costs by its reckoning.
    return { byModel: models.all(), costUsd: costUsd > 0 || isFree ? costUsd : null, partial: reason !== "stop" };
  }

  function failure(info: Parameters<Reader["end"]>[0]): AgentReport["failure"] {
    if (error !== undefined && info.end !== "stopped") {
      return { ...classify({ ...error.signals, stderr: info.stderrTail }, now()), message: error.message };
    }
    if (rejected.length > 0) {
      return { category: "environment", message: `it was refused what nobody was there to permit: ${rejected.join(", ")}` };
    }
    if (reason === "stop" && info.end === "exited" && info.exitCode === 0) return null;
    if (reason === "length") return { category: "stuck", message: "the answer exceeded the model's output limit" };
    // It tells nobody but its log that it asks its provider again.
    const waited = lastLineWith(info.stderrTail, /error\.error="/)?.replace(/^.*error\.error="([^"]*).*$/, "$1");
    return unfinished(info, waited === undefined ? undefined : { message: clip(waited, 1000) }, now());
  }

  return {
    line(text, isCut) {
      if (isCut) {
        news = false;
        const warning = cutLineWarning(text);
        addWarning(warnings, warning);
        return [{ type: "warning", message: warning }];
      }
      const line = parseLine(text);
      news = line !== undefined;
      if (!line) return [];
      const begun: AgentEvent[] = [];
      if (session === null && isSessionId(line.sessionID)) {
        session = { id: line.sessionID, provider: "opencode" };
        begun.push({ type: "session", session });
      }
      return [...begun, ...read(line)];
    },
    progress: () => news,
    spent,
    end(info) {
      const failed = failure(info);
      const used = spent();
      return {
        provider: "opencode",
        session,
        finalText: failed === null ? message.text : null,
        usage: used === null ? null : totalUsage(used),
        costUsd: used?.costUsd ?? null,
        spent: used,
        turns: steps > 0 ? steps : null,
        failure: failed,
        warnings,
      };
    },
  };
}

/** What it thought is in the total, and not always in the output. */
function tokensOf(tokens: Json): Usage {
  const cache = object(tokens.cache) ?? {};
  const inputTokens = number(tokens.input);
  const cacheReadTokens = number(cache.read);
  const cacheWriteTokens = number(cache.write);
  const output = number(tokens.output);
  const total =
    typeof tokens.total === "number" ? tokens.total - inputTokens - cacheReadTokens - cacheWriteTokens : output + number(tokens.reasoning);
  return { inputTokens, outputTokens: Math.max(output, total), cacheReadTokens, cacheWriteTokens };
}
