/** Failures of agent CLIs that nobody recorded, in the streams of recorded ones. */
import { readFileSync } from "node:fs";
import type { FailureCategory } from "../domain/failure.ts";
import { type Recording, recordings } from "./recordings.ts";

/** Provider, where it says so, the right category, its words, the HTTP status, the error's name, what else is different. */
type UnseenRow = [
  provider: string,
  where: "stream" | "errors" | "stderr" | "text" | "kill",
  category: FailureCategory,
  words: string,
  status?: number | null,
  name?: string | null,
  changes?: {
    /** Fields under other names; null for fields that are not there. */
    rename?: Record<string, string | null>;
    exitCode?: number | null;
    signal?: string | null;
    /** What a tool printed before. */
    noise?: string;
  },
];

type Json = Record<string, unknown>;

/** The sets in the order in which they were written. */
export function unseenSets(): Record<string, UnseenRow[]> {
  return JSON.parse(readFileSync(new URL("../agents/fixtures/unseen.json", import.meta.url), "utf8")) as Record<string, UnseenRow[]>;
}

const bases: Record<string, string> = {
  claude: "claude-err-500-forever-r2",
  codex: "codex-err-503",
  pi: "pi-err-401",
  gemini: "gemini-err-401",
  copilot: "copilot-err-500-forever",
  opencode: "opencode-err-400",
};
const byName = new Map(recordings().map((recording) => [recording.name, recording]));

/** The run that a row tells of. */
export function unseenRun([provider, where, , words, status, name, changes = {}]: UnseenRow): Recording {
  const base = byName.get(where === "kill" ? words : (bases[provider] ?? ""));
  if (base === undefined) throw new Error(`No recording to change for ${provider}: ${words}`);
  // gemini exits with the HTTP status, of which eight bits arrive; pi with 0 when it could say why it failed.
  const failedWith = provider === "pi" && where === "stream" ? 0 : provider === "gemini" && status ? status % 256 : 1;
  const isKilled = where === "kill" && changes.exitCode === undefined;
  const exitCode = isKilled ? base.exitCode : (changes.exitCode ?? failedWith);
  const ended = { exitCode, signal: changes.signal ?? base.signal };
  if (where === "text") return { ...base, ...ended, provider: "text", lines: words.split("\n"), stderr: "" };
  if (where === "stderr") return { ...base, ...ended, lines: [], stderr: `${words}\n` };
  const said = { words, status: status ?? undefined, name: name ?? undefined, inErrors: where === "errors" };
  const lines = base.lines
    .map((line) => JSON.parse(line) as Json)
    .flatMap((line) => (where === "kill" ? [line] : (change[provider]?.(line, said) ?? [])))
    .map((line) => JSON.stringify(renamed(line, changes.rename ?? {})));
  if (changes.noise !== undefined) lines.splice(Math.min(1, lines.length - 1), 0, JSON.stringify(noises[provider]?.(changes.noise)));
  const stderr =
    provider === "gemini"
      ? base.stderr.replace(/ _ApiError: \{.*\}/, "").replace(/status: 401/, said.status ? `status: ${status}` : "")
      : base.stderr;
  return { ...base, ...ended, lines, stderr };
}

interface Said {
  words: string;
  status: number | undefined;
  name: string | undefined;
  inErrors: boolean;
}

const change: Record<string, (line: Json, said: Said) => Json[]> = {
  claude: (line, { words, status, name, inErrors }) => {
    const message = line.message as Json;
    if (line.subtype === "api_retry") return status === undefined ? [] : [{ ...line, error_status: status, error: name ?? "unknown" }];
    if (line.type === "assistant") {
      return inErrors ? [] : [{ ...line, error: name ?? "unknown", message: { ...message, content: [{ type: "text", text: words }] } }];
    }
    if (line.type !== "result") return [line];
    const { result: _result, api_error_status: _status, ...rest } = line;
    if (inErrors) return [{ ...rest, subtype: name ?? "error_during_execution", terminal_reason: undefined, errors: [words] }];
    return [{ ...rest, result: words, api_error_status: status ?? null }];
  },
  codex: (line, { words, status, name }) => {
    const extra = { ...(status === undefined ? {} : { status }), ...(name === undefined ? {} : { code: name }) };
    if (line.type === "error") return [{ ...line, message: words }];
    return line.type === "turn.failed" ? [{ ...line, error: { message: words, ...extra } }] : [line];
  },
  pi: (line, { words }) => {
    const message = line.message as Json | undefined;
    if (line.type === "agent_end") return [{ ...line, messages: [] }];
    return message?.stopReason === "error" ? [{ ...line, message: { ...message, errorMessage: words } }] : [line];
  },
  gemini: (line, { words, name }) => (line.type === "result" ? [{ ...line, error: { type: name ?? "unknown", message: words } }] : [line]),
  copilot: (line, { words, status, name }) => {
    const data = line.data as Json;
    if (line.type === "model.call_failure") {
      return status === undefined
        ? []
        : [{ ...line, data: { ...data, statusCode: status, errorMessage: JSON.stringify({ message: words, code: status }) } }];
    }
    if (line.type === "model.call_final_result")
      return status === undefined ? [] : [{ ...line, data: { ...data, result: `http_${Math.floor(status / 100)}xx` } }];
    if (line.type === "assistant.turn_retry") return [];
    return line.type === "session.error"
      ? [{ ...line, data: { ...data, errorType: name ?? "query", message: words, statusCode: status } }]
      : [line];
  },
  opencode: (line, { words, status, name }) => {
    if (line.type !== "error") return [line];
    return [
      {
        ...line,
        error: { name: name ?? (status === undefined ? "UnknownError" : "APIError"), data: { message: words, statusCode: status } },
      },
    ];
  },
};

const noises: Record<string, (text: string) => Json> = {
  claude: (text) => ({
    type: "user",
    message: { role: "user", content: [{ type: "tool_result", tool_use_id: "t", is_error: true, content: text }] },
  }),
  codex: (text) => ({
    type: "item.completed",
    item: { id: "i", type: "command_execution", command: "make", aggregated_output: text, exit_code: 1 },
  }),
  pi: (text) => ({
    type: "tool_execution_end",
    toolCallId: "t",
    toolName: "bash",
    isError: true,
    result: { content: [{ type: "text", text }] },
  }),
  gemini: (text) => ({
    type: "tool_result",
    tool_id: "t",
    status: "error",
    output: text,
    error: { type: "shell_execute_error", message: text },
  }),
  copilot: (text) => ({ type: "tool.execution_complete", data: { toolCallId: "t", success: false, error: { message: text } } }),
  opencode: (text) => ({ type: "tool_use", part: { type: "tool", tool: "bash", state: { status: "error", error: text, output: text } } }),
};

function renamed(value: unknown, names: Record<string, string | null>): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, names));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) => {
      const name = key in names ? names[key] : key;
      return name == null ? [] : [[name, renamed(field, names)] as const];
    }),
  );
}
