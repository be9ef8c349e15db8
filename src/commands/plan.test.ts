import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { goodDraft, goodTicket } from "../testing/bench.ts";
import { startDaemon } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { runHere } from "../testing/run-here.ts";
import { startTerminal } from "../testing/terminal.ts";
import { until } from "../testing/until.ts";
import { type Home, makeHome } from "./cli-fixture.ts";

/** A home with a repository and the draft of plan "auth" in auth.yaml beside it. */
function homeWithDraft(fields: Parameters<typeof goodDraft>[1] = {}): Home & { repo: string; file: string } {
  const home = makeHome();
  const { repo } = testHome();
  const file = join(dirname(home.dir), "auth.yaml");
  writeFileSync(file, stringify({ ...goodDraft(repo, fields), workflow: "flow" }));
  return { ...home, repo, file };
}

const planJson = (home: Home, id = "auth") => JSON.parse(readFileSync(join(home.dir, "state/plans", id, "plan.json"), "utf8"));
const ticketJson = (home: Home, ticketId: string) =>
  JSON.parse(readFileSync(join(home.dir, "state/plans/auth/tickets", `${ticketId}.json`), "utf8"));
const dataOf = (stdout: string) => JSON.parse(stdout).data;

describe("plan new", () => {
  it("writes a draft, which waits for approval and says so everywhere", async () => {
    const home = homeWithDraft();
    const dir = join(home.dir, "state/plans/auth");
    expect(await home.here("plan", "new", home.file)).toEqual({
      code: 0,
      stdout: `Plan "auth" is written to ${dir}; it is a draft until somebody says: orchestrator plan approve auth\n`,
      stderr: "",
    });
    expect(planJson(home)).toMatchObject({ status: "draft", createdBy: "ada" });
    expect((await home.here("status")).stdout).toContain("waits for approval: orchestrator plan approve auth");
    expect((await home.here("why", "auth", "api")).stdout).toContain("orchestrator plan approve auth");
    expect(await home.here("plan", "approve", "auth")).toEqual({ code: 0, stdout: 'Plan "auth" is approved and active.\n', stderr: "" });
    expect(await home.here("plan", "approve", "auth")).toMatchObject({ code: 4, stderr: expect.stringContaining("is no draft") });
    expect((await home.here("status")).stdout).not.toContain("waits for approval");
  });

  it("is active with --yes, and reads JSON and standard input", async () => {
    const home = homeWithDraft();
    const file = join(dirname(home.dir), "auth.json");
    writeFileSync(file, JSON.stringify(parse(readFileSync(home.file, "utf8")), null, "\t"));
    const [program, argv] = home.argv("plan", "new", "--yes", "--json", "-");
    const stdout = execFileSync(program, argv, { env: home.env, cwd: dirname(home.dir), input: readFileSync(file), encoding: "utf8" });
    const dir = join(home.dir, "state/plans/auth");
    expect(dataOf(stdout)).toEqual({ result: "written", planId: "auth", dir, status: "active", findings: [] });
    expect(await home.here("plan", "new", "--yes", file)).toMatchObject({
      code: 4,
      stdout: expect.stringContaining('auth.json:2:8  id: there is a plan "auth" already'),
      stderr: "nothing was written: 1 error, 0 warnings\n",
    });
  });

  it("names line, field and ticket of what is wrong, and writes nothing", async () => {
    const home = homeWithDraft();
    writeFileSync(
      home.file,
      `id: auth
goal: Why.
repo: ${home.repo}
workflow: flwo
tickets:
  - { id: api, title: The API, blockedBy: [ui] }
  - id: ui
    title: The UI
    blockedBy:
      - api
`,
    );
    const { code, stdout, stderr } = await home.here("plan", "new", home.file);
    const errors = stdout.split("\n").filter((line) => line.startsWith("error"));
    expect([code, stderr, errors]).toEqual([
      8,
      expect.stringMatching(/^nothing was written: 2 errors, \d+ warnings\n$/),
      [
        `error: ${home.file}:4:11  workflow: there is no workflow "flwo" — fix: did you mean "flow"? [unknown-workflow]`,
        `error: ${home.file}:6:43  tickets[0].blockedBy: ticket "api": tickets wait for each other in a circle: api -> ui -> api — fix: take one step out: for example "ui" from blockedBy of "api" [cycle]`,
      ],
    ]);
    writeFileSync(home.file, "id: auth\ntickets: [{ id: a, titel: x }]\n");
    expect((await home.here("plan", "lint", home.file)).stdout).toContain(
      `error: ${home.file}:2:20  tickets[0].titel: ticket "a": unknown key`,
    );
    writeFileSync(home.file, "id: [\n");
    expect(await home.here("plan", "new", "--json", home.file)).toMatchObject({ code: 8 });
    expect(await home.here("plan", "new", "nowhere.yaml")).toMatchObject({ code: 3, stderr: expect.stringContaining("does not exist") });
    expect(existsSync(join(home.dir, "state/plans"))).toBe(false);
  });
});

describe("at a terminal", () => {
  it("a plan is written with a yes alone: a no, Ctrl-C and Ctrl-D write nothing", async () => {
    const home = homeWithDraft();
    const [program, argv] = home.argv("plan", "new", home.file);
    const env = Object.fromEntries(Object.entries(home.env).map(([name, value]) => [name, value ?? ""]));
    for (const answer of ["ctrlD", "ctrlC", "n", "y"] as const) {
      const terminal = startTerminal([program, ...argv], { env, cwd: dirname(home.dir) });
      await terminal.shows('Write plan "auth"? [y/N]');
      if (answer === "ctrlD" || answer === "ctrlC") terminal.press(answer);
      else terminal.type(`${answer}\r`);
      const { code } = await terminal.ended;
      expect([answer, code, existsSync(join(home.dir, "state/plans/auth"))]).toEqual([answer, answer === "y" ? 0 : 1, answer === "y"]);
    }
    expect(planJson(home).status).toBe("active");
  });
});

describe("plan show, lint and graph", () => {
  it("show a plan as it is, and check it where it lies", async () => {
    const home = homeWithDraft({
      tickets: [goodTicket("api"), goodTicket("ui", { blockedBy: ["api"] }), goodTicket("e2e", { blockedBy: ["api", "ui"] })],
    });
    await home.here("plan", "new", home.file);
    const { stdout } = await home.here("plan", "show", "auth", "--json");
    const { status, plan, tickets } = dataOf(stdout);
    expect([status, tickets]).toEqual(["draft", { api: "ready", ui: "queued", e2e: "queued" }]);
    expect(plan).toEqual(
      JSON.parse(JSON.stringify({ ...goodDraft(home.repo), workflow: "flow", tickets: parse(readFileSync(home.file, "utf8")).tickets })),
    );
    const text = (await home.here("plan", "show", "auth")).stdout;
    expect(text).toContain("order: api -> ui -> e2e");
    expect(text).toContain("orchestrator plan approve auth");
    expect((await home.here("plan", "graph", "auth")).stdout).toBe(`auth
└─ api  ready  Add the api of the sign-in
   └─ ui  queued  Add the ui of the sign-in
      └─ e2e  queued  Add the e2e of the sign-in  (after api, too)
`);
    expect((await home.here("plan", "graph", home.file, "--format", "mermaid")).stdout).toBe(`flowchart LR
  t0["api<br/>Add the api of the sign-in"]
  t1["ui<br/>Add the ui of the sign-in"]
  t2["e2e<br/>Add the e2e of the sign-in"]
  t0 --> t1
  t0 --> t2
  t1 --> t2
`);
    expect((await home.here("plan", "graph", "auth", "--format", "dot")).stdout).toContain('  "api" -> "ui";');
    expect(await home.here("plan", "lint", "auth")).toEqual({ code: 0, stdout: "", stderr: "0 errors, 0 warnings\n" });
    const file = join(home.dir, "state/plans/auth/tickets/api.json");
    writeFileSync(file, JSON.stringify({ ...ticketJson(home, "api"), agent: "cladue" }));
    expect(await home.here("plan", "lint", "auth")).toMatchObject({
      code: 8,
      stdout: `error: ${file}  agent: there is no agent "cladue" in the configuration — fix: did you mean "claude"? [unknown-agent]\n`,
    });
    expect(await home.here("plan", "approve", "auth")).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("was not approved: 1 error"),
    });
    expect(planJson(home).status).toBe("draft");
    expect(await home.here("plan", "show", "auht")).toMatchObject({ code: 3, stderr: expect.stringContaining('did you mean "auth"?') });
  });
});

describe("plan apply", () => {
  it("writes, then changes what differs, and nothing the next time", async () => {
    const home = homeWithDraft();
    expect(await home.here("plan", "apply", home.file)).toMatchObject({ code: 0, stdout: 'Plan "auth" is written, as a draft.\n' });
    expect(await home.here("plan", "apply", home.file)).toMatchObject({ code: 0, stdout: 'Nothing to do: plan "auth" is so already.\n' });
    const draft = parse(readFileSync(home.file, "utf8"));
    draft.tickets[0].title = "Add the API";
    draft.tickets.pop();
    draft.tickets.push(goodTicket("e2e", { blockedBy: ["api"] }));
    writeFileSync(home.file, stringify(draft));
    expect(await home.here("plan", "apply", home.file)).toEqual({
      code: 0,
      stdout: 'Plan "auth": changed title of api; added e2e.\nnot in the draft, and left alone: ui (orchestrator ticket remove auth …)\n',
      stderr: "",
    });
    await home.here("plan", "approve", "auth");
    draft.tickets[0].title = "Add the API again";
    writeFileSync(home.file, stringify(draft));
    expect(await home.here("plan", "apply", home.file)).toMatchObject({
      code: 4,
      stdout: expect.stringContaining("only a person may change it"),
    });
    expect(await home.here("plan", "apply", "--yes", home.file)).toMatchObject({ code: 0 });
    expect(ticketJson(home, "api").title).toBe("Add the API again");
  });
});

describe("plan edit", () => {
  /** An editor that does this to the file. */
  const editor = (home: Home, script: string) => {
    const file = join(dirname(home.dir), "editor.sh");
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return { EDITOR: file };
  };

  it("becomes what was saved, takes away what was taken out, and keeps a text with a mistake in it", async () => {
    const home = homeWithDraft();
    await home.here("plan", "new", home.file);
    expect(await home.hereWith(editor(home, "true"), "plan", "edit", "auth")).toMatchObject({ code: 0, stdout: "Nothing was changed.\n" });
    const changed = editor(home, `sed -i -e 's/title: Add the api/title: Build the api/' -e 's/^goal: .*/goal: Another./' "$1"`);
    expect(await home.hereWith(changed, "plan", "edit", "auth")).toMatchObject({
      code: 0,
      stdout: 'Plan "auth": changed goal of the plan; changed title of api.\n',
    });
    // The last ticket, which begins its lines below `- id: ui`.
    expect(await home.hereWith(editor(home, `sed -i '/- id: ui/,$d' "$1"`), "plan", "edit", "auth")).toMatchObject({
      code: 0,
      stdout: 'Plan "auth": removed ui.\n',
    });
    expect(planJson(home).tickets.map(({ ticketId }: { ticketId: string }) => ticketId)).toEqual(["api"]);
    const { code, stderr } = await home.hereWith(editor(home, `sed -i 's/workflow: flow/workflow: nope/' "$1"`), "plan", "edit", "auth");
    const kept = /your text is kept: (.*)/.exec(stderr)?.[1] ?? "";
    expect([code, readFileSync(kept, "utf8")]).toEqual([8, expect.stringContaining("workflow: nope")]);
    expect(planJson(home).workflow).toBe("flow");
    expect(await home.hereWith(editor(home, "exit 3"), "plan", "edit", "auth")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("ended with 3"),
    });
  });

  it("leaves alone what changed meanwhile, and tickets that could not be shown", async () => {
    const home = homeWithDraft();
    await home.here("plan", "new", home.file);
    const [opened, go] = [join(home.dir, "opened"), join(home.dir, "go")];
    const slow = editor(
      home,
      `touch ${opened}; until [ -e ${go} ]; do sleep 0.05; done; sed -i 's/title: Add the api/title: Build the api/' "$1"`,
    );
    const edited = home.hereWith(slow, "plan", "edit", "auth");
    await until(() => existsSync(opened));
    expect(await home.here("ticket", "add", "auth", "late", "--title", "Late")).toMatchObject({ code: 0 });
    expect(await home.here("ticket", "change", "auth", "ui", "-p", "P1")).toMatchObject({ code: 0 });
    writeFileSync(go, "");
    expect(await edited).toMatchObject({ code: 0, stdout: 'Plan "auth": changed title of api.\n' });
    expect(planJson(home).tickets.map(({ ticketId }: { ticketId: string }) => ticketId)).toEqual(["api", "ui", "late"]);
    expect([ticketJson(home, "api").title, ticketJson(home, "ui").priority]).toEqual(["Build the api of the sign-in", "P1"]);

    const file = join(home.dir, "state/plans/auth/tickets/late.json");
    writeFileSync(file, "{ oh");
    const again = editor(home, `grep -q 'late is not right' "$1" && sed -i 's/title: Build the api/title: Make the api/' "$1"`);
    expect(await home.hereWith(again, "plan", "edit", "auth")).toMatchObject({ code: 0, stdout: 'Plan "auth": changed title of api.\n' });
    expect([readFileSync(file, "utf8"), planJson(home).tickets.length]).toEqual(["{ oh", 3]);
    for (const command of ["lint", "approve"]) {
      const { code, stdout } = await home.here("plan", command, "auth");
      expect([code, stdout]).toEqual([8, expect.stringContaining(`error: ${file}  1:3: `)]);
    }
    expect(await home.here("ticket", "depend", "auth", "ui", "late")).toMatchObject({ code: 0 });
  });
});

describe("ticket", () => {
  it("adds, changes, orders and removes", async () => {
    const home = homeWithDraft();
    await home.here("plan", "new", "--yes", home.file);
    const criterion = "`npm test` passes";
    const description = "After ten wrong passwords an account is to be locked for an hour; src/auth/lock.ts counts them already.";
    const fields = [
      "--title",
      "Lock accounts",
      "--criterion",
      criterion,
      "--after",
      "api",
      "ui",
      "--scope",
      "src/auth/**",
      "-d",
      description,
    ];
    expect(await home.here("ticket", "add", "auth", "lock", ...fields)).toEqual({
      code: 0,
      stdout: 'Plan "auth": added lock.\n',
      stderr: "",
    });
    expect(ticketJson(home, "lock")).toMatchObject({
      title: "Lock accounts",
      acceptanceCriteria: [criterion],
      description,
      scope: ["src/auth/**"],
    });
    expect(planJson(home).tickets[2]).toEqual({ ticketId: "lock", order: 3, blockedBy: ["api", "ui"] });
    expect(await home.here("ticket", "undepend", "auth/lock", "ui")).toMatchObject({
      code: 0,
      stdout: 'Plan "auth": lock no longer waits for ui.\n',
    });
    expect(await home.here("ticket", "depend", "auth", "api", "lock")).toMatchObject({
      code: 4,
      stdout: expect.stringContaining("tickets would wait for each other in a circle: api -> lock -> api"),
    });
    expect(await home.here("ticket", "change", "auth/lock", "--priority", "P0", "--after", "none")).toMatchObject({ code: 0 });
    expect(await home.here("ticket", "change", "auth/lock", "--priority", "urgent")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("priority"),
    });
    expect(await home.here("ticket", "change", "auth/lock", "--agent", "emacs")).toMatchObject({ code: 8 });
    expect(await home.here("ticket", "change", "auth/lock", "--priority", "none", "--json")).toMatchObject({ code: 0 });
    expect(ticketJson(home, "lock").priority).toBe(null);
    expect(await home.here("ticket", "remove", "auth", "api")).toMatchObject({
      code: 4,
      stdout: expect.stringContaining('ticket "ui" waits for "api"'),
    });
    expect(await home.here("ticket", "remove", "lock")).toMatchObject({ code: 0, stdout: 'Plan "auth": removed lock.\n' });
    expect(readdirSync(join(home.dir, "state/plans/auth/tickets")).sort()).toEqual(["api.json", "ui.json"]);
    const file = join(dirname(home.dir), "t.yaml");
    writeFileSync(file, stringify(goodTicket("e2e", { blockedBy: ["ui"] })));
    expect(await home.here("ticket", "add", "auth", "--file", file)).toMatchObject({ code: 0, stdout: 'Plan "auth": added e2e.\n' });
  });
});

describe("beside a daemon", () => {
  it("plans are taken up once approved, changed while they run, and put away", async () => {
    const home = testHome();
    home.writeWorkflow(
      "flow.yaml",
      "name: flow\nphases:\n  - { id: work, type: script, command: work.sh, args: ['{{ ticketId }}'], onSuccess: done }\n  - { id: done, type: terminal }\n",
    );
    home.writeScript("work.sh", `until [ -e ${home.dir}/go-$1 ]; do sleep 0.05; done\n`);
    const file = join(home.dir, "auth.yaml");
    writeFileSync(file, stringify({ ...goodDraft(home.repo), workflow: "flow" }));
    const daemon = await startDaemon(home);
    const beside = { env: home.env, cwd: home.dir };
    expect(await runHere(beside, "plan", "new", file)).toMatchObject({ code: 0 });
    expect(await runHere(beside, "plan", "approve", "auth")).toMatchObject({ code: 0 });
    await until(() => home.ticket("auth", "api").status === "running");
    expect(await runHere(beside, "ticket", "add", "auth", "e2e", "--title", "Try it out", "--after", "ui")).toMatchObject({ code: 0 });
    expect(await runHere(beside, "ticket", "remove", "auth", "api")).toMatchObject({ code: 4 });
    expect(await runHere(beside, "plan", "archive", "auth")).toMatchObject({ code: 4 });
    for (const id of ["api", "ui", "e2e"]) writeFileSync(join(home.dir, `go-${id}`), "");
    await until(() => home.plan("auth").status === "complete");
    expect(home.ticket("auth", "e2e").status).toBe("complete");
    expect(await runHere(beside, "plan", "archive", "auth")).toMatchObject({ code: 0 });
    expect(await runHere(beside, "plan", "new", "--yes", file)).toMatchObject({
      code: 4,
      stdout: expect.stringContaining("state/archive/auth"),
    });
    expect(await daemon.end("SIGTERM")).toBe(0);
  });
});
