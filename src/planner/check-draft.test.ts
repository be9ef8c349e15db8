import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlanDraft } from "../domain/draft.ts";
import { goodDraft, goodTicket } from "../testing/bench.ts";
import { checkDraft, type DraftFacts } from "./check-draft.ts";

const facts: DraftFacts = {
  workflows: new Map([
    ["local", undefined],
    ["standard", undefined],
    ["torn", { message: 'Workflow "torn" cannot be used: no phase', fix: "mend it" }],
  ]),
  agents: ["claude", "codex"],
  plans: new Map([["billing", "/state/plans/billing"]]),
  repos: new Map<string, { id: string } | { message: string; fix?: string }>([
    ["/repo", { id: "/repo/.git" }],
    ["/link", { id: "/repo/.git" }],
    ["/gone", { message: "The repository /gone does not exist.", fix: "correct the path" }],
  ]),
  branches: new Map([["/repo/.git\nbad..name", { message: '"bad..name" cannot be the name of a branch.' }]]),
  takenBranches: new Map([["/repo/.git\nfeature/x", "ticket billing/T-1"]]),
};

/** `rule field: message` of each finding. */
function found(draft: unknown, more: Partial<DraftFacts> = {}): string[] {
  return checkDraft(draft, { ...facts, ...more }).map(({ rule, field, message }) => `${rule} ${field}: ${message}`);
}

const tickets = (...list: [string, string[]][]) => list.map(([id, blockedBy]) => goodTicket(id, { blockedBy }));

describe("checkDraft", () => {
  it("has nothing to say of a good draft", () => {
    expect(found(goodDraft("/repo"))).toEqual([]);
  });

  it("names what does not fit the schema by field and ticket, and what was meant", () => {
    const draft = { id: "auth", repo: "/repo", workflow: "local", tickets: [{ id: "api", titel: "Add it", priority: "high" }] };
    expect(checkDraft(draft, facts)).toEqual([
      {
        severity: "error",
        rule: "missing",
        file: "draft",
        field: "tickets[0].title",
        message: 'ticket "api": "title" is required',
        fix: "add it (text)",
      },
      {
        severity: "error",
        rule: "bad-value",
        file: "draft",
        field: "tickets[0].priority",
        message: 'ticket "api": expected P0 | P1 | P2 | P3, got string "high"',
        fix: "use one of P0, P1, P2, P3",
      },
      {
        severity: "error",
        rule: "unknown-key",
        file: "draft",
        field: "tickets[0].titel",
        message: 'ticket "api": unknown key "titel"',
        fix: 'did you mean "title"?',
      },
    ]);
  });

  it("finds a circle beside what does not fit the schema", () => {
    const draft = {
      id: "auth",
      tickets: [
        { id: "a", blockedBy: ["b"] },
        { id: "b", blockedBy: ["a"] },
      ],
    };
    expect(found(draft)).toContain('cycle tickets[0].blockedBy: ticket "a": tickets wait for each other in a circle: a -> b -> a');
  });

  it("refuses ids that are the same, or the same file on some file systems", () => {
    const draft = goodDraft("/repo", { tickets: tickets(["api", []], ["API", []], ["api", []]) });
    expect(found(draft).filter((line) => line.startsWith("duplicate-id"))).toEqual([
      'duplicate-id tickets[1].id: ticket "API": the ids "api" and "API" differ only in case',
      'duplicate-id tickets[2].id: ticket "api": the id "api" is there twice',
    ]);
    expect(found(goodDraft("/repo", { id: "Billing" }))).toEqual([
      'plan-exists id: there is a plan "billing" already (/state/plans/billing)',
    ]);
  });

  it("names the circle in which tickets wait for each other", () => {
    const draft = goodDraft("/repo", { tickets: tickets(["base", []], ["api", ["ui", "base"]], ["ui", ["api"]], ["self", ["self"]]) });
    expect(checkDraft(draft, facts)).toEqual([
      {
        severity: "error",
        rule: "cycle",
        file: "draft",
        field: "tickets[1].blockedBy",
        message: 'ticket "api": tickets wait for each other in a circle: api -> ui -> api',
        fix: 'take one step out: for example "ui" from blockedBy of "api"',
      },
      expect.objectContaining({ message: 'ticket "self": tickets wait for each other in a circle: self -> self' }),
    ]);
  });

  it("says what an unknown blocker was meant to be", () => {
    const draft = goodDraft("/repo", { tickets: tickets(["api", []], ["ui", ["apo", "database"]]) });
    expect(checkDraft(draft, facts).map(({ field, message, fix }) => [field, message, fix])).toEqual([
      ["tickets[1].blockedBy[0]", 'ticket "ui": is blocked by "apo", which the plan does not have', 'did you mean "api"?'],
      [
        "tickets[1].blockedBy[1]",
        'ticket "ui": is blocked by "database", which the plan does not have',
        "name a ticket of this plan (api, ui), or leave it out",
      ],
    ]);
  });

  it("refuses a branch that two tickets have, whatever path leads to their repository", () => {
    const branch = "feature/login";
    const mine = [goodTicket("api", { branch }), goodTicket("ui", { branch, repo: "/link" }), goodTicket("db", { branch: "feature/x" })];
    expect(found(goodDraft("/repo", { tickets: [...mine, goodTicket("bad", { branch: "bad..name" })] }))).toEqual([
      'duplicate-branch tickets[1].branch: ticket "ui": api has the branch "feature/login", too',
      'duplicate-branch tickets[2].branch: ticket "db": ticket billing/T-1 has the branch "feature/x", too',
      'branch tickets[3].branch: ticket "bad": "bad..name" cannot be the name of a branch.',
    ]);
    const below = [goodTicket("api", { branch: "feature/login/api" }), goodTicket("ui", { branch: "feature" }), goodTicket("db")];
    expect(found(goodDraft("/repo", { tickets: below }))).toEqual([
      'duplicate-branch tickets[0].branch: ticket "api": git cannot keep the branch "feature/login/api" beside that of ui',
    ]);
  });

  it("refuses what is not there: repository, workflow, agent", () => {
    const draft = PlanDraft.parse({
      id: "auth",
      agent: "cladue",
      tickets: [
        goodTicket("api", { workflow: "locl" }),
        goodTicket("ui", { repo: "/gone", workflow: "torn" }),
        goodTicket("db", { repo: "/repo", agent: "emacs", workflow: "nothing-like-it" }),
      ],
    });
    expect(checkDraft(draft, facts).map(({ rule, field, fix }) => [rule, field, fix])).toEqual([
      ["unknown-agent", "agent", 'did you mean "claude"?'],
      ["no-repo", "tickets[0].repo", "set repo of the plan to an absolute path"],
      ["unknown-workflow", "tickets[0].workflow", 'did you mean "local"?'],
      ["repo", "tickets[1].repo", "correct the path"],
      ["broken-workflow", "tickets[1].workflow", "mend it"],
      ["unknown-agent", "tickets[2].agent", "use one of claude, codex, or leave it out"],
      ["unknown-workflow", "tickets[2].workflow", "use one of local, standard"],
    ]);
    const { workflow: _, ...without } = goodDraft("/repo");
    expect(found(without)).toContain('no-workflow tickets[0].workflow: ticket "api": neither the ticket nor the plan names a workflow');
  });

  it("refuses texts that no file and no program takes", () => {
    const draft = goodDraft("/repo", { goal: "a\0b", tickets: [goodTicket("api", { description: "x".repeat(300_000) })] });
    expect(found(draft)).toEqual([
      "nul goal: holds a NUL character",
      'too-long tickets[0].description: ticket "api": 300000 characters are more than the 262144 allowed',
    ]);
  });

  it("never throws, whatever it is given", () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.record({ id: fc.jsonValue(), tickets: fc.jsonValue() })), (value) => {
        expect(Array.isArray(checkDraft(value, facts))).toBe(true);
      }),
    );
  });
});
