import { describe, expect, it } from "vitest";
import { type Home, makeHome, writePlan } from "./cli-fixture.ts";

const usage = { inputTokens: 100, outputTokens: 10, cacheReadTokens: 1000, cacheWriteTokens: 0 };
const entry = (runId: string, fields: object = {}) => ({
  schema: 1,
  at: "2026-11-20T10:00:00.000Z",
  planId: "auth",
  ticketId: "T-1",
  runId,
  phase: "implement",
  agent: "claude",
  model: "claude-opus-4-8",
  status: "passed",
  usage,
  costUsd: 0.25,
  pricedBy: "cli",
  partial: false,
  reservedUsd: 0,
  reservedTokens: 0,
  ...fields,
});

/** A ledger as a crash may leave it: a run twice, a line of nobody's, a torn end. */
function homeWithLedger(): Home {
  const home = makeHome();
  writePlan(home);
  const lines = [
    entry("0001-implement"),
    entry("0001-implement", { costUsd: 9 }),
    entry("0002-review", { phase: "review", agent: "codex", model: "my-model", costUsd: null, pricedBy: "unknown" }),
    entry("0001-implement", {
      ticketId: "T-2",
      at: "2026-11-21T10:00:00.000Z",
      status: "lost",
      partial: true,
      costUsd: 0.05,
      pricedBy: "table",
    }),
    entry("0003-fix", {
      phase: "fix",
      agent: "codex",
      model: null,
      usage: null,
      costUsd: null,
      pricedBy: "unknown",
      partial: true,
      reservedUsd: 0.3,
    }),
  ];
  home.write("state/plans/auth/ledger.jsonl", `${lines.map((line) => JSON.stringify(line)).join("\n")}\nnobody's\n{"schema":1,"at`);
  return home;
}

describe("cost", () => {
  it("shows a line per plan, and says what is not known", async () => {
    const { code, stdout, stderr } = await homeWithLedger().run("cost");
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stderr: "1 line of the ledgers cannot be read\n",
      stdout: [
        "plan   runs  input  output  cache read  cache write  cost",
        "auth   4     300    30      3000        0            $0.30  (unknown price of 1 run; unknown use of 1 run; 1 run cut short, at least)",
        "total  4     300    30      3000        0            $0.30  (unknown price of 1 run; unknown use of 1 run; 1 run cut short, at least)",
        "",
      ].join("\n"),
    });
  });

  it.each([
    ["ticket", { "auth/T-1": 0.25, "auth/T-2": 0.05 }],
    ["phase", { implement: 0.3, review: null, fix: null }],
    ["agent", { claude: 0.3, codex: null }],
    ["model", { "claude-opus-4-8": 0.3, "my-model": null, null: null }],
    ["day", { "2026-11-20": 0.25, "2026-11-21": 0.05 }],
  ])("--by %s", async (by, expected) => {
    const { stdout } = await homeWithLedger().run("cost", "--by", by, "--json");
    const { data } = JSON.parse(stdout);
    expect(Object.fromEntries(data.rows.map(({ key, costUsd }: { key: string; costUsd: number }) => [key, costUsd]))).toEqual(expected);
    expect(data.total).toMatchObject({ runs: 4, costUsd: 0.3, unknownPrice: 1, unknownUsage: 1, partial: 1 });
  });

  it("--since and --plan leave out what they say; nothing is said to be nothing", async () => {
    const home = homeWithLedger();
    const { stdout } = await home.run("cost", "--since", "2026-11-21T00:00:00Z", "--json");
    expect(JSON.parse(stdout).data.total).toMatchObject({ runs: 1, costUsd: 0.05 });
    expect(await home.run("cost", "--plan", "aut")).toMatchObject({ code: 3, stderr: expect.stringContaining('did you mean "auth"?') });
    expect((await home.run("cost", "--since", "2026-11-22")).stdout).toBe("No run of an agent has ended yet.\n");
  });
});

describe("budget", () => {
  it("sets and takes away caps of a plan and of a ticket", async () => {
    const home = homeWithLedger();
    expect(await home.run("budget", "auth", "--usd", "2.5")).toMatchObject({ code: 0, stdout: 'The budget of plan "auth" is set.\n' });
    expect((await home.run("budget", "auth/T-1", "--usd", "1", "--tokens", "1000")).code).toBe(0);
    const [plan] = JSON.parse((await home.run("status", "--json")).stdout);
    expect(plan.plan).toMatchObject({ budgetUsd: 2.5, budgetTokens: null });
    expect(plan.tickets[0]).toMatchObject({ ticketId: "T-1", budgetUsd: 1, budgetTokens: 1000 });
    expect((await home.run("budget", "auth", "T-1", "--usd", "none")).code).toBe(0);
    const [after] = JSON.parse((await home.run("status", "--json")).stdout);
    expect(after.tickets[0]).toMatchObject({ budgetUsd: null, budgetTokens: 1000 });
  });

  it.each([
    [["budget", "auth"], "Which budget is to be set?"],
    [["budget", "auth", "--usd", "much"], '--usd does not understand "much".'],
    [["budget", "auth", "--tokens", "1.5"], '--tokens does not understand "1.5".'],
  ])("refuses %j", async (args, message) => {
    expect(await homeWithLedger().run(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  });
});

describe("a ticket that waits for its budget", () => {
  const waiting = () => {
    const home = homeWithLedger();
    home.write("workflows/flow.yaml", "name: flow\nphases:\n  - { id: one, type: agent, promptTemplate: implement.md }\n");
    return home;
  };

  it("P11 why and status name the cap and the command that raises it, and run ends with 6", async () => {
    const home = waiting();
    await home.run("budget", "auth", "--usd", "0.7");
    const message = 'Plan "auth" may use $0.70: $0.60 are spent, and a run of "one" is taken to need $0.25.';
    const { stdout } = await home.run("why", "auth", "T-1", "--json");
    expect(JSON.parse(stdout).data.reasons[0]).toEqual({ code: "budget", message, command: "orchestrator budget auth --usd 0.85" });
    expect((await home.run("status")).stdout).toContain(`waits for budget: ${message} orchestrator budget auth --usd 0.85`);
    const [plan] = JSON.parse((await home.run("status", "--json")).stdout);
    expect(plan.tickets.map(({ waitsForBudget }: { waitsForBudget?: string }) => waitsForBudget)).toEqual([message, undefined]);
    expect(await home.run("run", "auth", "T-1")).toMatchObject({ code: 6, stderr: expect.stringContaining(message) });
  });
});
