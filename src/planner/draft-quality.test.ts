import { describe, expect, it } from "vitest";
import type { PlanDraft } from "../domain/draft.ts";
import { goodDraft, goodTicket } from "../testing/bench.ts";
import { draftQuality } from "./draft-quality.ts";
import { scopeOverlap } from "./scope-overlap.ts";

const found = (draft: PlanDraft) => draftQuality(draft).map(({ rule, field, message }) => `${rule} ${field}: ${message}`);
const ofTicket = (fields: Parameters<typeof goodTicket>[1]) => found(goodDraft("/repo", { tickets: [goodTicket("api", fields)] }));

describe("draftQuality", () => {
  it("has nothing to say of a good draft", () => {
    expect(draftQuality(goodDraft("/repo"))).toEqual([]);
  });

  it.each([
    "It works well",
    "Errors are handled properly",
    "Handles timeouts, retries, etc.",
    "The page is user-friendly",
    "Logging is added where needed",
    "The import is fast",
    "Done",
  ])("S3.67 %j cannot be checked", (criterion) => {
    expect(ofTicket({ acceptanceCriteria: [criterion] })).toEqual([
      expect.stringMatching(/^vague-criterion tickets\[0\]\.acceptanceCriteria\[0\]: ticket "api": ".+" cannot be checked$/),
    ]);
  });

  it.each([
    "`npm test` passes",
    "GET /health answers 200 within 50 ms",
    "A wrong password is handled gracefully: the answer is 401 and the log has no stack",
    "The file src/legacy.ts is gone",
    "Existing tests still pass",
  ])("S3.67 %j can be checked", (criterion) => {
    expect(ofTicket({ acceptanceCriteria: [criterion] })).toEqual([]);
  });

  it("names what a ticket lacks or has too much of", () => {
    expect(ofTicket({ acceptanceCriteria: [], scope: [], description: "Short." })).toEqual([
      'thin-description tickets[0].description: ticket "api": 6 characters say too little',
      'no-criteria tickets[0].acceptanceCriteria: ticket "api": has no acceptance criteria',
      'no-scope tickets[0].scope: ticket "api": does not say which files it is to change',
    ]);
    const many = Array.from({ length: 11 }, (_, i) => `\`check ${i}\` prints ${i}`);
    expect(ofTicket({ acceptanceCriteria: many, description: "a b ".repeat(1100) })).toEqual([
      'long-description tickets[0].description: ticket "api": 4400 characters are more than one change needs',
      'many-criteria tickets[0].acceptanceCriteria: ticket "api": 11 acceptance criteria are more than one change has',
    ]);
    expect(ofTicket({ type: "spike", scope: [] })).toEqual([]);
  });

  it.each([
    ["Add the login form and rename the users table", "rename the users table"],
    ["feat: fix the parser; update the CI", "update the CI"],
    ["Remove the cache, add metrics", "add metrics"],
  ])("%j names two things", (title, second) => {
    expect(ofTicket({ title })).toEqual([
      `two-things tickets[0].title: ticket "api": the title names two things ("${second}" is the second)`,
    ]);
  });

  it.each(["Add search and filters to the list", "Add the endpoint and test it", "Read and write access for admins"])(
    "%j names one",
    (title) => {
      expect(ofTicket({ title })).toEqual([]);
    },
  );

  it("S3.64 finds decisions that are open", () => {
    const description = `${goodTicket("api").description} The store is either Redis or a table; TBD.`;
    expect(ofTicket({ description })).toEqual([
      'undecided tickets[0].description: ticket "api": leaves a decision open: "either Redis or a table; TBD"',
    ]);
  });

  it("finds decisions that contradict each other, and what two tickets do twice", () => {
    const api = goodTicket("api");
    const draft = goodDraft("/repo", {
      tickets: [
        { ...api, description: `${api.description} Use bcrypt for the hashes. Build with Node 24.1.` },
        goodTicket("ui", { title: "Add the API of the sign-in!", acceptanceCriteria: ["Never use bcrypt in src/ui", "CI runs Node 22.4"] }),
      ],
    });
    expect(found(draft)).toEqual([
      'same-title tickets[1].title: ticket "ui": has the title of ticket "api"',
      'contradiction tickets[1].acceptanceCriteria[0]: ticket "ui": "Never use bcrypt" contradicts "Use bcrypt" of ticket "api"',
      'contradiction tickets[1].acceptanceCriteria[1]: ticket "ui": "Node 22.4" contradicts "Node 24.1" of ticket "api"',
    ]);
  });

  it("takes a number that is no version for none", () => {
    const numbers = [
      "a delay of 1.5 s, listening on 127.0.0.1, as section 3.1 says",
      "a delay of 2.5 s, listening on 10.0.0.1, section 4.2",
    ];
    const tickets = numbers.map((text, i) => goodTicket(`t${i}`, { description: `${goodTicket("t").description} It has ${text}.` }));
    expect(found(goodDraft("/repo", { tickets }))).toEqual([]);
  });

  it("S3.78 finds scopes that meet unless one ticket waits for the other, at any distance", () => {
    const a = goodTicket("a", { scope: ["src/auth/**"] });
    const b = goodTicket("b", { scope: ["src/b.ts"], blockedBy: ["a"] });
    const c = (blockedBy: string[]) => goodTicket("c", { scope: ["docs/x.md", "src/auth/login.ts"], blockedBy });
    expect(found(goodDraft("/repo", { tickets: [a, b, c([])] }))).toEqual([
      'overlapping-scope tickets[2].scope: ticket "c": "src/auth/login.ts" meets "src/auth/**" of ticket "a", and neither waits for the other',
    ]);
    expect(found(goodDraft("/repo", { tickets: [a, b, c(["b"])] }))).toEqual([]);
    expect(found(goodDraft("/repo", { tickets: [a, b, { ...c([]), repo: "/other" }] }))).toEqual([]);
  });

  it("says when a plan has no goal, and when it is more than anybody reads", () => {
    const tickets = Array.from({ length: 51 }, (_, i) => goodTicket(`t${i}`));
    expect(found(goodDraft("/repo", { goal: " ", tickets }))).toEqual([
      "no-goal goal: the plan does not say what it is for",
      "large-plan tickets: 51 tickets are more than anybody reads before saying yes",
    ]);
  });
});

describe("scopeOverlap", () => {
  it.each([
    ["src/a.ts", "src/a.ts", true],
    ["src", "src/a.ts", true],
    ["src/", "src/x/**", true],
    ["./src/**", "src/x/y.ts", true],
    ["src/**/*.ts", "src/x/y.ts", true],
    ["src/**/*.ts", "src/x/*.ts", true],
    ["**/*.md", "docs/a.md", true],
    ["**/*.md", "**/*.ts", false],
    ["src/a/**", "src/b/**", false],
    ["src/a", "src/ab", false],
    ["src/*.ts", "src/x/y.ts", false],
    ["src/**", "docs/a.md", false],
    ["src/auth/**", "src/*/index.ts", true],
    ["docs", "**/*.test.*", false],
    ["src/a.ts", "**/*.md", false],
    ["src/a*.ts", "src/b*.ts", false],
  ])("%s and %s: %s", (a, b, meet) => {
    expect(scopeOverlap([a], [b]) !== undefined).toBe(meet);
    expect(scopeOverlap([b], [a]) !== undefined).toBe(meet);
  });
});
