import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { Config } from "../domain/config.ts";
import type { RunSpec } from "../domain/run.ts";
import type { Spent } from "../domain/session.ts";
import { makePlanView, makeTicket, makeWorld } from "../testing/builders.ts";
import { agentReport, exitRecord } from "../testing/phase-context.ts";
import { tempDir } from "../testing/temp.ts";
import { type Costs, createCosts } from "./costs.ts";

const at = "2026-11-21T12:00:00.000Z";
const ref = { planId: "plan", ticketId: "t1", runId: "0001-work" };
const usage = { inputTokens: 1000, outputTokens: 100, cacheReadTokens: 0, cacheWriteTokens: 0 };
const spent = (fields: Partial<Spent> = {}): Spent => ({ byModel: [{ model: null, usage }], costUsd: null, partial: false, ...fields });
const passed = { type: "passed" as const, at, runId: ref.runId };

let home: string;
let dir: string;
let file: string;
beforeEach(() => {
  home = tempDir();
  dir = join(home, "run/plan/t1/0001-work");
  file = join(home, "state/plans/plan/ledger.jsonl");
  mkdirSync(dir, { recursive: true });
  mkdirSync(join(home, "state/plans/plan"), { recursive: true });
});

/** A daemon that has just started. */
function costsOf(config: Partial<Config> = {}): Costs {
  const all = { home, stateDir: join(home, "state"), prices: {}, ...config } as Config;
  const activity = { state: "running" as const, runId: ref.runId, since: at };
  const world = makeWorld([makePlanView({ tickets: [makeTicket({ ticketId: "t1", activity })] })]);
  return createCosts({ config: () => all, world, now: () => at, log: { warn: () => {} } });
}

function write(name: string, value: object): void {
  writeFileSync(join(dir, name), JSON.stringify(value));
}

function begin(spec: Partial<RunSpec> = {}, by: "shim" | "revoked" = "shim"): void {
  write("spec.json", { schema: 1, ...ref, phase: "work", phaseType: "agent", data: { agent: "a" }, ...spec });
  write("claim.json", { schema: 1, runId: ref.runId, by, pid: 1, start: "", bootId: "", at });
}

const lines = () => readFileSync(file, "utf8").split("\n").filter(Boolean);

describe("a run's entry in the ledger", () => {
  it("P5 is written once, whatever crashes between it and the commit, and begins on a line of its own", async () => {
    begin({ model: "gpt-5.3-codex" });
    write("exit.json", exitRecord({ stdoutBytes: 1, agent: agentReport("done", { spent: spent() }) }));
    appendFileSync(file, '{"schema":1,"at":"2026');
    const cost = { usage, costUsd: expect.closeTo(0.00315, 9) };
    expect(await costsOf().enter(ref, passed)).toEqual(cost);
    const again = costsOf();
    expect(await again.enter(ref, { ...passed, at: "2026-11-22T00:00:00.000Z" })).toEqual(cost);
    expect(await again.enter(ref, passed)).toEqual(cost);
    expect(lines()).toHaveLength(2);
    expect(again.spending()).toMatchObject({ today: { usd: cost.costUsd, tokens: 1100 }, all: { runs: { usd: 1, tokens: 1 } } });
  });

  it("of a model without a known price has tokens and no money; caps count what was kept back", async () => {
    begin({ model: "my-model", reserved: { usd: 0.3, tokens: 5 } });
    write("exit.json", exitRecord({ stdoutBytes: 1, agent: agentReport("done", { spent: spent() }) }));
    const costs = costsOf();
    expect(await costs.enter(ref, passed)).toEqual({ usage });
    expect(JSON.parse(lines()[0] ?? "")).toMatchObject({ model: "my-model", costUsd: null, pricedBy: "unknown", usage });
    expect(costs.spending()).toMatchObject({
      plans: new Map([["plan", { usd: 0.3, tokens: 1100 }]]),
      all: { runs: { usd: 0, tokens: 1 } },
    });
  });

  it("P7 of an unknown price for which nothing was kept back is told, until the price is added", async () => {
    begin({ model: "my-model" });
    write("exit.json", exitRecord({ stdoutBytes: 1, agent: agentReport("done", { spent: spent() }) }));
    await costsOf().enter(ref, passed);
    const teller = { agent: "a", model: "my-model", tellsTokens: true };
    const keys = ["ticket usd plan/t1", "plan usd plan", "day usd 2026-11-21"];
    expect(costsOf().spending().unknown).toEqual(new Map(keys.map((key) => [key, teller])));
    const prices = { "my-model": { input: 1000, output: 0, cacheRead: 0, cacheWrite: 0 } };
    expect(costsOf({ prices }).spending()).toMatchObject({ unknown: new Map(), today: { usd: 1 }, all: { runs: { usd: 1 } } });
  });

  it("of a program that tells nothing is told once it has passed; one that was cut off may have had no time to", async () => {
    begin();
    write("exit.json", exitRecord({ stdoutBytes: 1 }));
    const cut = costsOf();
    await cut.enter(ref, { type: "lost", at, runId: ref.runId, reason: "killed" });
    expect(cut.spending().unknown).toEqual(new Map());
    rmSync(file);
    const whole = costsOf();
    await whole.enter(ref, passed);
    expect(whole.spending().unknown.get("plan tokens plan")).toEqual({ agent: "a", model: null, tellsTokens: false });
  });

  it("counts once while the run's end is yet to be committed", async () => {
    begin();
    write("usage.json", spent({ costUsd: 0.1 }));
    const costs = costsOf();
    expect(costs.spending().live("plan", "t1")).toEqual({ usd: 0.1, tokens: 1100 });
    await costs.enter(ref, passed);
    expect(costs.spending().live("plan", "t1")).toEqual({ usd: 0, tokens: 0 });
    expect(costs.spending().today).toEqual({ usd: 0.1, tokens: 1100 });
  });

  it("prices of the configuration come first", async () => {
    begin({ model: "gpt-5.3-codex" });
    write("exit.json", exitRecord({ stdoutBytes: 1, agent: agentReport("done", { spent: spent() }) }));
    const prices = { "gpt-5.3-codex": { input: 1000, output: 0, cacheRead: 0, cacheWrite: 0 } };
    expect(await costsOf({ prices }).enter(ref, passed)).toEqual({ usage, costUsd: 1 });
  });

  it.each([
    ["usage.json of a run that was lost", () => write("usage.json", spent({ costUsd: 0.1 })), { costUsd: 0.1, partial: true, usage }],
    ["nothing of a run that was lost at once", () => {}, { costUsd: null, partial: true, usage: null, pricedBy: "unknown" }],
    [
      "nothing at all of one that never started",
      () => write("exit.json", exitRecord({ end: "spawn_failed" })),
      { costUsd: 0, partial: false, usage: { ...usage, inputTokens: 0, outputTokens: 0 } },
    ],
    [
      "a record of an earlier version",
      () => write("exit.json", exitRecord({ stdoutBytes: 1, agent: agentReport("done", { usage, costUsd: 0.2 }) })),
      { costUsd: 0.2, partial: false, usage },
    ],
  ])("is made from %s", async (_, records, expected) => {
    begin();
    records();
    await costsOf().enter(ref, { type: "lost", at, runId: ref.runId, reason: "" });
    expect(lines().map((line) => JSON.parse(line))).toMatchObject([{ ...ref, phase: "work", agent: "a", status: "lost", ...expected }]);
  });

  it.each([
    ["no agent", () => begin({ phaseType: "script" })],
    ["revoked", () => begin({}, "revoked")],
    ["never written down", () => {}],
  ])("is none for a run that was %s", async (_, records) => {
    records();
    expect(await costsOf().enter(ref, passed)).toEqual({});
    expect(() => lines()).toThrow("ENOENT");
  });
});
