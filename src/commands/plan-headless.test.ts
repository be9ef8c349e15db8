import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createContext } from "../app.ts";
import type { UserError } from "../domain/errors.ts";
import { PlannerRun } from "../planner/planner-run.ts";
import { runCli, startCli } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { writePiFolder } from "../testing/model-server/cli-home.ts";
import { type Rule, scenario } from "../testing/model-server/script.ts";
import { type ModelServer, startModelServer } from "../testing/model-server/server.ts";
import { until } from "../testing/until.ts";
import type { Ending } from "./command.ts";
import { run as interactive } from "./interactive.ts";
import { run } from "./plan-headless.ts";

const ticket = (id: string, blockedBy: string[]) => ({
  id,
  title: `The ${id} of the login`,
  description: `The login has no ${id} yet. Add it in src/${id}.ts and nowhere else, so that a person can sign in with a name and a password; the other half is another ticket.`,
  acceptanceCriteria: [`\`npm test -- ${id}\` passes`, "a wrong password is answered with 401"],
  scope: [`src/${id}.ts`],
  blockedBy,
});

const login = (repo: string, blockersOfApi: string[] = []) => ({
  id: "login",
  name: "Login",
  goal: "People can sign in.",
  repo,
  workflow: "local",
  tickets: [ticket("api", blockersOfApi), ticket("ui", ["api"])],
});

/** The same, its first ticket made of the item that a prompt quotes. */
function fromBacklog(repo: string, prompt: string) {
  const [item] = JSON.parse(/```json\n([\s\S]*)\n```/.exec(prompt)?.[1] ?? "[]") as { source: unknown }[];
  const [api, ui] = login(repo).tickets;
  return { ...login(repo), tickets: [{ ...api, source: item?.source }, ui] };
}

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

/** The command within this process. */
async function plan(home: TestHome, options: Parameters<typeof run>[2]): Promise<{ ending: Ending; stdout: string; stderr: string }> {
  vi.stubEnv("HOME", home.env.HOME);
  const [stdout, stderr]: string[][] = [[], []];
  const { env, dir: cwd } = home;
  const context = createContext({
    ...{ env, cwd, version: "0", options: {} },
    stdout: { write: (text) => stdout?.push(text) },
    stderr: { write: (text) => stderr?.push(text) },
  });
  const ending = await run(context, [], options);
  return { ending, stdout: (stdout ?? []).join(""), stderr: (stderr ?? []).join("") };
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
          { text: "A first try.", actions: [{ tool: "create_plan", input: login(repo, ["ui"]) }] },
          { actions: [{ tool: "create_plan", input: login(repo) }] },
          { actions: [{ tool: "report", input: report }] },
          { text: "That was all. I saw the-word-nobody-may-see." },
        ],
      },
    ]);
    home.env.SOME_TOKEN = "the-word-nobody-may-see";
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
        { kind: "text", text: "That was all. I saw [redacted]." },
      ],
      turns: 4,
      usage: { inputTokens: 400, outputTokens: 40 },
    });
    expect(data.costUsd).toBeCloseTo(0.003);
    expect(data.prompt).toContain("Nobody is there to ask");
    // A person's --continue finds none of it.
    expect(data.sessionFile?.startsWith(join(home.home, "pi/planner-runs/"))).toBe(true);
    expect(existsSync(join(home.home, "pi/sessions"))).toBe(false);
    expect(server.requests[0]?.body).toContain("No daemon is running");
    expect(runsOf(home)).toEqual([data]);
    expect(home.plan("login")).toMatchObject({ status: "draft" });
  });

  it("plans what a source holds, active at once with --yes, and asks no model where nothing is open", async () => {
    const { home, server } = await world(({ repo }) => [
      {
        when: /Sign in with a password/,
        turns: (_match, { prompt }) => [{ actions: [{ tool: "create_plan", input: fromBacklog(repo, prompt) }] }, { text: "Done." }],
      },
    ]);
    writeFileSync(join(home.dir, "todo.md"), "# Backlog\n\n- [ ] Sign in with a password\n");
    writeFileSync(join(home.dir, "done.md"), "# Backlog\n\n- [x] Sign in with a password\n");
    expect(await plan(home, { from: "backlog:done.md", repo: home.repo })).toMatchObject({
      ending: "ok",
      stdout: expect.stringContaining("nothing to plan"),
    });
    expect(server.requests).toEqual([]);
    expect(await plan(home, { from: "backlog:todo.md", repo: home.repo, yes: true })).toMatchObject({
      ending: "ok",
      stdout: 'Plan "login" is written; it is active\n',
    });
    expect(home.plan("login")).toMatchObject({ status: "active" });
    const asked = server.requests.length;
    expect(await plan(home, { from: "backlog:todo.md", repo: home.repo })).toMatchObject({
      ending: "ok",
      stdout: expect.stringContaining("planned already"),
    });
    expect(server.requests.length).toBe(asked);
  });

  it.each<[string, Rule["turns"], Parameters<typeof run>[2], RegExp]>([
    ["a model that writes no plan", [{ text: "I would rather not." }], {}, /the planner wrote no plan/],
    ["a provider that refuses", [{ status: 401 }], {}, /scripted failure 401/],
    ["a provider that never answers", [{ hang: true }], { timeout: "1s" }, /it has taken 1 s/],
    [
      "a budget that is used up",
      [{ text: "Hm.", actions: [{ tool: "list_plans", input: {} }] }],
      { maxUsd: "0.0001" },
      /it has cost \$0\.00075 of \$0\.0001/,
    ],
    [
      "a plan that is refused, although it reports",
      [
        {
          actions: [
            { tool: "create_plan", input: {} },
            { tool: "report", input: report },
          ],
        },
        { text: "So much for that." },
      ],
      {},
      /the planner wrote no plan/,
    ],
  ])("P7 fails after %s", async (_name, turns, options, why) => {
    const { home } = await world(() => [{ when: /anything/, turns }]);
    expect(await plan(home, { prompt: "anything", ...options })).toMatchObject({
      ending: "failed",
      stdout: expect.not.stringContaining("Plan"),
      stderr: expect.stringMatching(why),
    });
    expect(runsOf(home)).toMatchObject([{ result: "failed", error: expect.stringMatching(why), plans: [] }]);
  });

  it("takes it for an answer that there is nothing to plan", async () => {
    const { home } = await world(() => [
      { when: /anything/, turns: [{ actions: [{ tool: "report", input: report }] }, { text: "All of it is planned." }] },
    ]);
    expect(await plan(home, { prompt: "anything" })).toMatchObject({
      ending: "ok",
      stdout: expect.stringMatching(/^The planner found nothing to plan\.\ndeferred: Single sign-on/),
    });
    expect(runsOf(home)).toMatchObject([{ result: "nothing", plans: [], report }]);
  });

  it("refuses more tickets than it may plan, in one piece or one by one", async () => {
    const { home } = await world(({ repo }) => {
      const big = { ...login(repo), tickets: [...login(repo).tickets, ticket("e2e", ["ui"])] };
      const one = { tool: "add_ticket", input: { planId: "login", ticket: ticket("e2e", ["ui"]) } };
      const tries = [{ tool: "create_plan", input: big }, { tool: "create_plan", input: login(repo) }, one];
      return [{ when: /login/, turns: [...tries.map((action) => ({ actions: [action] })), { text: "Then not." }] }];
    });
    expect(await plan(home, { prompt: "the login", maxTickets: 2 })).toMatchObject({ ending: "ok" });
    const refused = { ok: false, answer: expect.stringContaining("3 tickets, and this run may plan 2") };
    expect(runsOf(home)).toMatchObject([{ calls: [refused, { ok: true }, refused] }]);
  });

  it("plans no ticket again that failed, as it was", async () => {
    const failed = ticket("api", []);
    const { home } = await world(({ repo }) => {
      const smaller = { ...login(repo), tickets: [{ ...failed, title: "The route of the login" }] };
      const again = { tool: "create_plan", input: { ...login(repo), tickets: [failed] } };
      const tries = [again, { tool: "create_plan", input: smaller }];
      return [{ when: /login/, turns: [...tries.map((action) => ({ actions: [action] })), { text: "A part of it." }] }];
    });
    home.writePlan({ id: "before", workflow: "local" }, [
      { ticketId: "T1", title: failed.title, description: failed.description, status: "failed" },
    ]);
    expect(await plan(home, { prompt: "the login" })).toMatchObject({ ending: "ok" });
    const refused = { ok: false, answer: expect.stringContaining('ticket "api" asks just what before/T1 did, which failed') };
    expect(runsOf(home)).toMatchObject([{ calls: [refused, { ok: true }], plans: [{ id: "login", how: "written" }] }]);
  });

  it("P12 has tools of MCP servers: those that may change something with --yes alone, and none of a server that is not there", async () => {
    const server = fileURLToPath(new URL("../testing/mcp/server.ts", import.meta.url));
    const mcpServers = { good: { command: process.execPath, args: [server, "good"] }, lost: { command: "/no/such/program" } };
    const use = [
      { tool: "echo", input: { text: "hello" } },
      { tool: "learn", input: { name: "more" } },
    ];
    const { home } = await world(() => [{ when: /anything/, turns: [{ actions: use }, { text: "Tried." }] }], { mcpServers });
    const calls = async (yes: boolean) => {
      const { stdout } = await plan(home, { prompt: "anything", json: true, yes });
      const { servers, calls } = (JSON.parse(stdout) as { data: PlannerRun }).data;
      expect(servers).toEqual(["MCP server good: ready, 6 tools", expect.stringMatching(/^MCP server lost is not available: /)]);
      return calls.map(({ tool, ok, answer }) => [tool, ok, answer.slice(0, 40)]);
    };
    expect(await calls(false)).toEqual([
      ["mcp__good__echo", true, "hello"],
      ["mcp__good__learn", false, "this tool may change something and needs"],
    ]);
    expect(await calls(true)).toEqual([
      ["mcp__good__echo", true, "hello"],
      ["mcp__good__learn", true, "learnt"],
    ]);
  });

  it("P12 reads what the session is about and nothing else, however a path is written", async () => {
    const { home } = await world(({ dir, home }) => {
      const secrets = ["~/secret.txt", `@${join(dir, "secret.txt")}`, "../secret.txt", "link.txt", join(home, "pi/models.json")];
      const reads = ["README.md", ...secrets].map((path) => ({ tool: "read", input: { path } }));
      const lists = ["", "~", ".."].map((path) => ({ tool: "ls", input: { path } }));
      return [{ when: /anything/, turns: [{ actions: [...reads, ...lists] }, { text: "Read." }] }];
    });
    const [user = "", secret] = [home.env.HOME, join(home.dir, "secret.txt")];
    for (const file of [secret, join(user, "secret.txt")]) writeFileSync(file, "secret\n");
    symlinkSync(secret, join(home.repo, "link.txt"));
    const { stdout } = await plan(home, { prompt: "anything", repo: home.repo, json: true });
    const { calls } = (JSON.parse(stdout) as { data: PlannerRun }).data;
    const outside = (path: string) => [false, `${path} lies outside`];
    expect(calls.map(({ ok, answer }) => [ok, answer.split(/\n| of what/)[0]])).toEqual([
      [true, "# A project"],
      outside(join(user, "secret.txt")),
      outside(secret),
      outside(secret),
      outside(join(home.repo, "link.txt")),
      outside(join(home.home, "pi/models.json")),
      [true, ".git/"],
      outside(user),
      outside(home.dir),
    ]);
  });

  it("stops at SIGTERM, with its run kept", async () => {
    const { home, server } = await world(() => [{ when: /anything/, turns: [{ hang: true }] }]);
    const running = startCli(home, "plan", "--prompt", "anything");
    await until(() => server.requests.length > 0, 50_000);
    running.signal("SIGTERM");
    expect(await running.ended).toBe(143);
    expect(runsOf(home)).toMatchObject([{ result: "failed", error: "it was told to stop" }]);
  });

  it("is a verb and a group of commands", async () => {
    const home = testHome();
    expect(await runCli(home, "plan", "shwo")).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "show"?') });
    expect((await runCli(home, "plan", "--help")).stdout).toMatch(/--prompt <text>[\s\S]*approve/);
  });

  it("says what is missing", async () => {
    const { home } = await world(() => []);
    const usage = (message: string) => ({ exit: "usage", message }) satisfies Partial<UserError>;
    await expect(plan(home, {})).rejects.toMatchObject(usage("What is to be planned?"));
    await expect(plan(home, { prompt: " " })).rejects.toMatchObject(usage("What is to be planned?"));
    await expect(plan(home, { prompt: "x", maxUsd: "much" })).rejects.toMatchObject(usage('--max-usd does not understand "much".'));
    const { env, dir: cwd } = home;
    const context = createContext({ env, cwd, version: "0", options: {}, stdout: process.stdout, stderr: process.stderr });
    await expect(interactive(context, [], {})).rejects.toMatchObject(usage("A planning session needs a terminal, and this is none."));
  });
});
