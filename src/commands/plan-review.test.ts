import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { loadConfig } from "../inputs/config.ts";
import { readPlans } from "../planner/read-plans.ts";
import { planText } from "../planner/show-plan.ts";
import { call, type Home, makeHome } from "./cli-fixture.ts";
import * as review from "./plan-review.ts";

/** A home whose agent runs a bash script, with a draft of one ticket beside its repository. */
function homeWithDraft(script: string): Home {
  const home = makeHome();
  const repo = join(dirname(home.dir), "app");
  execFileSync("git", ["init", "-q", "-b", "main", repo]);
  execFileSync("git", ["-C", repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]);
  const command = join(dirname(home.dir), "reviewer.sh");
  writeFileSync(command, `#!/bin/bash\ncat > "$HOME/prompt"\n${script}\n`);
  chmodSync(command, 0o755);
  home.write("config.yaml", `defaultAgent: fake\nagents:\n  fake: { command: ${command} }\npollInterval: 0.2\nretryBackoffSeconds: 0\n`);
  home.write("state/plans/login/plan.json", {
    id: "login",
    name: "Login",
    goal: "People can sign in.",
    repo,
    workflow: "flow",
    status: "draft",
    tickets: [{ ticketId: "LOGIN-1", order: 1 }],
  });
  home.write("state/plans/login/tickets/LOGIN-1.json", {
    planId: "login",
    ticketId: "LOGIN-1",
    title: "A form",
    acceptanceCriteria: ["A test signs in"],
    skills: ["testing"],
  });
  return home;
}

/** A review of the plan "login" that was made before. */
function earlierReview(home: Home, planId: string, fields: object): void {
  const repo = join(dirname(home.dir), "app");
  const tickets = [{ ticketId: "REVIEW", order: 1 }];
  home.write(`state/plans/${planId}/plan.json`, { id: planId, name: 'Review of plan "login"', repo, workflow: "plan-review", tickets });
  home.write(`state/plans/${planId}/tickets/REVIEW.json`, { planId, ticketId: "REVIEW", ...fields });
}

const say = (verdict: string, findings: object[]) => `echo '${JSON.stringify({ verdict, summary: "Looked at it.", findings })}'`;
const plansIn = (home: Home) => readdirSync(join(home.dir, "state/plans")).toSorted();

it("a plan without faults is approved, how to go on is said, and a review that was begun is gone on with", async () => {
  const home = homeWithDraft(
    `for text in 'People can sign in' 'A test signs in' 'skills testing'; do grep -q "$text" "$HOME/prompt" || exit 1; done
${say("approved_with_comments", [{ severity: "suggestion", file: "LOGIN-1", message: "Name the route." }])}`,
  );
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const view = readPlans(config).plans.get("login");
  earlierReview(home, "review-login-1", { title: "A review", description: view && planText(view) });
  earlierReview(home, "review-login-2", { title: "A review", description: "The plan as it was before." });
  expect(await call(home, review, ["login"])).toMatchObject({
    ending: "ok",
    stdout: "approved, with suggestions: Looked at it.\n- suggestion: LOGIN-1: Name the route.\n",
    stderr: expect.stringContaining("The plan can be worked: orchestrator plan approve login, then orchestrator daemon"),
  });
  expect(plansIn(home)).toEqual(["login", "review-login-1", "review-login-2"]);
}, 60_000);

it("a blocking finding asks for changes, three times at most, and the plan stays as it was", async () => {
  const home = homeWithDraft(say("fail", [{ severity: "blocking", file: "LOGIN-1", message: "It has no scope." }]));
  const first = await home.run("plan", "review", "login", "--json");
  expect(first).toMatchObject({ code: 7, stderr: expect.stringContaining("round 1 of 3") });
  expect(JSON.parse(first.stdout).data).toMatchObject({
    planId: "login",
    review: "review-login-1",
    round: 1,
    verdict: "fail",
    findings: [{ severity: "blocking", file: "LOGIN-1", message: "It has no scope." }],
  });
  earlierReview(home, "review-login-2", { status: "needs_attention" });
  earlierReview(home, "review-login-3", { status: "complete" });
  expect(await call(home, review, ["login"])).toMatchObject({
    ending: "needsAttention",
    stderr: expect.stringContaining("a person has to decide"),
  });
  expect(plansIn(home)).toEqual(["login", ...[1, 2, 3, 4].map((n) => `review-login-${n}`)]);
  expect(await call(home, review, ["login"])).toMatchObject({
    ending: "conflict",
    stderr: expect.stringContaining("was reviewed 3 times already"),
  });
  expect(JSON.parse(readFileSync(join(home.dir, "state/plans/login/plan.json"), "utf8")).status).toBe("draft");
}, 120_000);

it("P8 a review without a verdict is none", async () => {
  const silent = homeWithDraft("echo fine");
  expect(await call(silent, review, ["login"])).toMatchObject({
    ending: "needsAttention",
    stdout: "",
    stderr: expect.stringContaining("There is no verdict"),
  });
  expect(await call(silent, review, ["nologin"])).toMatchObject({ ending: "notFound" });
  expect(await call(silent, review, ["login"], { agent: "nobody" })).toMatchObject({
    ending: "invalid",
    stderr: expect.stringMatching(/^error: The review cannot be made\.\n- error: agent: there is no agent "nobody".*\n.*\n$/),
  });
}, 60_000);
