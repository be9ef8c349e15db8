import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Spent, Usage } from "../domain/session.ts";
import { costOf, tokensOf, totalUsage } from "./price.ts";
import { reader } from "./readers.ts";

const folder = new URL("fixtures/", import.meta.url);
const runs = JSON.parse(readFileSync(new URL("runs.json", folder), "utf8")) as Record<string, { argv: string[]; stderr?: string }>;
const names = Object.keys(runs).filter((name) => existsSync(new URL(`${name}.jsonl`, folder)));

type Line = Record<string, never>;

function linesOf(name: string): Line[] {
  const text = readFileSync(new URL(`${name}.jsonl`, folder), "utf8");
  return text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
}

/** What a reader says was spent after each line, and at the end. */
function spentOf(name: string, priorUsage?: Usage): { after: (Spent | null)[]; end: Spent | null } {
  const read = reader(name.split("-")[0] ?? "", { argv: runs[name]?.argv ?? [], ...(priorUsage ? { priorUsage } : {}) });
  const after = readFileSync(new URL(`${name}.jsonl`, folder), "utf8")
    .split("\n")
    .map((line) => {
      read.line(line);
      return read.spent();
    });
  const { spent = null } = read.end({ exitCode: 0, signal: null, stderrTail: "", end: "exited" });
  return { after, end: spent };
}

const tokens = (spent: Spent | null | undefined) => (spent ? tokensOf(totalUsage(spent)) : null);

describe("what a recorded run spent", () => {
  it.each(names)("%s grows from line to line, and is never more than the end says", (name) => {
    const { after, end } = spentOf(name);
    const counts = after.flatMap((spent) => tokens(spent) ?? []);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    if (end) expect(Math.max(0, ...counts)).toBe(tokens(end));
    const money = after.flatMap((spent) => spent?.costUsd ?? []);
    if (end?.costUsd != null) expect(Math.max(0, ...money)).toBe(end.costUsd);
  });

  it.each(names.filter((name) => name.startsWith("claude-")))(
    "%s: money and tokens are those of the result, each message counts once",
    (name) => {
      const lines = linesOf(name);
      const result = lines.findLast(({ type }) => type === "result") as { total_cost_usd: number } | undefined;
      const { end } = spentOf(name);
      if (result && !end?.partial) {
        expect(end?.costUsd).toBe(result.total_cost_usd);
        return;
      }
      expect(end).toMatchObject({ costUsd: null, partial: true });
      const messages = lines.flatMap(({ type, message, error }) => (type === "assistant" && error === undefined ? [message] : []));
      const ids = new Set((messages as unknown as { id: string }[]).map(({ id }) => id));
      // The scripted model says 100 tokens of input for each answer, and 1 of output as long as it goes on.
      expect(end && totalUsage(end).inputTokens).toBe(ids.size * 100);
    },
  );

  it.each(names.filter((name) => name.startsWith("pi-")))("%s: the sum over its own answers", (name) => {
    const answers = linesOf(name).flatMap(({ type, message }) => {
      const answer = message as { role?: string; usage: { cost: { total: number } } & Record<string, number> } | undefined;
      return type === "message_end" && answer?.role === "assistant" ? [answer.usage] : [];
    });
    const { end } = spentOf(name);
    const total = answers.reduce((sum, usage) => sum + usage.cost.total, 0);
    expect(tokens(end)).toBe(
      answers.reduce((sum, { input = 0, output = 0, cacheRead = 0, cacheWrite = 0 }) => sum + input + output + cacheRead + cacheWrite, 0),
    );
    // The scripted model of another API has no price in models.json.
    if (total > 0 || tokens(end) === 0) expect(end?.costUsd).toBeCloseTo(total, 12);
    else expect(end?.costUsd).toBeNull();
  });

  it("codex counts over the whole conversation: a resumed run is charged for its own part", () => {
    const prior = { inputTokens: 300, outputTokens: 30, cacheReadTokens: 0, cacheWriteTokens: 0 };
    expect(spentOf("codex-sess-1").end).toMatchObject({ byModel: [{ usage: prior }], partial: false });
    const resumed = spentOf("codex-resume-stdin", prior).end;
    expect(resumed?.byModel).toEqual([{ model: null, usage: { ...prior, inputTokens: 300, outputTokens: 30 } }]);
  });

  it("codex that was stopped in the middle of a turn tells nothing; one that never got an answer used nothing", () => {
    expect(spentOf("codex-kill-SIGINT-in-tool").end).toBeNull();
    expect(tokens(spentOf("codex-err-401").end)).toBe(0);
    expect(tokens(spentOf("codex-err-429-usage-limit").end)).toBe(0);
  });

  it("the program's own prices come to what claude says, where it knows the model", () => {
    const models = new Set<string>();
    for (const name of names.filter((each) => each.startsWith("claude-"))) {
      const { end } = spentOf(name);
      // The one that claude 2.1.197 still prices as it was announced, and one that it does not know.
      if (!end?.costUsd || end.byModel.some(({ model }) => model === "claude-sonnet-5" || model === "my-local-model")) continue;
      for (const { model } of end.byModel) models.add(model ?? "");
      expect(costOf({ ...end, costUsd: null }, undefined).usd, name).toBeCloseTo(end.costUsd, 12);
    }
    expect([...models].sort()).toEqual(["claude-haiku-4-5-20251001", "claude-opus-4-8", "claude-sonnet-4-5"]);
  });

  it("a result of claude that leaves out the answer that was cut off does not hide it", () => {
    const cut = names.filter(
      (name) => name.startsWith("claude-") && linesOf(name).some(({ type }) => type === "result") && spentOf(name).end?.partial,
    );
    expect(cut).toEqual(["claude-json-schema-invalid-forever", "claude-kill-SIGINT-in-api"]);
    expect(spentOf("claude-kill-SIGINT-in-api").end?.byModel).toEqual([
      { model: "claude-opus-4-8", usage: { inputTokens: 100, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 } },
    ]);
  });

  it("subagents are part of the money, and each model has its own tokens", () => {
    expect(spentOf("claude-subagent-task").end).toMatchObject({
      costUsd: 0.003,
      byModel: [{ model: "claude-opus-4-8", usage: { inputTokens: 400, outputTokens: 40 } }],
    });
  });
});
