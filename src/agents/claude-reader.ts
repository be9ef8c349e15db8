import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify, epochToInstant } from "./classify.ts";
import {
  addWarning,
  array,
  clip,
  clipInput,
  cutLineWarning,
  isSessionId,
  type Json,
  maxEventText,
  maxFinalText,
  number,
  object,
  parseLines,
  plainText,
  type Reader,
  type ReaderOptions,
  type StreamEnd,
  string,
  textOf,
  tokensByModel,
  unfinished,
} from "./stream.ts";

/** Reads `claude -p --output-format stream-json --verbose`. */
export function claudeReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const warnings: string[] = [];
  const plain = plainText();
  let session: AgentReport["session"] = null;
  let permissionMode: string | undefined;
  /** The last `result` line, with its long text replaced by the clipped one. */
  let result: Json | undefined;
  let errorCode: string | undefined;
  let limit: { resetsAt?: string } | undefined;
  let retrying: string | undefined;
  let news = false;
  /** One answer comes as several lines, each with the usage of its beginning: counted once, and corrected by the result. */
  let answers = new Map<string, { model: string | null; usage: Usage }>();

  function read(line: Json): AgentEvent[] {
    const events: AgentEvent[] = [];
    if (session === null && isSessionId(line.session_id)) {
      session = { id: line.session_id, provider: "claude" };
      events.push({ type: "session", session });
    }
    switch (line.type) {
      case "system":
        return [...events, ...readSystem(line)];
      case "assistant":
        return [...events, ...readAssistant(line)];
      case "user":
        return [...events, ...readToolResults(line)];
      case "rate_limit_event":
        return [...events, ...readLimit(object(line.rate_limit_info) ?? {})];
      case "result":
        return [...events, ...readResult(line)];
      default:
        return events;
    }
  }

  function readSystem(line: Json): AgentEvent[] {
    if (line.subtype === "init") {
      permissionMode = string(line.permissionMode);
      const broken = array(line.mcp_servers)
        .map(object)
        .filter((server) => server?.status === "failed");
      return broken.flatMap((server) => warn(`MCP server "${string(server?.name) ?? ""}" did not start`));
    }
    if (line.subtype === "api_retry") {
      news = false;
      retrying = `${string(line.error) ?? "error"} (${typeof line.error_status === "number" ? `HTTP ${line.error_status}` : "no connection"})`;
      return [{ type: "retry", attempt: number(line.attempt), reason: retrying }];
    }
    if (line.subtype === "model_fallback") return warn(string(line.content) ?? "another model took over");
    return [];
  }

  function readAssistant(line: Json): AgentEvent[] {
    const message = object(line.message) ?? {};
    const code = string(line.error);
    // A subagent's troubles are its parent's to handle; its words are not the agent's own.
    const isMain = (line.parent_tool_use_id ?? null) === null;
    if (code !== undefined) {
      news = false;
      if (isMain) errorCode = code;
      return [{ type: "warning", message: clip(textOf(message.content) || code, 1000) }];
    }
    if (isMain) {
      errorCode = undefined;
      retrying = undefined;
    }
    countAnswer(message);
    return array(message.content).flatMap((part): AgentEvent[] => {
      const block = object(part);
      if (block?.type === "text" && isMain) return [{ type: "text", text: clip(string(block.text) ?? "", maxEventText) }];
      if (block?.type !== "tool_use") return [];
      return [{ type: "tool_use", callId: string(block.id) ?? "", tool: string(block.name) ?? "", input: clipInput(block.input) }];
    });
  }

  function countAnswer(message: Json): void {
    const id = string(message.id);
    const usage = object(message.usage);
    if (id !== undefined && usage) answers.set(id, { model: string(message.model) ?? null, usage: tokensOf(usage) });
  }

  function spent(): Spent {
    const seen = tokensByModel();
    for (const { model, usage } of answers.values()) seen.add(model, usage);
    if (!result) return { byModel: seen.all(), costUsd: null, partial: true };
    const told = tokensByModel();
    const byModel = Object.entries(object(result.modelUsage) ?? {});
    // The mark of a larger context is no part of the model's name elsewhere.
    for (const [model, usage] of byModel) told.add(model.replace(/\[1m\]$/, ""), modelTokens(object(usage) ?? {}));
    if (byModel.length === 0) told.add(null, usageOf(result));
    const costUsd = number(result.total_cost_usd);
    if (answers.size === 0) return { byModel: told.all(), costUsd, partial: false };
    if (succeeded(result)) {
      for (const { model, usage } of answers.values()) told.add(model, usage);
      return { byModel: told.all(), costUsd, partial: true };
    }
    const most = mostOf(told.all(), seen.all());
    return most === undefined ? { byModel: told.all(), costUsd, partial: false } : { byModel: most, costUsd: null, partial: true };
  }

  function readToolResults(line: Json): AgentEvent[] {
    return array(object(line.message)?.content).flatMap((part): AgentEvent[] => {
      const block = object(part);
      if (block?.type !== "tool_result") return [];
      const output = clip(textOf(block.content), maxEventText);
      return [{ type: "tool_result", callId: string(block.tool_use_id) ?? "", isError: block.is_error === true, output }];
    });
  }

  function readLimit(info: Json): AgentEvent[] {
    // The provider talks, not the model.
    news = false;
    const resetsAt = epochToInstant(info.resetsAt);
    const until = resetsAt === undefined ? {} : { resetsAt };
    if (info.status === "rejected") {
      limit = until;
      return [{ type: "limit", status: "rejected", ...until }];
    }
    limit = undefined;
    return [{ type: "limit", status: info.status === "allowed" ? "ok" : "warning", ...until }];
  }

  function readResult(line: Json): AgentEvent[] {
    const text = clip(string(line.result) ?? "", maxFinalText);
    result = { ...line, result: text };
    // A result of a failure leaves out the answer that was cut off, which costs all the same.
    if (succeeded(line)) answers = new Map();
    const usage = usageOf(line);
    const costUsd = number(line.total_cost_usd);
    return [
      { type: "usage", usage, costUsd },
      { type: "result", ok: succeeded(line), text },
    ];
  }

  function warn(message: string): AgentEvent[] {
    addWarning(warnings, message);
    return [{ type: "warning", message: clip(message, 1000) }];
  }

  function failure(info: StreamEnd): AgentReport["failure"] {
    if (!result) {
      const category = errorCode === undefined ? undefined : classify({ codes: [errorCode], limit }, now());
      const reason = errorCode ?? retrying;
      return unfinished(
        { ...info, plain: plain.all() },
        reason === undefined ? undefined : { message: `claude was still trying: ${reason}`, ...category, ...limit },
        now(),
      );
    }
    if (succeeded(result)) return refusals(result);
    const errors = array(result.errors).map((error) => string(error) ?? "");
    const message = string(result.result) || errors.join("; ") || `claude ended with ${string(result.subtype) ?? "an error"}`;
    const codes = [result.subtype, result.terminal_reason, result.stop_reason, errorCode].map(string);
    const status = typeof result.api_error_status === "number" ? result.api_error_status : null;
    return { ...classify({ codes, status, message, limit, stderr: info.stderrTail }, now()), message: clip(message, 1000) };
  }

  /**
   * Tools that claude was not allowed to use. Where permissions are skipped or nothing but the allowed may happen (dontAsk),
   * somebody meant to forbid exactly that; otherwise there was nobody to ask, and the work is most likely not done.
   */
  function refusals(line: Json): AgentReport["failure"] {
    const tools = [...new Set(array(line.permission_denials).map((denial) => string(object(denial)?.tool_name) ?? "?"))];
    if (tools.length === 0) return null;
    const message = `claude was refused: ${tools.join(", ")}`;
    if (permissionMode === "bypassPermissions" || permissionMode === "dontAsk") {
      addWarning(warnings, message);
      return null;
    }
    return { category: "environment", message: `${message}; allow it in the agent's defaultArgs or the phase's allowedTools` };
  }

  return {
    line(text, isCut) {
      news = false;
      // Partial messages: news, but of a message that comes whole later.
      if (text.startsWith('{"type":"stream_event"')) {
        news = true;
        return [];
      }
      if (isCut) return warn(cutLineWarning(text));
      const lines = parseLines(text);
      if (lines.length === 0) plain.add(text);
      news = lines.length > 0;
      return lines.flatMap(read);
    },
    progress: () => news,
    spent,
    end(info) {
      const failed = failure(info);
      const ok = result !== undefined && succeeded(result);
      const sessionGone = result?.subtype === "error_during_execution" && /No conversation found/.test(failed?.message ?? "");
      return {
        provider: "claude",
        // The stream echoes an id that claude does not know.
        session: sessionGone ? null : session,
        finalText: ok ? (string(result?.result) ?? "") : null,
        usage: result ? usageOf(result) : null,
        costUsd: result ? number(result.total_cost_usd) : null,
        spent: spent(),
        turns: result ? number(result.num_turns) : null,
        failure: failed,
        warnings,
      };
    },
  };
}

/** `subtype` alone says success for every HTTP error too. */
function succeeded(result: Json): boolean {
  return result.is_error === false && result.subtype === "success";
}

/** Tokens of all models, subagents included; `usage` counts the main conversation only. */
function usageOf(result: Json): Usage {
  const models = tokensByModel();
  for (const model of Object.values(object(result.modelUsage) ?? {})) models.add(null, modelTokens(object(model) ?? {}));
  return models.all()[0]?.usage ?? tokensOf(object(result.usage) ?? {});
}

/** The larger one of each count, where `seen` has a larger one than `told`; undefined where it has none. */
function mostOf(told: Spent["byModel"], seen: Spent["byModel"]): Spent["byModel"] | undefined {
  let isMore = false;
  const used = told.filter(({ usage }) => Object.values(usage).some((count) => count > 0));
  const most = new Map(used.map(({ model, usage }) => [model, { ...usage }]));
  for (const { model, usage } of seen) {
    const known = most.get(model) ?? { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
    for (const key of Object.keys(known) as (keyof Usage)[]) {
      if (usage[key] > known[key]) isMore = true;
      known[key] = Math.max(known[key], usage[key]);
    }
    most.set(model, known);
  }
  return isMore ? [...most].map(([model, usage]) => ({ model, usage })) : undefined;
}

function modelTokens(model: Json): Usage {
  return {
    inputTokens: number(model.inputTokens),
    outputTokens: number(model.outputTokens),
    cacheReadTokens: number(model.cacheReadInputTokens),
    cacheWriteTokens: number(model.cacheCreationInputTokens),
  };
}

function tokensOf(usage: Json): Usage {
  return {
    inputTokens: number(usage.input_tokens),
    outputTokens: number(usage.output_tokens),
    cacheReadTokens: number(usage.cache_read_input_tokens),
    cacheWriteTokens: number(usage.cache_creation_input_tokens),
  };
}
