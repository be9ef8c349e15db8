import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify, signalsOf } from "./classify.ts";
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
  parseLine,
  plainText,
  type Reader,
  type ReaderOptions,
  since,
  string,
  textOf,
  unfinished,
} from "./stream.ts";

/** Reads `codex exec --json`. */
export function codexReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const resumed = resumedThread(options.argv);
  const warnings: string[] = [];
  const plain = plainText();
  const open = new Set<string>();
  let session: AgentReport["session"] = null;
  let lastMessage: string | null = null;
  let usage: Usage | null = null;
  let turn: "open" | "completed" | { failed: string; error: unknown } = "open";
  let trouble: string | undefined;
  /** Whether the model has answered anything: until then nothing was used, afterwards only the end of the turn tells what. */
  let answered = false;
  let news = false;

  function read(line: Json): AgentEvent[] {
    switch (line.type) {
      case "thread.started":
        return readThread(line.thread_id);
      case "item.started":
      case "item.updated":
      case "item.completed":
        return readItem(object(line.item) ?? {}, line.type === "item.completed");
      case "error":
        return readError(string(line.message) ?? "");
      case "turn.completed":
        usage = since(isAnotherThread() ? undefined : options.priorUsage, totals(object(line.usage) ?? {}));
        turn = "completed";
        return [
          { type: "usage", usage },
          { type: "result", ok: true, text: lastMessage ?? "" },
        ];
      case "turn.failed": {
        const message = clip(signalsOf(line.error).message ?? "the turn failed", 1000);
        turn = { failed: message, error: line.error };
        return [{ type: "result", ok: false, text: message }];
      }
      default:
        return [];
    }
  }

  function readThread(id: unknown): AgentEvent[] {
    if (!isSessionId(id)) return [];
    session = { id, provider: "codex" };
    const events: AgentEvent[] = [{ type: "session", session }];
    // codex starts a new thread without a word when it does not know the old one.
    if (isAnotherThread()) events.push(...warn(`codex did not resume ${resumed}; it started a new session`));
    return events;
  }

  function isAnotherThread(): boolean {
    return resumed !== undefined && session !== null && session.id !== resumed;
  }

  function readError(message: string): AgentEvent[] {
    news = false;
    trouble = message;
    const attempt = /^Reconnecting\.\.\. (\d+)\//.exec(message);
    if (!message.startsWith("Reconnecting")) return [];
    return [{ type: "retry", ...(attempt ? { attempt: Number(attempt[1]) } : {}), reason: clip(message, 1000) }];
  }

  function readItem(item: Json, completed: boolean): AgentEvent[] {
    const type = string(item.type);
    if (type === "error") {
      news = false;
      return completed ? warn(string(item.message) ?? "") : [];
    }
    trouble = undefined;
    answered = true;
    if (type === "agent_message") {
      if (!completed) return [];
      lastMessage = clip(string(item.text) ?? "", maxFinalText);
      return [{ type: "text", text: clip(lastMessage, maxEventText) }];
    }
    const call = toolCall(item);
    if (!call) return [];
    const callId = string(item.id) ?? "";
    const events: AgentEvent[] = [];
    if (!open.has(callId)) events.push({ type: "tool_use", callId, tool: call.tool, input: clipInput(call.input) });
    if (!completed) {
      open.add(callId);
      return events;
    }
    open.delete(callId);
    const isError =
      item.status === "failed" || (typeof item.exit_code === "number" && item.exit_code !== 0) || object(item.error) !== undefined;
    return [...events, { type: "tool_result", callId, isError, output: clip(call.output, maxEventText) }];
  }

  function spent(): Spent | null {
    if (usage === null && answered) return null;
    const none = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
    return { byModel: [{ model: null, usage: usage ?? none }], costUsd: null, partial: turn === "open" };
  }

  function warn(message: string): AgentEvent[] {
    addWarning(warnings, message);
    return [{ type: "warning", message: clip(message, 1000) }];
  }

  return {
    line(text, isCut) {
      if (isCut) {
        news = false;
        return warn(cutLineWarning(text));
      }
      const line = parseLine(text);
      news = line !== undefined;
      if (!line) plain.add(text);
      return line ? read(line) : [];
    },
    progress: () => news,
    spent,
    end(info) {
      const failure: AgentReport["failure"] =
        turn === "completed"
          ? null
          : turn === "open"
            ? unfinished({ ...info, plain: plain.all() }, trouble === undefined ? undefined : { message: clip(trouble, 1000) }, now())
            : { ...classify({ ...signalsOf(turn.error), stderr: info.stderrTail }, now()), message: turn.failed };
      return {
        provider: "codex",
        session,
        finalText: turn === "completed" ? lastMessage : null,
        usage,
        costUsd: null,
        spent: spent(),
        turns: null,
        failure,
        warnings,
      };
    },
  };
}

/** The thread that the command line asked for. */
function resumedThread(argv: string[] = []): string | undefined {
  const index = argv.lastIndexOf("resume");
  const id = index === -1 ? undefined : argv[index + 1];
  return id?.startsWith("-") ? undefined : id;
}

function toolCall(item: Json): { tool: string; input: unknown; output: string } | undefined {
  switch (item.type) {
    case "command_execution":
      return { tool: "shell", input: { command: item.command }, output: string(item.aggregated_output) ?? "" };
    case "file_change":
      return { tool: "file_change", input: { changes: array(item.changes) }, output: string(item.status) ?? "" };
    case "mcp_tool_call": {
      const output = string(object(item.error)?.message) ?? textOf(object(item.result)?.content);
      return { tool: `mcp__${string(item.server) ?? ""}__${string(item.tool) ?? ""}`, input: item.arguments, output };
    }
    case "web_search":
      return { tool: "web_search", input: { query: item.query }, output: "" };
    default:
      return undefined;
  }
}

/** codex counts cached tokens as input too. */
function totals(usage: Json): Usage {
  const cacheReadTokens = number(usage.cached_input_tokens);
  const cacheWriteTokens = number(usage.cache_write_input_tokens);
  return {
    inputTokens: Math.max(0, number(usage.input_tokens) - cacheReadTokens - cacheWriteTokens),
    outputTokens: number(usage.output_tokens),
    cacheReadTokens,
    cacheWriteTokens,
  };
}
