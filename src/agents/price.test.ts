import { describe, expect, it } from "vitest";
import type { Spent } from "../domain/session.ts";
import { costOf, priceOf, tokensOf, totalUsage } from "./price.ts";
import prices from "./prices.json" with { type: "json" };

const usage = (inputTokens: number, outputTokens = 0, cacheReadTokens = 0, cacheWriteTokens = 0) => ({
  inputTokens,
  outputTokens,
  cacheReadTokens,
  cacheWriteTokens,
});
const spent = (byModel: Spent["byModel"], costUsd: number | null = null): Spent => ({ byModel, costUsd, partial: false });

describe("prices", () => {
  it("each has a day and a source, and reading a cache costs no more than reading anew", () => {
    for (const [model, price] of Object.entries(prices)) {
      expect(price, model).toMatchObject({ asOf: expect.stringMatching(/^20\d\d-\d\d-\d\d$/), source: expect.stringMatching(/^https:/) });
      expect(price.cacheRead, model).toBeLessThanOrEqual(price.input);
      expect(price.input, model).toBeLessThan(price.output);
    }
  });

  it("a snapshot and a larger context cost what their model costs; a name that only looks like one has no price", () => {
    expect(priceOf("claude-haiku-4-5-20251001")).toBe(priceOf("claude-haiku-4-5"));
    expect(priceOf("claude-opus-4-8[1m]")).toBe(priceOf("claude-opus-4-8"));
    expect(priceOf("gpt-5.4-mini-2026-03-17")).toBe(priceOf("gpt-5.4-mini"));
    for (const name of ["claude-opus", "claude-opus-4-8-turbo", "gpt-5.3-codex-spark", "constructor", "", "my-local-model"]) {
      expect(priceOf(name), name).toBeUndefined();
    }
  });

  it("those of the configuration come first", () => {
    const own = { "gpt-5.4": { input: 1, output: 1, cacheRead: 1, cacheWrite: 1 } };
    expect(priceOf("gpt-5.4", own)).toBe(own["gpt-5.4"]);
    expect(priceOf("gpt-5.4-2026-03-05", own)).toBe(own["gpt-5.4"]);
  });
});

describe("cost", () => {
  it("is what the CLI says, else tokens at the price of their model", () => {
    expect(costOf(spent([{ model: "m", usage: usage(1) }], 0.5), undefined)).toEqual({ usd: 0.5, by: "cli" });
    const each = spent([
      { model: "claude-opus-4-8", usage: usage(1e6, 1e6, 1e6, 1e6) },
      { model: "claude-haiku-4-5-20251001", usage: usage(1e6) },
    ]);
    expect(costOf(each, undefined)).toEqual({ usd: 5 + 25 + 0.5 + 6.25 + 1, by: "table" });
    expect(tokensOf(totalUsage(each))).toBe(5e6);
  });

  it("of a stream that names no model is that of the model asked for", () => {
    const codex = spent([{ model: null, usage: usage(2e6, 0) }]);
    expect(costOf(codex, "gpt-5.3-codex")).toEqual({ usd: 3.5, by: "table" });
    expect(costOf(codex, undefined)).toEqual({ usd: null, by: "unknown" });
  });

  it("is not known, never nothing, where one model has no known price", () => {
    const models = [
      { model: "claude-opus-4-8", usage: usage(100) },
      { model: "my-local-model", usage: usage(1) },
    ];
    expect(costOf(spent(models), undefined)).toEqual({ usd: null, by: "unknown" });
    expect(costOf(spent([{ model: "my-local-model", usage: usage(0) }]), undefined)).toEqual({ usd: 0, by: "table" });
  });
});
