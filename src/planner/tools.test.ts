import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { acquireDaemonLock } from "../state/lock.ts";
import { goodDraft, goodTicket, testBench, testPerson } from "../testing/bench.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import type { Bench } from "./tool.ts";
import { planTools, runTool } from "./tools.ts";

function home(): TestHome {
  const made = testHome({ config: { agents: { none: { command: "false" }, other: { command: "false", model: "big" } } } });
  made.writeWorkflow("local.yaml", "name: local\ndescription: does it here\nphases:\n  - { id: done, type: terminal }\n");
  return made;
}

function use(name: string, input: unknown, bench: Bench) {
  const tool = planTools.find((each) => each.name === name);
  if (!tool) throw new Error(`no tool ${name}`);
  return runTool(tool, input, bench);
}

describe("planTools", () => {
  it("have names of their own, descriptions, and input that is an object of JSON Schema", () => {
    expect(planTools.map(({ name }) => name)).toEqual([
      ...["create_plan", "validate_plan", "show_plan", "list_plans", "add_ticket", "change_ticket", "change_plan", "remove_ticket"],
      ...["add_dependency", "remove_dependency", "list_workflows", "list_repositories", "list_agents", "ask_person", "status"],
    ]);
    for (const { description, input } of planTools) {
      expect(description).toMatch(/^[A-Z].*\.$/);
      expect(z.toJSONSchema(input, { io: "input" })).toMatchObject({ type: "object", additionalProperties: false });
    }
  });

  it("a plan with a circle is refused with the way to mend it, mended, approved and written", async () => {
    const at = home();
    const bench = testBench(at, { person: testPerson(true) });
    const circle = goodDraft(at.repo, { tickets: [goodTicket("api", { blockedBy: ["ui"] }), goodTicket("ui", { blockedBy: ["api"] })] });
    expect(await use("create_plan", circle, bench)).toEqual({
      ok: false,
      text: `Nothing was written: 1 error, 0 warnings. Mend them and call create_plan again.
- error: tickets[0].blockedBy: ticket "api": tickets wait for each other in a circle: api -> ui -> api [cycle]
  fix: take one step out: for example "ui" from blockedBy of "api"`,
    });
    expect(existsSync(join(at.home, "state/plans"))).toBe(false);
    expect(await use("validate_plan", goodDraft(at.repo), bench)).toEqual({ ok: true, text: "0 errors, 0 warnings." });
    expect(await use("create_plan", goodDraft(at.repo), bench)).toEqual({
      ok: true,
      text: `Plan "auth" is written (${join(at.home, "state/plans/auth")}). It is active: a running daemon takes it up.`,
    });
    expect(await use("create_plan", goodDraft(at.repo, { id: "more" }), testBench(at, { person: testPerson(false) }))).toEqual({
      ok: false,
      text: "declined: the person said no, and nothing was written. Ask what has to change.",
    });
  });

  it("what does not fit comes back by field, with what was meant, from every tool", async () => {
    const bench = testBench(home());
    expect(await use("create_plan", { id: "auth", tickets: [{ id: "a b", title: "x" }], wrkflow: "local" }, bench)).toEqual({
      ok: false,
      text: `The input does not fit: 2 errors, 0 warnings. Nothing was done.
- error: tickets[0].id: ticket "a b": an id is 1 to 64 letters, digits, dots, dashes or underscores and starts with a letter or digit, got string "a b" [bad-value]
  fix: change the value
- error: wrkflow: unknown key "wrkflow" [unknown-key]
  fix: did you mean "workflow"?`,
    });
    expect(await use("add_ticket", { planId: "auth" }, bench)).toMatchObject({
      ok: false,
      text: expect.stringContaining('"ticket" is required'),
    });
    expect(await use("status", 7, bench)).toMatchObject({ ok: false });
    expect(await use("show_plan", { planId: "auth" }, bench)).toEqual({ ok: false, text: 'There is no plan "auth".\n  fix: known: none' });
  });

  it("a draft is changed ticket by ticket, and shown", async () => {
    const at = home();
    const bench = testBench(at);
    expect(await use("create_plan", goodDraft(at.repo), bench)).toMatchObject({
      ok: true,
      text: expect.stringContaining("plan approve auth"),
    });
    const steps: [string, object, string][] = [
      ["add_ticket", { ticket: goodTicket("e2e") }, 'Plan "auth": added e2e.'],
      ["add_dependency", { ticketId: "e2e", blockedBy: "ui" }, 'Plan "auth": e2e waits for ui.'],
      ["change_ticket", { ticketId: "e2e", changes: { priority: "P2", type: null } }, 'Plan "auth": changed priority, type of e2e.'],
      ["change_plan", { changes: { goal: "Sign-in works end to end." } }, 'Plan "auth": changed goal of the plan.'],
      ["change_plan", { changes: { goal: "Sign-in works end to end." } }, 'Nothing to do: plan "auth" is so already.'],
      ["remove_dependency", { ticketId: "ui", blockedBy: "api" }, 'Plan "auth": ui no longer waits for api.'],
      ["remove_ticket", { ticketId: "api" }, 'Plan "auth": removed api.'],
    ];
    for (const [name, input, text] of steps)
      expect(await use(name, { planId: "auth", ...input }, bench)).toMatchObject({ ok: true, text: expect.stringContaining(text) });
    expect(await use("add_dependency", { planId: "auth", ticketId: "ui", blockedBy: "e2e" }, bench)).toEqual({
      ok: false,
      text: "Nothing was changed.\n- error: tickets would wait for each other in a circle: ui -> e2e -> ui [edit]",
    });
    expect((await use("show_plan", { planId: "auth" }, bench)).text).toBe(`auth [draft] Sign-in
goal: Sign-in works end to end.
workflow local; repo ${at.repo}
order: ui -> e2e
It is a draft and waits for a person: orchestrator plan approve auth

ui [queued] Add the ui of the sign-in (feature)
  ${goodTicket("ui").description}
  scope: src/ui/**
  - A test in src/ui signs in with a password and gets status 200

e2e [queued] Add the e2e of the sign-in (P2; after ui)
  ${goodTicket("e2e").description}
  scope: src/e2e/**
  - A test in src/e2e signs in with a password and gets status 200`);
    expect((await use("list_plans", {}, bench)).text).toBe("auth [draft] Sign-in: 1 queued, 1 ready");
    expect((await use("status", { planId: "auth" }, bench)).text).toBe(`No daemon is running, so nothing is worked: orchestrator daemon
auth [draft] Sign-in: 1 queued, 1 ready
  waits for approval: orchestrator plan approve auth
  ui [ready] Add the ui of the sign-in: Plan "auth" is a draft and waits for approval. -> orchestrator plan approve auth
  e2e [queued] Add the e2e of the sign-in: Plan "auth" is a draft and waits for approval. -> orchestrator plan approve auth`);
  });

  it("an active plan is changed with a person's yes alone", async () => {
    const at = home();
    await use("create_plan", goodDraft(at.repo), testBench(at, { approved: true }));
    const change = { planId: "auth", ticketId: "ui", changes: { title: "Another" } };
    expect(await use("change_ticket", change, testBench(at))).toMatchObject({
      ok: false,
      text: expect.stringContaining("only a person may change it"),
    });
    expect(await use("change_ticket", change, testBench(at, { person: testPerson(false) }))).toMatchObject({
      ok: false,
      text: expect.stringMatching(/^declined/),
    });
    expect(at.ticket("auth", "ui").title).toBe("Add the ui of the sign-in");
    expect(await use("change_ticket", change, testBench(at, { person: testPerson(true) }))).toMatchObject({ ok: true });
    expect(at.ticket("auth", "ui").title).toBe("Another");
  });

  it("a person sees what a change comes to, and what is wrong because of it elsewhere in the plan", async () => {
    const at = home();
    const tickets = [goodTicket("api"), goodTicket("ui", { branch: "feature/ui" })];
    await use("create_plan", goodDraft(at.repo, { tickets }), testBench(at, { approved: true }));
    const person = testPerson(true, true);
    const bench = testBench(at, { person });
    const scope = { ticketId: "api", changes: { scope: ["src/ui/**", "src/api/**"], description: "Short.", priority: "P0" } };
    await use("change_ticket", { planId: "auth", ...scope }, bench);
    await use(
      "add_ticket",
      { planId: "auth", ticket: goodTicket("e2e", { description: `${goodTicket("e2e").description}\nTwo.` }) },
      bench,
    );
    expect(person.asked).toEqual([
      `Change plan "auth", which is active?
- changed description, priority, scope of api

api
    description: Short.
    priority: P0
    scope:
      - src/ui/**
      - src/api/**

Doubtful:
- warning: tickets[0].description: ticket "api": 6 characters say too little [thin-description]
  fix: say what is wrong or missing, why, where in the code, and what was decided: whoever works it knows nothing else
- warning: tickets[1].scope: ticket "ui": "src/ui/**" meets "src/ui/**" of ticket "api", and neither waits for the other [overlapping-scope]
  fix: add "api" to blockedBy, or keep their files apart`,
      `Change plan "auth", which is active?
- added e2e

e2e  Add the e2e of the sign-in  [feature]
    in src/e2e/**
    - A test in src/e2e signs in with a password and gets status 200
    description:
      ${goodTicket("e2e").description}
      Two.`,
    ]);
    const refusals: [string, object, string][] = [
      ["change_ticket", { ticketId: "api", changes: { branch: "feature/ui" } }, 'ticket "ui": api has the branch "feature/ui", too'],
      ["change_plan", { changes: { workflow: null } }, 'ticket "api": neither the ticket nor the plan names a workflow'],
    ];
    for (const [name, input, text] of refusals)
      expect(await use(name, { planId: "auth", ...input }, bench)).toMatchObject({ ok: false, text: expect.stringContaining(text) });
  });

  it("takes paths from where it was started and from the home folder, also in changes", async () => {
    const at = home();
    const bench = testBench(at, { cwd: at.dir });
    await use("create_plan", goodDraft("repo"), bench);
    const changes = { repo: "./repo", worktreeRoot: "~/trees" };
    expect(await use("change_plan", { planId: "auth", changes }, bench)).toMatchObject({ ok: true });
    await use("change_ticket", { planId: "auth", ticketId: "ui", changes: { repo: "repo" } }, bench);
    expect(at.plan("auth")).toMatchObject({ repo: at.repo, worktreeRoot: join(at.dir, "user/trees") });
    expect(at.ticket("auth", "ui").repo).toBe(at.repo);
  });

  it("what another command keeps from being changed is changed after it, also without a daemon", async () => {
    const at = home();
    const bench = testBench(at);
    await use("create_plan", goodDraft(at.repo), bench);
    const lock = acquireDaemonLock(at.home);
    const added = use("add_ticket", { planId: "auth", ticket: goodTicket("e2e") }, bench);
    const waiting = () => (existsSync(join(at.home, "inbox/new")) ? readdirSync(join(at.home, "inbox/new")) : []);
    await until(() => waiting().length > 0);
    lock?.release();
    expect(await added).toEqual({ ok: true, text: 'Plan "auth": added e2e.' });
    expect([at.plan("auth").tickets, waiting()]).toMatchObject([{ length: 3 }, []]);
  });

  it("lists what there is to choose from", async () => {
    const at = home();
    mkdirSync(join(at.dir, "node_modules/x/.git"), { recursive: true });
    const bench = testBench(at, { cwd: at.dir });
    expect((await use("list_workflows", {}, bench)).text.split("\n")).toContain("local: does it here");
    expect((await use("list_agents", {}, bench)).text).toBe("none (the default)\nother (model big)");
    expect((await use("list_repositories", {}, bench)).text).toBe(at.repo);
    const tree = join(tempDir(), "tree");
    at.git("worktree", "add", "-q", tree);
    const elsewhere = testBench(at, { cwd: tree });
    expect((await use("list_repositories", {}, elsewhere)).text).toBe(at.repo);
    // What only one of the two says is nobody's worktree.
    rmSync(join(at.repo, ".git/worktrees/tree/gitdir"));
    expect((await use("list_repositories", {}, elsewhere)).text).toMatch(/^There is no git repository/);
    await use("create_plan", goodDraft(at.repo), bench);
    expect((await use("list_repositories", {}, testBench(at, { cwd: join(at.repo, ".git") }))).text).toBe(`${at.repo} (plans: auth)`);
  });

  it("asks the person, where there is one", async () => {
    const at = home();
    const person = testPerson("The second", undefined);
    const question = { question: "Which one?", choices: ["The first", "The second"] };
    expect(await use("ask_person", question, testBench(at, { person }))).toEqual({ ok: true, text: "The second" });
    expect(await use("ask_person", { question: "Why?" }, testBench(at, { person }))).toMatchObject({ ok: false });
    expect(person.asked).toEqual(["Which one?\nThe first\nThe second", "Why?"]);
    expect(await use("ask_person", question, testBench(at))).toMatchObject({ ok: false, text: expect.stringContaining("Nobody is there") });
  });
});
