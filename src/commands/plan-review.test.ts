import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { type Home, makeHome } from "./cli-fixture.ts";

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
  });
  return home;
}

const say = (verdict: string, findings: object[]) => `echo '${JSON.stringify({ verdict, summary: "Looked at it.", findings })}'`;

it("a plan without faults is approved, and how to go on is said", async () => {
  const home = homeWithDraft(
    `grep -q 'People can sign in' "$HOME/prompt" && grep -q 'A test signs in' "$HOME/prompt" || exit 1
${say("approved_with_comments", [{ severity: "suggestion", file: "LOGIN-1", message: "Name the route." }])}`,
  );
  expect(await home.run("plan", "review", "login")).toMatchObject({
    code: 0,
    stdout: "approved, with suggestions: Looked at it.\n- suggestion: LOGIN-1: Name the route.\n",
    stderr: expect.stringContaining("The plan can be worked: orchestrator plan approve login, then orchestrator daemon"),
  });
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
  await home.run("plan", "review", "login");
  expect(await home.run("plan", "review", "login")).toMatchObject({ code: 7, stderr: expect.stringContaining("a person has to decide") });
  expect(await home.run("plan", "review", "login")).toMatchObject({
    code: 4,
    stderr: expect.stringContaining("was reviewed 3 times already"),
  });
  const [plan] = JSON.parse((await home.run("status", "--json")).stdout).filter(({ id }: { id: string }) => id === "login");
  expect(plan.plan.status).toBe("draft");
}, 120_000);

it("P8 a review without a verdict is none", async () => {
  const silent = homeWithDraft("echo fine");
  expect(await silent.run("plan", "review", "login")).toMatchObject({
    code: 7,
    stdout: "",
    stderr: expect.stringContaining("There is no verdict"),
  });
  expect(await silent.run("plan", "review", "nologin")).toMatchObject({ code: 3 });
}, 60_000);
