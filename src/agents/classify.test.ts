import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { classify, resetTime } from "./classify.ts";

// Times of day without a zone are this machine's.
process.env.TZ = "UTC";

const now = Date.parse("2026-11-20T22:30:10.000Z");

describe("classify", () => {
  it.each([
    ["a code outweighs the message", { codes: ["overloaded"], message: "401 Unauthorized" }, { category: "overloaded" }],
    ["an overload that is called a server error", { codes: ["server_error"], status: 529 }, { category: "overloaded" }],
    ["a status outweighs the message", { status: 500, message: "rate limit" }, { category: "unavailable" }],
    ["the message outweighs stderr", { message: "Invalid API key", stderr: "connection refused" }, { category: "auth" }],
    ["stderr outweighs the final text", { stderr: "error: unknown option '--x'", finalText: "rate limit" }, { category: "incompatible" }],
    ["a short final text is a last hint", { finalText: "Claude AI usage limit reached|1795217347" }, { category: "usage_limit" }],
    ["a long final text is none", { finalText: `${"We handle rate limits. ".repeat(30)}` }, { category: "unknown" }],
    ["429 is a rate limit", { status: 429, message: "Request rejected (429)" }, { category: "rate_limit" }],
    [
      "words for a rate limit outweigh a limit that ends",
      { status: 429, message: "429", limit: { resetsAt: "2026-11-20T23:29:07.000Z" } },
      { category: "rate_limit", resetsAt: "2026-11-20T23:29:07.000Z" },
    ],
    [
      "a plan that is used up",
      { codes: ["rate_limit"], message: "You've hit your weekly limit", limit: { resetsAt: "2026-11-20T23:29:07.000Z" } },
      { category: "usage_limit", resetsAt: "2026-11-20T23:29:07.000Z" },
    ],
    ["nothing said", {}, { category: "unknown" }],
  ])("%s", (_, signals, result) => {
    expect(classify(signals, now)).toEqual(result);
  });
});

describe("resetTime", () => {
  it.each([
    ["Claude AI usage limit reached|1750708800", "2025-06-23T20:00:00.000Z"],
    ["You've hit your session limit · resets 11:29pm (UTC)", "2026-11-20T23:29:00.000Z"],
    ["5-hour limit reached ∙ resets 2am (Europe/Rome)", "2026-11-21T01:00:00.000Z"],
    ["try again at 10:30 PM (UTC)", "2026-11-20T22:30:00.000Z"],
    ["try again at 10:28 PM (UTC)", "2026-11-20T22:28:00.000Z"],
    ["Your limit will reset at 3pm (America/Bogota)", "2026-11-21T20:00:00.000Z"],
    ["rate limited, try again in 1.5s", "2026-11-20T22:30:11.500Z"],
    ["try again in 2 hours", "2026-11-21T00:30:10.000Z"],
    ["resets 4am (Nowhere/Land)", undefined],
    ["Try again later.", undefined],
    ["wird um 23:29 Uhr zurückgesetzt", "2026-11-20T23:29:00.000Z"],
    ["réinitialisation à 23h29 (UTC)", "2026-11-20T23:29:00.000Z"],
    ["se restablece a las 23:29", "2026-11-20T23:29:00.000Z"],
    ["Limit zurückgesetzt am 23. November 2026 um 22:57", "2026-11-23T22:57:00.000Z"],
    ["el 23 de noviembre de 2026 a las 22:57", "2026-11-23T22:57:00.000Z"],
    ["try again at Nov 23rd, 2026 10:57 PM", "2026-11-23T22:57:00.000Z"],
    ["resets Nov 23, 10pm (UTC)", "2026-11-23T22:00:00.000Z"],
    ["back at 2026-11-21T01:02:03Z", "2026-11-21T01:02:03.000Z"],
    ["retry-after: 3600", "2026-11-20T23:30:10.000Z"],
    ["try again in 1h30m", "2026-11-21T00:00:10.000Z"],
    ["réessayez dans 20 minutes", "2026-11-20T22:50:10.000Z"],
    ["try again in 3 days, 2 hours and 5 minutes", "2026-11-24T00:35:10.000Z"],
    ['429 {"error":{"resets_at":1795217347}}', "2026-11-20T23:29:07.000Z"],
    ["5-hour limit of 3pm reached, goes on at 8pm (UTC)", "2026-11-21T20:00:00.000Z"],
    ["http://127.0.0.1:44779/v1 says 429", undefined],
  ])("%s", (text, time) => {
    expect(resetTime(text, now)).toBe(time);
  });

  it("never throws", () => {
    fc.assert(fc.property(fc.string(), (text) => void resetTime(`try again at ${text} resets ${text}`, now)));
  });
});
