import type { FailureCategory } from "../domain/failure.ts";

/** What a CLI said about its failure, the surest first. Nothing that a tool printed or a prompt contains belongs in here. */
export interface FailureSignals {
  /** The CLI's own name of the error: `assistant.error`, `subtype`, `terminal_reason` or `stop_reason` of claude, `stopReason` of pi. */
  codes?: (string | null | undefined)[];
  /** HTTP status of the failed request. */
  status?: number | null | undefined;
  /** The CLI's error message. */
  message?: string | undefined;
  /** A limit that the provider reported as reached, with the time it ends as RFC 3339. */
  limit?: { resetsAt?: string } | undefined;
  stderr?: string | undefined;
  /** The agent's final message; a hint only, and only where it is short. */
  finalText?: string | undefined;
}

const byCode: Record<string, FailureCategory> = {
  authentication_failed: "auth",
  oauth_org_not_allowed: "auth",
  billing_error: "usage_limit",
  rate_limit: "rate_limit",
  overloaded: "overloaded",
  server_error: "unavailable",
  model_not_found: "incompatible",
  max_output_tokens: "stuck",
  refusal: "blocker",
  prompt_too_long: "stuck",
  rapid_refill_breaker: "stuck",
  blocking_limit: "usage_limit",
  error_max_turns: "budget",
  max_turns: "budget",
  error_max_budget_usd: "budget",
  error_max_structured_output_retries: "verification",
  aborted_streaming: "aborted",
  aborted_tools: "aborted",
  aborted: "aborted",
  length: "stuck",
};

/** In order: the first that fits decides. */
const byMessage: [RegExp, FailureCategory][] = [
  [/not your usage limit/i, "rate_limit"],
  [
    /(hit|reached) (your|the) (?:\S+ ){0,2}limit|usage limit|limit reached|specified API usage limits|quota exceeded|insufficient.quota|credit balance is too low|billing/i,
    "usage_limit",
  ],
  [
    /prompt is too long|ran out of room in the model's context|context.length.exceeded|maximum context length|input exceeds the maximum length/i,
    "stuck",
  ],
  [/exceeded the \d+ output token maximum/i, "stuck"],
  [/violate our usage policy/i, "blocker"],
  [/No conversation found with session|no rollout found for thread|No session found matching|is already in use/i, "environment"],
  [
    /not logged in|please run \/login|invalid (x-)?api.key|incorrect api key|no api key found|failed to authenticate|authentication.error|oauth token|missing environment variable|\b401\b|unauthorized|\b403 forbidden|\bunauthenticated\b/i,
    "auth",
  ],
  [/overloaded|at capacity|\b529\b/i, "overloaded"],
  [/too many requests|rate.?limit|\b429\b/i, "rate_limit"],
  [
    /model\S* not found|model\b.{0,80}(does not exist|not supported)|unknown provider|unknown option|unexpected argument|unrecognized (option|argument)|unknown (flag|argument)|invalid value .* for '-|requires --verbose|unknown model/i,
    "incompatible",
  ],
  [
    /unable to connect|no connection|connection (error|failed|refused|reset)|waiting for network|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|timed out|stream disconnected|currently experiencing high demand|server-side issue|internal server error|bad gateway|service unavailable|gateway timeout|\b50[0234]\b/i,
    "unavailable",
  ],
  [
    /cannot be used with root|sandbox required but unavailable|not inside a trusted directory|mcp (server|config)|invalid mcp|settings file not found|no such file or directory|file not found|command not found|permission denied|ENOENT|EACCES|ENOSPC|no space left|invalid session ID|requires a valid session ID|failed to read|is not valid JSON|input must be provided|no prompt provided/i,
    "environment",
  ],
];

/** What kind of failure this is. Signals are weighed in the order of FailureSignals; `now` is epoch milliseconds. */
export function classify(signals: FailureSignals, now: number): { category: FailureCategory; resetsAt?: string } {
  const category =
    structured(signals) ?? written(signals.message) ?? written(signals.stderr) ?? written(brief(signals.finalText)) ?? "unknown";
  if (category !== "usage_limit" && category !== "rate_limit") return { category };
  const resetsAt = signals.limit?.resetsAt ?? resetTime(signals.message ?? signals.stderr ?? "", now);
  return resetsAt === undefined ? { category } : { category, resetsAt };
}

function structured({ codes = [], status, message, limit }: FailureSignals): FailureCategory | undefined {
  const named = codes.map((code) => byCode[code ?? ""]).find((category) => category !== undefined);
  // The same code stands for a plan that is used up and for too many requests at once; the limit and the words tell them apart.
  if (named === "rate_limit" || (named === undefined && status === 429)) {
    const said = written(message);
    return said === "usage_limit" || (limit?.resetsAt !== undefined && said !== "rate_limit") ? "usage_limit" : "rate_limit";
  }
  // claude calls an overload a server error.
  if (named === "unavailable" && status === 529) return "overloaded";
  if (named !== undefined) return named;
  if (status === 401 || status === 403) return "auth";
  if (status === 404) return "incompatible";
  if (status === 529) return "overloaded";
  if (status !== null && status !== undefined && status >= 500) return written(message) === "overloaded" ? "overloaded" : "unavailable";
  return undefined;
}

function written(text: string | undefined): FailureCategory | undefined {
  if (!text) return undefined;
  return byMessage.find(([pattern]) => pattern.test(text))?.[1];
}

/** An agent that could not work says so in a line or two; a long answer may well speak of rate limits for its own reasons. */
function brief(text: string | undefined): string | undefined {
  return text !== undefined && text.length <= 300 ? text : undefined;
}

/** An epoch time in seconds (or milliseconds) as RFC 3339, or undefined when it is no sensible time. */
export function epochToInstant(epoch: unknown): string | undefined {
  if (typeof epoch !== "number" || !Number.isFinite(epoch)) return undefined;
  const ms = epoch > 1e11 ? epoch : epoch * 1000;
  return ms > 1e12 && ms < 1e13 ? new Date(ms).toISOString() : undefined;
}

/** When a limit ends, read out of a message for people; undefined when it does not say. Times without a zone are this machine's. */
export function resetTime(text: string, now: number): string | undefined {
  const epoch = /\|(\d{10,13})\b/.exec(text);
  if (epoch) return epochToInstant(Number(epoch[1]));
  const span = /(?:try again|retry|resets?) (?:in|after) (\d+(?:\.\d+)?) ?(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\b/i.exec(
    text,
  );
  if (span) return instantAfter(now, Number(span[1]) * unitMs(span[2] ?? "s"));
  const date =
    /(?:again at|resets?(?: at| on)?) ([A-Z][a-z]{2}) (\d{1,2})(?:st|nd|rd|th)?(?:, (\d{4}))?,? (?:at )?(\d{1,2})(?::(\d{2}))? ?([AP]M)/i.exec(
      text,
    );
  if (date) {
    const year = date[3] ?? String(new Date(now).getFullYear());
    const ms = Date.parse(`${date[1]} ${date[2]}, ${year} ${date[4]}:${date[5] ?? "00"} ${date[6]}`);
    return Number.isNaN(ms) ? undefined : new Date(ms).toISOString();
  }
  const clock = /(?:again at|resets?(?: at)?) (\d{1,2})(?::(\d{2}))? ?([ap]m)(?: \(([A-Za-z_/+-]+)\))?/i.exec(text);
  if (!clock) return undefined;
  const hour = (Number(clock[1]) % 12) + (clock[3]?.toLowerCase() === "pm" ? 12 : 0);
  return nextTimeOfDay(hour, Number(clock[2] ?? 0), clock[4], now);
}

function instantAfter(now: number, ms: number): string | undefined {
  return epochToInstant(now + ms);
}

function unitMs(unit: string): number {
  if (unit.toLowerCase() === "ms") return 1;
  return { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit.charAt(0).toLowerCase()] ?? 1000;
}

const justOverMinutes = 5;

/** The next moment at which clocks in `zone` (this machine's without one) show hour:minute, or the one just past. */
function nextTimeOfDay(hour: number, minute: number, zone: string | undefined, now: number): string | undefined {
  let shown: string;
  try {
    shown = new Intl.DateTimeFormat("en-GB", {
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      ...(zone ? { timeZone: zone } : {}),
    }).format(now);
  } catch {
    return undefined; // a zone this machine does not know
  }
  const [nowHour = 0, nowMinute = 0] = shown.split(":").map(Number);
  const minutesAhead = (hour * 60 + minute - (nowHour * 60 + nowMinute) + 1440) % 1440;
  const wholeMinute = Math.floor(now / 60_000) * 60_000;
  // A limit that ends within this minute, or did while the message was on its way, is none that ends tomorrow.
  const isJustOver = minutesAhead > 1440 - justOverMinutes;
  return epochToInstant(wholeMinute + (isJustOver ? minutesAhead - 1440 : minutesAhead) * 60_000);
}
