import type { AgentEvent, AgentReport, Spent, Usage } from "../domain/session.ts";
import { classify } from "./classify.ts";
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
  plainText,
  type Reader,
  type ReaderOptions,
  type StreamEnd,
  string,
  textOf,
  tokensByModel,
  unfinished,
} from "./stream.ts";

/** Reads `pi --mode json`. */
export function piReader(options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const sessionPath = valueAfter(options.argv, "--session");
  const warnings: string[] = [];
  const plain = plainText();
  const usage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  const models = tokensByModel();
  let costUsd = 0;
  let turns = 0;
  let session: AgentReport["session"] = null;
  let last: { stopReason: string; text: string; error: string } | undefined;
  /** pi compacts an overflowing conversation and then ends without the answer. */
  let overflowed = false;
  let news = false;

  function read(line: Json): AgentEvent[] {
    switch (line.type) {
      case "session":
        if (!isSessionId(line.id)) return [];
        session = { id: line.id, provider: "pi", ...(sessionPath?.includes("/") ? { path: sessionPath } : {}) };
        return [{ type: "session", session }];
      case "message_end":
        return readMessage(object(line.message) ?? {});
      case "tool_execution_start":
        return [
          { type: "tool_use", callId: string(line.toolCallId) ?? "", tool: string(line.toolName) ?? "", input: clipInput(line.args) },
        ];
      case "tool_execution_end": {
        const output = clip(textOf(object(line.result)?.content), maxEventText);
        return [{ type: "tool_result", callId: string(line.toolCallId) ?? "", isError: line.isError === true, output }];
      }
      // The frame of a round, which stands around a failed request too.
      case "agent_start":
      case "turn_start":
      case "message_start":
      case "turn_end":
      case "auto_retry_end":
        news = false;
        return [];
      case "auto_retry_start":
        news = false;
        return [{ type: "retry", attempt: number(line.attempt), reason: clip(string(line.errorMessage) ?? "", 1000) }];
      case "compaction_start":
        overflowed = line.reason === "overflow";
        return [];
      default:
        return [];
    }
  }

  function readMessage(message: Json): AgentEvent[] {
    if (message.role !== "assistant") return [];
    overflowed = false;
    const text = textOf(message.content);
    last = {
      stopReason: string(message.stopReason) ?? "",
      text: clip(text, maxFinalText),
      error: clip(string(message.errorMessage) ?? "", 1000),
    };
    if (last.stopReason === "error") news = false;
    turns += 1;
    const spent = object(message.usage) ?? {};
    const used: Usage = {
      inputTokens: number(spent.input),
      outputTokens: number(spent.output),
      cacheReadTokens: number(spent.cacheRead),
      cacheWriteTokens: number(spent.cacheWrite),
    };
    usage.inputTokens += used.inputTokens;
    usage.outputTokens += used.outputTokens;
    usage.cacheReadTokens += used.cacheReadTokens;
    usage.cacheWriteTokens += used.cacheWriteTokens;
    models.add(string(message.model) ?? null, used);
    const cost = number(object(spent.cost)?.total);
    costUsd += cost;
    const events: AgentEvent[] = text === "" ? [] : [{ type: "text", text: clip(text, maxEventText) }];
    if (Object.values(used).some((count) => count > 0)) events.push({ type: "usage", usage: used, costUsd: cost });
    return events;
  }

  function spent(): Spent {
    const byModel = models.all();
    const tokens = Object.values(usage).reduce((sum, count) => sum + count, 0);
    // A model without a price in models.json costs nothing by pi's reckoning.
    return { byModel, costUsd: costUsd > 0 || tokens === 0 ? costUsd : null, partial: last?.stopReason !== "stop" };
  }

  /** Comes once per round; after a failed round another may follow, so only an answer is told as a result. */
  function readEnd(): AgentEvent[] {
    if (last?.stopReason !== "stop") {
      news = false;
      return [];
    }
    return [{ type: "result", ok: true, text: last.text }];
  }

  function failure(info: StreamEnd): AgentReport["failure"] {
    if (last?.stopReason === "stop" && !overflowed) return null;
    if (info.end === "stopped") return unfinished(info, undefined, now());
    if (last?.stopReason === "error") {
      const status = /^(\d{3}) /.exec(last.error);
      const message = readableError(last.error);
      return { ...classify({ status: status ? Number(status[1]) : null, message: last.error, stderr: info.stderrTail }, now()), message };
    }
    if (overflowed) return { category: "stuck", message: "the conversation outgrew the model's context; pi ended while compacting it" };
    if (last?.stopReason === "aborted" || last?.stopReason === "length") {
      const message =
        last.stopReason === "length" ? "the answer exceeded the model's output limit" : last.error || "the request was aborted";
      return { ...classify({ codes: [last.stopReason] }, now()), message };
    }
    return unfinished({ ...info, plain: plain.all() }, undefined, now());
  }

  return {
    line(text, isCut) {
      // These repeat the whole message so far, twice: an answer of 64 kB arrives as 270 MB. The message comes whole later.
      if (/^\{"type":"(message_update|tool_execution_update)"/.test(text)) {
        news = true;
        return [];
      }
      // Repeats every message of the round.
      if (text.startsWith('{"type":"agent_end"')) {
        news = true;
        return readEnd();
      }
      if (isCut) {
        news = false;
        const message = cutLineWarning(text);
        addWarning(warnings, message);
        return [{ type: "warning", message }];
      }
      const line = parseLine(text);
      news = line !== undefined;
      if (!line) plain.add(text);
      return line ? (line.type === "agent_end" ? readEnd() : read(line)) : [];
    },
    progress: () => news,
    spent,
    end(info) {
      if (/^Warning: /m.test(info.stderrTail)) {
        for (const line of info.stderrTail.split("\n").filter((text) => text.startsWith("Warning: "))) addWarning(warnings, line);
      }
      const failed = failure(info);
      return {
        provider: "pi",
        session,
        finalText: failed === null && last ? last.text : null,
        usage: turns > 0 ? usage : null,
        costUsd: turns > 0 ? costUsd : null,
        spent: spent(),
        turns: turns > 0 ? turns : null,
        failure: failed,
        warnings,
      };
    },
  };
}

function valueAfter(argv: string[] | undefined, flag: string): string | undefined {
  const index = argv?.lastIndexOf(flag) ?? -1;
  return index === -1 ? undefined : argv?.[index + 1];
}

/** pi passes the provider's answer on as it came: a status and a JSON body. */
function readableError(text: string): string {
  const body = parseLine(text.replace(/^\d{3} /, ""));
  const said = string(object(body?.error)?.message);
  return said === undefined ? text : `${text.slice(0, 3)} ${said}`;
}
