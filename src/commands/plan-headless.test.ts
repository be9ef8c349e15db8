import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { PlannerRun } from "../planner/planner-run.ts";
import { runCli, startCli } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { writePiFolder } from "../testing/model-server/cli-home.ts";
import { type Rule, scenario } from "../testing/model-server/script.ts";
import { type ModelServer, startModelServer } from "../testing/model-server/server.ts";
import { until } from "../testing/until.ts";

const ticket = (id: string, blockedBy: string[]) => ({
  id,
  title: `The ${id} of the login`,
  description: `The login has no ${id} yet. Add it in src/${id}.ts and nowhere else, so that a person can sign in with a name and a password; the other half is another ticket.`,
  acceptanceCriteria: [`\`npm test -- ${id}\` passes`, "a wrong password is answered with 401"],
  scope: [`src/${id}.ts`],
  blockedBy,
});

const plan = (repo: string, blockersOfApi: string[] = []) => ({
  id: "login",
  name: "Login",
  goal: "People can sign in.",
  repo,
  workflow: "local",
  tickets: [ticket("api", blockersOfApi), ticket("ui", ["api"])],
});

const report = {
  reasoning: "Two halves.",
  deferred: [{ title: "Single sign-on", reason: "nobody asked for it yet" }],
  assumptions: ["passwords"],
  risks: [],
};

async function world(
  rules: (home: TestHome) => Rule[],
  config: Record<string, unknown> = {},
): Promise<{ home: TestHome; server: ModelServer }> {
  const home = testHome({ config });
  const server = await startModelServer(scenario(rules(home)));
  onTestFinished(() => server.close());
  writePiFolder(join(home.home, "pi"), server.url);
  return { home, server };
}

/** The runs that were kept. */
function runsOf({ home }: TestHome): PlannerRun[] {
  const dir = join(home, "state/planner-runs");
  if (!existsSync(dir)) return [];
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  return readdirSync(dir).map((name) => PlannerRun.parse(JSON.parse(readFileSync(join(dir, name), "utf8"))));
}

describe("orchestrator plan", () => {
  it("plans alone: a finding is mended, the plan is a draft, and the run is kept with what it thought, cost and left out", async () => {
    const { home, server } = await world(({ repo }) => [
      {
        when: /plan the login/i,
        turns: [
          { text: "A first try.", actions: [{ tool: "create_plan", input: plan(repo, ["ui"]) }] },
          { actions: [{ tool: "create_plan", input: plan(repo) }] },
          { actions: [{ tool: "report", input: report }] },
          { text: "That was all." },
        ],
      },
    ]);
    const { code, stdout, stderr } = await runCli(home, "plan", "--prompt", "Please plan the login", "--repo", home.repo, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { data } = JSON.parse(stdout) as { data: PlannerRun };
    expect(data).toMatchObject({
      result: "written",
      plans: [{ id: "login", how: "written" }],
      approved: false,
      report,
      model: "scripted/scripted-model",
      request: "Please plan the login",
      calls: [
        { tool: "create_plan", ok: false, answer: expect.stringContaining("wait for each other in a circle") },
        { tool: "create_plan", ok: true },
        { tool: "report", ok: true },
      ],
      said: [
        { kind: "text", text: "A first try." },
        { kind: "text", text: "That was all." },
      ],
      turns: 4,
      usage: { inputTokens: 400, outputTokens: 40 },
    });
    expect(data.costUsd).toBeCloseTo(0.003);
    expect(data.prompt).toContain("Nobody is there to ask");
    expect(server.requests[0]?.body).toContain("No daemon is running");
    expect(runsOf(home)).toEqual([data]);
    expect(home.plan("login")).toMatchObject({ status: "draft" });
  });

  it("plans what a source holds, active at once with --yes, and asks no model where nothing is open", async () => {
    const { home, server } = await world(({ repo }) => [
      { when: /Sign in with a password/, turns: [{ actions: [{ tool: "create_plan", input: plan(repo) }] }, { text: "Done." }] },
    ]);
    writeFileSync(join(home.dir, "todo.md"), "# Backlog\n\n- [ ] Sign in with a password\n");
    writeFileSync(join(home.dir, "done.md"), "# Backlog\n\n- [x] Sign in with a password\n");
    expect(await runCli(home, "plan", "--from", "backlog:done.md", "--repo", home.repo)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("nothing to plan"),
    });
    expect(server.requests).toEqual([]);
    expect(await runCli(home, "plan", "--from", "backlog:todo.md", "--repo", home.repo, "--yes")).toMatchObject({
      code: 0,
      stdout: 'Plan "login" is written; it is active\n',
    });
    expect(home.plan("login")).toMatchObject({ status: "active" });
  });

  it.each<[string, Rule["turns"], string[], RegExp]>([
    ["a model that writes no plan", [{ text: "I would rather not." }], [], /the planner wrote no plan/],
    ["a provider that refuses", [{ status: 401 }], [], /scripted failure 401/],
    ["a provider that never answers", [{ hang: true }], ["--timeout", "3s"], /it has taken 3 s/],
    [
      "a budget that is used up",
      [{ text: "Hm.", actions: [{ tool: "list_plans", input: {} }] }],
      ["--max-usd", "0.0001"],
      /it has cost \$0\.00 of/,
    ],
  ])("P7 ends with 1 after %s", async (_name, turns, options, why) => {
    const { home } = await world(() => [{ when: /anything/, turns }]);
    expect(await runCli(home, "plan", "--prompt", "anything", ...options)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(why),
    });
    expect(runsOf(home)).toMatchObject([{ result: "failed", error: expect.stringMatching(why), plans: [] }]);
  });

  it("refuses more tickets than it may plan, in one piece or one by one", async () => {
    const { home } = await world(({ repo }) => {
      const big = { ...plan(repo), tickets: [...plan(repo).tickets, ticket("e2e", ["ui"])] };
      const one = { tool: "add_ticket", input: { planId: "login", ticket: ticket("e2e", ["ui"]) } };
      const tries = [{ tool: "create_plan", input: big }, { tool: "create_plan", input: plan(repo) }, one];
      return [{ when: /login/, turns: [...tries.map((action) => ({ actions: [action] })), { text: "Then not." }] }];
    });
    expect(await runCli(home, "plan", "--prompt", "the login", "--max-tickets", "2")).toMatchObject({ code: 0 });
    const refused = { ok: false, answer: expect.stringContaining("3 tickets, and this run may plan 2") };
    expect(runsOf(home)).toMatchObject([{ calls: [refused, { ok: true }, refused] }]);
  });

  it("P12 has tools of MCP servers: those that may change something with --yes alone, and none of a server that is not there", async () => {
    const server = fileURLToPath(new URL("../testing/mcp/server.ts", import.meta.url));
    const mcpServers = { good: { command: process.execPath, args: [server, "good"] }, lost: { command: "/no/such/program" } };
    const use = [
      { tool: "echo", input: { text: "hello" } },
      { tool: "learn", input: { name: "more" } },
    ];
    const { home } = await world(() => [{ when: /anything/, turns: [{ actions: use }, { text: "Tried." }] }], { mcpServers });
    const calls = async (...options: string[]) => {
      const { stdout } = await runCli(home, "plan", "--prompt", "anything", "--json", ...options);
      const { servers, calls } = (JSON.parse(stdout) as { data: PlannerRun }).data;
      expect(servers).toEqual(["MCP server good: ready, 6 tools", expect.stringMatching(/^MCP server lost is not available: /)]);
      return calls.map(({ tool, ok, answer }) => [tool, ok, answer.slice(0, 40)]);
    };
    expect(await calls()).toEqual([
      ["mcp__good__echo", true, "hello"],
      ["mcp__good__learn", false, "this tool may change something and needs"],
    ]);
    expect(await calls("--yes")).toEqual([
      ["mcp__good__echo", true, "hello"],
      ["mcp__good__learn", true, "learnt"],
    ]);
  });

  it("stops at SIGTERM, with its run kept", async () => {
    const { home, server } = await world(() => [{ when: /anything/, turns: [{ hang: true }] }]);
    const running = startCli(home, "plan", "--prompt", "anything");
    await until(() => server.requests.length > 0);
    running.signal("SIGTERM");
    expect(await running.ended).toBe(143);
    expect(runsOf(home)).toMatchObject([{ result: "failed", error: "it was told to stop" }]);
  });

  it("is a verb and a group of commands", async () => {
    const home = testHome();
    expect(await runCli(home, "plan")).toMatchObject({ code: 2, stderr: expect.stringContaining("What is to be planned?") });
    expect(await runCli(home, "plan", "shwo")).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "show"?') });
    expect(await runCli(home, "plan", "show", "nothing")).toMatchObject({ code: 3 });
    expect((await runCli(home, "plan", "--help")).stdout).toMatch(/--prompt <text>[\s\S]*approve/);
    expect(await runCli(home, "interactive")).toMatchObject({ code: 2, stderr: expect.stringContaining("needs a terminal") });
  });
});
