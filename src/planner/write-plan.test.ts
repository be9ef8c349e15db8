import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { goodDraft, testBench, testPerson } from "../testing/bench.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";
import { writePlan } from "./write-plan.ts";

const flow = "name: local\nphases:\n  - { id: work, type: script, command: work.sh, onSuccess: done }\n  - { id: done, type: terminal }\n";

function home(): TestHome {
  const made = testHome();
  made.writeWorkflow("local.yaml", flow);
  made.writeScript("work.sh", "exit 0\n");
  return made;
}

const plansIn = ({ home }: TestHome) => (existsSync(join(home, "state/plans")) ? readdirSync(join(home, "state/plans")) : []);

describe("writePlan", () => {
  it("writes a whole plan at once, as a draft where nobody can be asked", async () => {
    const at = home();
    const dir = join(at.home, "state/plans/auth");
    const draft = goodDraft(at.repo, { budgetUsd: 5 });
    const [api] = draft.tickets;
    if (api) api.source = { kind: "github", id: "o/r#7", url: "https://example.test/7" };
    expect(await writePlan(draft, testBench(at))).toEqual({ result: "written", planId: "auth", dir, status: "draft", findings: [] });
    expect(plansIn(at)).toEqual(["auth"]);
    expect(at.plan("auth")).toMatchObject({
      id: "auth",
      name: "Sign-in",
      goal: "People can sign in with a password.",
      repo: at.repo,
      workflow: "local",
      status: "draft",
      createdBy: "a test",
      budgetUsd: 5,
      tickets: [
        { ticketId: "api", order: 1, blockedBy: [] },
        { ticketId: "ui", order: 2, blockedBy: ["api"] },
      ],
    });
    expect(at.ticket("auth", "api")).toMatchObject({
      ...{ planId: "auth", ticketId: "api", status: "queued", type: "feature", scope: ["src/api/**"] },
      ...{ linearUrl: "https://example.test/7", source: { kind: "github", id: "o/r#7" } },
    });
  });

  it("is active with a person's yes, which sees what it says yes to", async () => {
    const at = home();
    const person = testPerson(true);
    const draft = goodDraft(at.repo);
    draft.tickets[1]?.acceptanceCriteria.push("It works well");
    expect(await writePlan(draft, testBench(at, { person }))).toMatchObject({ result: "written", status: "active" });
    expect(person.asked).toEqual([
      `Write plan "auth"?
Sign-in (auth)
People can sign in with a password.
2 tickets, workflow local, agent none, in ${at.repo}
Order: api -> ui

api  Add the api of the sign-in  [feature]
    in src/api/**
    - A test in src/api signs in with a password and gets status 200
ui  Add the ui of the sign-in  [feature; after api]
    in src/ui/**
    - A test in src/ui signs in with a password and gets status 200
    - It works well

Doubtful:
- warning: tickets[1].acceptanceCriteria[1]: ticket "ui": "works well" cannot be checked [vague-criterion]
  fix: name a command and its result, an input and its output, or the state of a file`,
    ]);
  });

  it("is active without a question when somebody has said yes beforehand", async () => {
    const at = home();
    const person = testPerson();
    expect(await writePlan(goodDraft(at.repo), testBench(at, { approved: true, person }))).toMatchObject({ status: "active" });
    expect(person.asked).toEqual([]);
  });

  it("leaves nothing behind when the person says no, or when there is an error", async () => {
    const at = home();
    expect(await writePlan(goodDraft(at.repo), testBench(at, { person: testPerson(false) }))).toEqual({ result: "declined", findings: [] });
    const bad = goodDraft(join(at.dir, "nowhere"));
    expect(await writePlan(bad, testBench(at, { approved: true }))).toMatchObject({
      result: "refused",
      findings: [{ rule: "repo", field: "repo", message: expect.stringContaining("does not exist") }],
    });
    expect(await writePlan(goodDraft(at.repo, { baseBranch: "nowhere" }), testBench(at, { approved: true }))).toMatchObject({
      result: "refused",
      findings: [{ rule: "base", field: "baseBranch", message: `The base branch nowhere does not exist in ${at.repo}.` }],
    });
    expect(plansIn(at)).toEqual([]);
  });

  it("never writes over a plan, nor over one that was put away, whatever its case; of two writers at once one wins", async () => {
    const at = home();
    const bench = testBench(at, { approved: true });
    const both = await Promise.allSettled([
      writePlan(goodDraft(at.repo), bench),
      writePlan(goodDraft(at.repo, { goal: "Another." }), bench),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(both.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { exit: "conflict", message: expect.stringContaining('There is a plan "auth" already') },
    });
    expect(plansIn(at)).toEqual(["auth"]);
    expect(await writePlan(goodDraft(at.repo, { id: "AUTH" }), bench)).toMatchObject({
      result: "refused",
      findings: [{ rule: "plan-exists" }],
    });
    mkdirSync(join(at.home, "state/archive/old"), { recursive: true });
    expect(await writePlan(goodDraft(at.repo, { id: "old" }), bench)).toMatchObject({
      result: "refused",
      findings: [{ rule: "plan-exists" }],
    });
  });

  it("clears away what a writer has left that died over it, and nothing younger", async () => {
    const at = home();
    const plans = join(at.home, "state/plans");
    mkdirSync(join(plans, ".new-dead.1-1-x/tickets"), { recursive: true });
    mkdirSync(join(plans, ".new-live.1-2-y/tickets"), { recursive: true });
    const longAgo = new Date(Date.now() - 2 * 3600 * 1000);
    utimesSync(join(plans, ".new-dead.1-1-x"), longAgo, longAgo);
    await writePlan(goodDraft(at.repo), testBench(at));
    expect(plansIn(at).sort()).toEqual([".new-live.1-2-y", "auth"]);
  });

  it("takes paths from where the session was started", async () => {
    const at = home();
    await writePlan(goodDraft("."), testBench(at, { approved: true }));
    expect(at.plan("auth").repo).toBe(at.repo);
  });

  it("a draft is not worked before it is approved, and then it is, to its end", async () => {
    const at = home();
    await writePlan(goodDraft(at.repo), testBench(at));
    const { runner, settle } = await testRunner(at);
    await runner.tick();
    await runner.quiet();
    expect([at.ticket("auth", "api").status, at.plan("auth").status]).toEqual(["queued", "draft"]);
    expect(await runner.intend({ type: "pause-plan", planId: "auth", by: "ada", reason: "" })).toMatchObject({ result: "refused" });
    expect(await runner.intend({ type: "approve-plan", planId: "auth", by: "ada" })).toEqual({
      result: "applied",
      message: 'Plan "auth" is approved and active.',
    });
    expect(await runner.intend({ type: "approve-plan", planId: "auth", by: "ada" })).toMatchObject({ result: "refused" });
    await settle("auth", { api: "complete", ui: "complete" });
    await until(() => at.plan("auth").status === "complete");
    expect(readFileSync(join(at.home, "state/plans/auth/plan.json"), "utf8")).toContain('"goal": "People can');
  });
});
