/** The recorded runs of real CLIs, and variants of them as other releases, providers and machines might have them. */
import { existsSync, readFileSync } from "node:fs";
import { reader } from "../agents/readers.ts";
import type { FailureCategory } from "../domain/failure.ts";
import type { RunEnd } from "../domain/run.ts";
import type { AgentReport } from "../domain/session.ts";

/** One run of a CLI: what it printed, and how it ended. */
export interface Recording {
  name: string;
  /** Whose stream it is; "text" where no structured one was asked for. */
  provider: string;
  argv: string[];
  lines: string[];
  stderr: string;
  exitCode: number | null;
  signal: string | null;
  end: RunEnd;
}

interface Kept {
  argv: string[];
  exitCode?: number | null;
  signal?: string | null;
  stderr?: string;
  end?: RunEnd;
  stdout?: string[];
}

const folder = new URL("../agents/fixtures/", import.meta.url);

/** Every recording there is. */
export function recordings(): Recording[] {
  const read = (file: string) => JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Record<string, Kept>;
  const kept = { ...read("more-runs.json"), ...read("runs.json") };
  return Object.entries(kept).map(([name, run]) => {
    const stream = new URL(`${name}.jsonl`, folder);
    const lines = run.stdout ?? (existsSync(stream) ? readFileSync(stream, "utf8").split("\n") : []);
    const isStream = run.argv.some((arg) => /^(?:json|stream-json|--json)$/.test(arg)) && lines[0] !== "{";
    const isText = run.argv.length > 1 && !isStream && lines.length > 0;
    return {
      name,
      provider: isText ? "text" : (name.split("-")[0] ?? ""),
      argv: run.argv,
      lines: lines.filter((line) => line !== ""),
      stderr: run.stderr ?? "",
      exitCode: run.exitCode ?? null,
      signal: run.signal ?? null,
      end: run.end ?? "exited",
    };
  });
}

/** What the agent's reader makes of a run, on the evening of the recordings. */
export function reportOf({ provider, argv, lines, stderr, ...run }: Recording): AgentReport {
  const read = reader(provider, { argv, now: () => Date.parse("2026-11-20T22:30:00Z") });
  for (const line of lines) read.line(line);
  return read.end({ exitCode: run.exitCode, signal: run.signal, end: run.end, stderrTail: stderr });
}

/** The category of a run that failed; "success" for one that did not. */
export function categoryOf(recording: Recording): FailureCategory | "success" {
  return reportOf(recording).failure?.category ?? "success";
}

/** What every recorded run that failed failed by; all others succeeded. */
export const failed: Partial<Record<FailureCategory, string[]>> = {
  rate_limit: [
    "copilot-err-429-forever",
    "gemini-err-429-forever",
    "opencode-err-429-forever",
    "claude-429-x-should-retry-false",
    "claude-authtoken-usage-limit",
    "claude-err-429-forever",
    "claude-err-429-maxretries1",
    "claude-err-429-retry-after-3600",
    "claude-oauth-429-plain",
    "codex-err-429-default",
    "codex-err-429-retries0",
    "pi-err-429-forever",
  ],
  unavailable: [
    "copilot-err-500-forever",
    "gemini-err-500-forever",
    "claude-dns-fail",
    "claude-err-500-forever-r2",
    "claude-err-conn-refused",
    "claude-err-drop-midstream",
    "claude-hang-api-timeout",
    "codex-err-conn-refused",
    "codex-err-conn-refused-long",
    "codex-hang-idle",
    "codex-no-auth-default-provider",
    "pi-err-conn-refused",
  ],
  environment: [
    "copilot-resume-unknown",
    "gemini-resume-unknown",
    "gemini-untrusted",
    "opencode-resume-unknown",
    "claude-argv-140KB",
    "claude-env-in-bash-scrub",
    "claude-json-schema-bad-schema",
    "claude-mcp-bad-json",
    "claude-perm-acceptEdits",
    "claude-perm-auto",
    "claude-perm-plan",
    "claude-resume-notuuid",
    "claude-resume-other-cwd",
    "claude-resume-unknown",
    "claude-root-refused",
    "claude-sandbox-missing-dep-failIfUnavailable",
    "claude-sandbox-on",
    "claude-session-id-notuuid",
    "claude-session-id-reused",
    "claude-settings-badfile",
    "claude-stdin-devnull-no-prompt",
    "claude-stdin-empty",
    "claude-variadic-trap",
    "codex-mcp-broken-required",
    "codex-no-git-ww",
    "codex-resume-unknown",
    "codex-schema-missing-file",
    "codex-stdin-empty",
    "pi-prompt-at-trap",
    "pi-resume-unknown",
  ],
  unknown: [
    "opencode-err-400",
    "claude-err-400-other",
    "codex-kill-SIGINT-in-api",
    "codex-kill-SIGINT-in-tool",
    "codex-kill-native-SIGINT",
    "codex-o-on-failure",
  ],
  stuck: [
    "claude-err-400-prompt-too-long",
    "claude-max-tokens-stop",
    "codex-err-400-context",
    "codex-err-failed-context",
    "codex-stdin-1.2MB",
    "pi-err-400-context",
    "pi-overflow-then-ok",
  ],
  auth: [
    "copilot-err-403",
    "claude-err-401",
    "claude-err-401-retries0-json",
    "claude-err-401-retries0-text",
    "claude-err-401-retries1",
    "claude-err-403",
    "claude-no-key",
    "claude-oauth-401",
    "codex-err-401",
    "codex-err-403",
    "codex-no-key",
    "copilot-err-401",
    "gemini-err-401",
    "opencode-err-401",
    "pi-err-401",
    "pi-err-401-text",
    "pi-no-models-json",
  ],
  infrastructure: [
    "copilot-kill-SIGTERM-in-tool",
    "gemini-kill-SIGTERM-in-tool",
    "opencode-kill-SIGTERM-in-tool",
    "claude-err-json-mode-401",
    "claude-err-text-mode-401",
    "claude-hang-midstream-api-timeout",
    "claude-kill-SIGHUP-in-tool",
    "claude-kill-SIGKILL-in-tool",
    "claude-kill-SIGTERM-group",
    "claude-kill-SIGTERM-in-api",
    "claude-kill-SIGTERM-in-tool",
    "claude-sandbox-kill-SIGKILL",
    "claude-sandbox-kill-SIGTERM",
    "codex-hang-noresponse-long",
    "codex-kill-SIGHUP-in-tool",
    "codex-kill-SIGKILL-group",
    "codex-kill-SIGKILL-in-tool",
    "codex-kill-SIGTERM-group",
    "codex-kill-SIGTERM-in-api",
    "codex-kill-SIGTERM-in-tool",
    "codex-kill-native-SIGKILL",
    "codex-kill-native-SIGTERM",
    "codex-kill-ww-SIGKILL-group",
    "codex-stdin-open",
    "opencode-err-429",
    "pi-err-429-retry-after-3600",
    "pi-hang-noresponse",
    "pi-kill-SIGHUP",
    "pi-kill-SIGINT",
    "pi-kill-SIGKILL",
    "pi-kill-SIGKILL-group",
    "pi-kill-SIGTERM",
    "pi-kill-SIGTERM-in-api",
    "pi-no-prompt",
    "pi-resume-id-other-cwd",
    "pi-stdin-open",
  ],
  verification: ["claude-json-schema-invalid-forever"],
  aborted: ["claude-kill-SIGINT-in-api", "claude-kill-SIGINT-in-api-json", "claude-kill-SIGINT-in-tool"],
  overloaded: ["claude-kill-SIGTERM-in-retry", "codex-err-503", "pi-err-529-forever-noretry-setting"],
  usage_limit: [
    "claude-limit-then-resume-1",
    "claude-oauth-usage-limit-5h",
    "claude-oauth-usage-limit-7d",
    "claude-oauth-usage-limit-midturn",
    "claude-oauth-usage-limit-opus",
    "codex-err-429-insufficient-quota",
    "codex-err-429-usage-limit",
    "codex-limit-then-resume-1",
    "codex-usage-limit-headers",
    "codex-usage-limit-noplan",
    "pi-limit-then-resume-1",
    "pi-usage-limit-midturn",
  ],
  budget: [
    "gemini-max-turns",
    "claude-max-budget",
    "claude-max-budget-text",
    "claude-max-turns",
    "claude-max-turns-json",
    "claude-max-turns-text",
  ],
  incompatible: [
    "claude-prompt-leading-dash",
    "claude-stream-json-no-verbose",
    "claude-unknown-flag",
    "codex-approval-mode-never",
    "codex-err-404",
    "codex-resume-sandbox-flag",
    "codex-unknown-flag",
    "pi-leading-dash",
    "pi-unknown-flag",
    "pi-unknown-provider",
  ],
  blocker: ["claude-refusal-stop"],
};

/** A source of numbers between 0 and 1 that is the same in every run of the tests. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Other words for each kind of failure, as people who write CLIs and providers might choose them. No pattern was made from them. */
const otherWords: Partial<Record<FailureCategory, string[]>> = {
  rate_limit: [
    "Rate limit exceeded, please slow down.",
    "You are sending too many requests. Back off and retry.",
    "Request throttled by the API (ThrottlingException).",
    "Rate limit reached for requests per minute (RPM): Limit 60, Used 60.",
    "This organisation is rate limited right now.",
    "Too many concurrent requests for this key; retry in 20s.",
    "We are rate-limiting your key until traffic drops.",
    "Limit of 40000 tokens per minute exceeded.",
  ],
  usage_limit: [
    "You've used up your weekly quota. It resets at 9am (UTC).",
    "Monthly usage cap reached for this workspace.",
    "Your plan's usage limit was reached, try again at 6:05 PM.",
    "You have no credits remaining on this account.",
    "Insufficient balance: please add credits to continue.",
    "You exceeded your current quota, please check your plan and billing details.",
    "You've reached the 5h limit of your subscription; it renews at 23:15.",
    "Spending limit hit. Raise it in the billing settings.",
    "Sie haben Ihr Limit erreicht; es wird um 23:15 Uhr zurückgesetzt.",
    "Has alcanzado tu límite de uso; se restablece a las 23:15.",
  ],
  auth: [
    "The API key you provided is invalid.",
    "Your login has expired. Sign in again to continue.",
    "OAuth token revoked; please log in.",
    "HTTP 401: missing credentials",
    "Authentication required: no bearer token was sent.",
    "Access token expired, re-authenticate with the login command.",
    "You are not signed in.",
    "403 Forbidden: this key is not allowed to use the endpoint",
    "Could not authenticate with the provider.",
  ],
  overloaded: [
    "The model is overloaded with other requests.",
    "Server overloaded, retry later",
    "We are currently at capacity.",
    "The service is too busy to take your request.",
    "529: overloaded",
    "All backends are over capacity, please try another model.",
  ],
  unavailable: [
    "connect ECONNREFUSED 10.0.0.7:443",
    "getaddrinfo ENOTFOUND api.example.invalid",
    "Could not reach the server: network is unreachable",
    "socket hang up",
    "TypeError: fetch failed",
    "502 Bad Gateway",
    "HTTP 503 Service Unavailable",
    "The connection was reset by the peer.",
    "Internal server error, our team has been told",
    "The request timed out after 600 seconds.",
    "failed to resolve host: Temporary failure in name resolution",
    "upstream service unavailable",
  ],
  incompatible: [
    "error: unrecognized option '--frobnicate'",
    "Error: unknown argument: --json-stream",
    "error: the flag '--full-auto' was removed in 0.150",
    "The model gpt-99 does not exist or you do not have access to it.",
    "Model claude-2 is no longer available",
    "unsupported model: tiny-1",
    "error: invalid value 'maybe' for '--sandbox <MODE>'",
    "Unknown flag --yolo",
  ],
  environment: [
    "Error: config file /etc/agent.toml does not exist",
    "bash: socat: command not found",
    "EACCES: permission denied, open '/etc/agent/config'",
    "No space left on device (os error 28)",
    "Sandbox could not start: bubblewrap is missing; a sandbox is required",
    "MCP server github exited before it was ready",
    "fatal: not a git repository (or any of the parent directories): .git",
    "No session with that id: session 7 does not exist",
    "Refusing to run as root",
    "No prompt was given on stdin",
  ],
  stuck: [
    "The conversation is too long for this model.",
    "Your input exceeds the context window of this model.",
    "This model's maximum context length is 128000 tokens, you asked for 140000.",
    "Prompt too large: 260123 tokens",
    "The context window is full; start a new session.",
    "Stopped: the answer went over the output token limit",
  ],
  budget: [
    "Maximum number of turns reached: 12",
    "error: max turns exceeded",
    "The run went over its budget of $3.00.",
    "Stopped: budget used up (1.50 USD)",
  ],
  blocker: [
    "The model declined to answer: this would violate our content policy.",
    "I'm unable to respond to that request because of the usage policies.",
    "Blocked by the content filter.",
  ],
  verification: ["Structured output was not valid after 5 tries.", "The final answer did not match the required JSON schema."],
  aborted: ["The request was aborted.", "Operation cancelled by the user", "The turn was interrupted."],
};

const namesOfErrors: Partial<Record<FailureCategory, [status: number, type: string][]>> = {
  rate_limit: [
    [429, "rate_limit_error"],
    [429, "rate_limit_exceeded"],
    [429, "RESOURCE_EXHAUSTED"],
    [429, "TooManyRequestsError"],
  ],
  usage_limit: [
    [429, "insufficient_quota"],
    [402, "payment_required"],
    [429, "usage_limit_reached"],
  ],
  auth: [
    [401, "authentication_error"],
    [403, "permission_error"],
    [401, "invalid_api_key"],
    [401, "UNAUTHENTICATED"],
  ],
  overloaded: [
    [529, "overloaded_error"],
    [503, "server_is_overloaded"],
  ],
  unavailable: [
    [500, "api_error"],
    [503, "UNAVAILABLE"],
    [502, "server_error"],
    [504, "timeout_error"],
  ],
  incompatible: [
    [404, "not_found_error"],
    [404, "model_not_found"],
  ],
  stuck: [
    [400, "context_length_exceeded"],
    [413, "request_too_large"],
  ],
};

/** One run, changed in a way that leaves what happened the same. */
export interface Variant {
  kind: string;
  of: Recording;
  category: FailureCategory;
  recording: Recording;
}

type Json = Record<string, unknown>;
type Random = () => number;

/** Variants of a run that failed by `category`. */
export function variantsOf(of: Recording, category: FailureCategory, random: Random): Variant[] {
  const made: Variant[] = [];
  const add = (kind: string, changes: Partial<Recording>) => made.push({ kind, of, category, recording: { ...of, ...changes } });
  const eachLine = (change: (line: Json) => unknown) => of.lines.map((line) => mapJson(line, change));
  add("other order of keys", { lines: eachLine((line) => shuffled(line, random)) });
  add("unknown fields", { lines: eachLine((line) => ({ x_release: { channel: "next", ok: true }, ...line, novelty: [1, "two", null] })) });
  add("unknown events", { lines: of.lines.flatMap((line) => (of.provider === "text" ? [line] : [novelty(random), line])) });
  add("broken lines between", { lines: of.lines.flatMap((line) => (of.provider === "text" ? [line] : [line.slice(0, 7), line])) });
  add("other ids, dates and ports", { lines: of.lines.map((line) => otherNumbers(line, random)), stderr: otherNumbers(of.stderr, random) });
  if (!saysWhy(of)) return made;
  for (const [kind, change] of [
    ["shouted", (text: string) => text.toUpperCase()],
    ["whispered", (text: string) => text.toLowerCase()],
    ["with a prefix", (text: string) => `[agent] request req_${Math.floor(random() * 1e9)} failed: ${text}`],
    ["over several lines", (text: string) => `Something went wrong.\n\n  ${text}\n\nSee the manual for more.`],
  ] as const) {
    add(kind, { lines: of.lines.map((line) => reworded(line, change)), stderr: of.stderr === "" ? "" : rewordedStderr(of.stderr, change) });
  }
  for (const words of otherWords[category] ?? []) {
    add("only stderr", { lines: [], stderr: `Starting up.\nError: ${words}\n`, exitCode: 1, signal: null });
    add("only plain output", { lines: [words], stderr: "", exitCode: 1, signal: null });
    add("other words", { lines: of.lines.map((line) => reworded(line, () => words)), stderr: rewordedStderr(of.stderr, () => words) });
    add("other words and no names of errors", {
      lines: of.lines.map((line) => withoutNames(reworded(line, () => words))),
      stderr: rewordedStderr(of.stderr, () => words),
    });
  }
  for (const [status, type] of namesOfErrors[category] ?? []) {
    const wrap = (message: string) => JSON.stringify({ type: "error", error: { type, message }, request_id: "req_1" });
    const words = pick(otherWords[category] ?? [""], random);
    const once = `API call failed: ${status} ${wrap(words)}`;
    add("wrapped once", {
      lines: of.lines.map((line) => withoutNames(reworded(line, () => once))),
      stderr: rewordedStderr(of.stderr, () => once),
    });
    const twice = `stream error: ${JSON.stringify({ error: { code: status, message: wrap("Something is not right.") } })}`;
    add("wrapped twice", {
      lines: of.lines.map((line) => withoutNames(reworded(line, () => twice))),
      stderr: rewordedStderr(of.stderr, () => twice),
    });
    const printed = `_ApiError: ${type.replaceAll("_", " ")}\n    at fetch (node:internal/x.js:404:13) {\n  status: ${status},\n  type: '${type}'\n}`;
    add("printed by Node", { lines: [], stderr: printed, exitCode: 1, signal: null });
  }
  return made;
}

/** Whether a run says in words why it failed, so that other words can stand for them. */
function saysWhy(of: Recording): boolean {
  return wordsOf(of) !== "" && of.signal === null && of.exitCode !== null && of.exitCode <= 128;
}

/** The last thing a run says about its failure. */
function wordsOf(of: Recording): string {
  let words = "";
  for (const line of of.lines) {
    reworded(line, (text) => {
      words = text;
      return text;
    });
  }
  return words || (of.lines.some((line) => line.startsWith("{")) ? "" : of.lines.join("\n")) || lastWords(of.stderr);
}

function lastWords(stderr: string): string {
  return stderr
    .split("\n")
    .filter((line) => line !== "" && !/^(?:WARNING|Reading|Usage|For more|\s)/.test(line))
    .join("\n");
}

function rewordedStderr(stderr: string, change: (text: string) => string): string {
  const words = lastWords(stderr);
  return words === "" ? stderr : `${change(words)}\n`;
}

/** A line with its error message changed; other lines as they are. */
function reworded(line: string, change: (text: string) => string): string {
  if (!line.startsWith("{")) return line.startsWith("[") ? line : change(line);
  return mapJson(line, (json) => {
    const message = json.message as Json | undefined;
    if (json.type === "assistant" && typeof json.error === "string") {
      const [block] = (message?.content ?? []) as Json[];
      return { ...json, message: { ...message, content: [{ type: "text", text: change(String(block?.text)) }] } };
    }
    if (json.type === "result" && json.is_error === true) {
      if (Array.isArray(json.errors)) return { ...json, errors: [change(json.errors.join("\n"))] };
      return { ...json, result: change(String(json.result)) };
    }
    if (json.type === "turn.failed") return { ...json, error: { message: change(String((json.error as Json).message)) } };
    if (json.type === "error" && typeof json.message === "string") return { ...json, message: change(json.message) };
    if (message?.stopReason === "error") return { ...json, message: { ...message, errorMessage: change(String(message.errorMessage)) } };
    return json;
  });
}

/** A line without what names its error beside the message. */
function withoutNames(line: string): string {
  return mapJson(line, (json) => {
    if (json.type === "rate_limit_event") return { type: "system", subtype: "status" };
    if (json.type === "system" && json.subtype === "api_retry") return { type: "system", subtype: "status" };
    if (json.type === "assistant" && json.error !== undefined) return { ...json, error: "unknown" };
    if (json.type !== "result") return json;
    const { api_error_status: _status, terminal_reason: _reason, stop_reason: _stop, ...rest } = json;
    return { ...rest, ...(json.is_error === true ? { subtype: "error" } : {}) };
  });
}

function mapJson(line: string, change: (json: Json) => unknown): string {
  if (!line.startsWith("{")) return line;
  try {
    return JSON.stringify(change(JSON.parse(line) as Json));
  } catch {
    return line;
  }
}

function shuffled(value: unknown, random: Random): unknown {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, random));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, field]) => [random(), key, shuffled(field, random)] as const);
  return Object.fromEntries(entries.sort((a, b) => a[0] - b[0]).map(([, key, field]) => [key, field]));
}

function novelty(random: Random): string {
  const events = [
    { type: "telemetry", data: { cpu: random(), note: "all is well" } },
    { type: "system", subtype: "heartbeat" },
    { type: "item.progress", fraction: random() },
    { type: "thinking_summary", text: "rate limits, 401 and overloaded servers are on my mind" },
  ];
  return JSON.stringify(pick(events, random));
}

/** Other digits in ids, ports and times of day; statuses, fields that are numbers and times with a meaning stay. */
function otherNumbers(text: string, random: Random): string {
  const digit = () => String(1 + Math.floor(random() * 9));
  return text
    .replace(/\b(?:req|msg|toolu)_[A-Za-z0-9_]+/g, (id) => id.replace(/\d/g, digit))
    .replace(/127\.0\.0\.1:\d+/g, () => `10.${digit()}.0.${digit()}:4${digit()}${digit()}${digit()}`)
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d/g, () => `2027-0${digit()}-1${digit()}T0${digit()}:3${digit()}`)
    .replace(/claude-(?:opus|haiku|sonnet)-[\d-]+|fake-(?:model|chat)|gemini-[\d.]+-pro/g, () => `vendor-model-${digit()}`);
}

function pick<T>(list: readonly T[], random: Random): T {
  return list[Math.floor(random() * list.length)] as T;
}
