import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { ElicitRequestSchema, type ElicitResult } from "@modelcontextprotocol/sdk/types.js";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import * as z from "zod";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { loadConfig } from "../inputs/config.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { serveTools, type ToolServerOptions } from "./mcp-server.ts";
import type { PlanTool } from "./tool.ts";
import { planTools } from "./tools.ts";

const cli = fileURLToPath(new URL("../cli.ts", import.meta.url));

/** A plan for the repository of a home, one ticket blocked by the other. */
function plan(home: TestHome, over: { blockedBy?: string[] } = {}) {
  const ticket = (id: string, blockedBy: string[]) => ({
    id,
    title: `Do ${id}`,
    acceptanceCriteria: [`${id} is there`],
    scope: [id],
    blockedBy,
  });
  return { id: "login", workflow: "local", repo: home.repo, tickets: [ticket("api", over.blockedBy ?? []), ticket("ui", ["api"])] };
}

function planFile(home: TestHome): string {
  return join(home.home, "state", "plans", "login", "plan.json");
}

function statusOf(home: TestHome): unknown {
  return existsSync(planFile(home)) ? JSON.parse(readFileSync(planFile(home), "utf8")).status : undefined;
}

/** The SDK's client of a server in this process; `person` answers what the server asks. */
async function connect(
  home: TestHome,
  options: { approval?: ToolServerOptions["approval"]; person?: (message: string) => ElicitResult } = {},
): Promise<Client> {
  const { approval = "ask", person } = options;
  const [input, output] = [new PassThrough(), new PassThrough()];
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const bench = { config, env: home.env, cwd: home.dir };
  const log = () => {};
  const served = serveTools({ tools: planTools, bench, approval, version: "1", input, output, signal: new AbortController().signal, log });
  const client = new Client({ name: "tester", version: "1" }, { capabilities: person ? { elicitation: { form: {} } } : {} });
  if (person) client.setRequestHandler(ElicitRequestSchema, ({ params }) => person(params.message));
  // Messages in lines go either way.
  await client.connect(new StdioServerTransport(output, input));
  onTestFinished(async () => {
    await client.close();
    input.end();
    await served;
  });
  return client;
}

async function call(client: Client, name: string, input: Record<string, unknown>): Promise<{ text: string; isError: boolean }> {
  const { content, isError, structuredContent } = await client.callTool({ name, arguments: input });
  expect(structuredContent).toBeUndefined();
  return { text: (content as { text: string }[]).map((part) => part.text).join("\n"), isError: isError === true };
}

describe("orchestrator mcp", () => {
  it("offers every plan tool with its schema, and says which of them change something", async () => {
    const client = await connect(testHome());
    const { tools } = await client.listTools();
    expect(tools.map(({ name, annotations }) => [name, annotations])).toEqual(
      planTools.map(({ name, readOnly }) => [
        name,
        { readOnlyHint: readOnly, ...(readOnly ? {} : { destructiveHint: true }), openWorldHint: false },
      ]),
    );
    expect(tools.map(({ inputSchema }) => inputSchema.type)).toEqual(planTools.map(() => "object"));
    expect(tools.find(({ name }) => name === "create_plan")?.inputSchema.required).toEqual(["id", "tickets"]);
  }, 60_000);

  it("writes a draft where nobody can be asked, and tells what is wrong with one that it does not write", async () => {
    const home = testHome();
    const client = await connect(home);
    const refused = await call(client, "create_plan", plan(home, { blockedBy: ["ui"] }));
    expect(refused).toMatchObject({ isError: true, text: expect.stringMatching(/in a circle/) });
    expect(await call(client, "create_plan", { id: "login" })).toMatchObject({ isError: true, text: expect.stringMatching(/tickets/) });
    expect(await call(client, "no_tool", {})).toMatchObject({ isError: true, text: expect.stringMatching(/create_plan/) });
    expect(statusOf(home)).toBeUndefined();
    const written = await call(client, "create_plan", plan(home));
    expect(written).toMatchObject({ isError: false, text: expect.stringContaining("orchestrator plan approve login") });
    expect([statusOf(home), home.plan("login").createdBy]).toEqual(["draft", "tester"]);
  }, 60_000);

  it.each([
    ["approves", { action: "accept", content: { approve: true } }, "active", false],
    ["does not approve", { action: "accept", content: { approve: false } }, undefined, true],
    ["declines", { action: "decline" }, undefined, true],
    ["dismisses the question, as clients do that have nobody", { action: "cancel" }, "draft", false],
  ] as const)(
    "a person whom the client asks %s",
    async (_, answer, status, isError) => {
      const home = testHome();
      const asked: string[] = [];
      const client = await connect(home, {
        person: (message) => {
          asked.push(message);
          return answer as ElicitResult;
        },
      });
      expect((await call(client, "create_plan", plan(home))).isError).toBe(isError);
      expect(statusOf(home)).toBe(status);
      expect(asked).toEqual([expect.stringMatching(/^Write plan "login"\?\n\n[\s\S]*api[\s\S]*ui/)]);
    },
    60_000,
  );

  it("asks a person what a model wants to know; what is chosen counts less than what is written", async () => {
    const answers: ElicitResult[] = [
      { action: "accept", content: { answer: "Postgres" } },
      { action: "accept", content: { answer: "Postgres", other: "SQLite" } },
      { action: "decline" },
      { action: "accept", content: { answer: "by Friday" } },
    ];
    const client = await connect(testHome(), { person: () => answers.shift() ?? { action: "cancel" } });
    const choices = ["Postgres", "MySQL"];
    const ask = async (input: Record<string, unknown>) => (await call(client, "ask_person", input)).text;
    expect([await ask({ question: "Which?", choices }), await ask({ question: "Which?", choices })]).toEqual(["Postgres", "SQLite"]);
    expect([await ask({ question: "Which?", choices }), await ask({ question: "When?" })]).toEqual([
      "The person did not answer the question.",
      "by Friday",
    ]);
  }, 60_000);

  it.each([
    ["client", "active"],
    ["nobody", "draft"],
  ] as const)(
    "where %s approves a plan is %s, and nobody is asked",
    async (approval, status) => {
      const home = testHome();
      const person = () => {
        throw new Error("asked");
      };
      const client = await connect(home, { approval, person });
      expect((await call(client, "create_plan", plan(home))).isError).toBe(false);
      expect(statusOf(home)).toBe(status);
    },
    60_000,
  );

  it("answers what was asked before stdin was closed, then ends; stdout holds nothing but messages", async () => {
    const home = testHome();
    const input = [...hello, request(1, "tools/call", { name: "create_plan", arguments: plan(home) })].join("");
    const run = await execa(process.execPath, [cli, "mcp"], { env: home.env, extendEnv: false, cwd: home.dir, input });
    expect(run.exitCode).toBe(0);
    const messages = run.stdout.split("\n").map((line) => JSON.parse(line));
    expect(messages.map(({ id }) => id)).toEqual([0, 1]);
    expect(statusOf(home)).toBe("draft");
  }, 60_000);

  it("ends on SIGTERM", async () => {
    const home = testHome();
    const run = execa(process.execPath, [cli, "mcp"], { env: home.env, extendEnv: false, cwd: home.dir, stdin: "pipe", reject: false });
    onTestFinished(() => void run.kill("SIGKILL"));
    run.stdin.write(hello.join(""));
    for await (const line of run.iterable()) {
      expect(JSON.parse(String(line))).toMatchObject({ id: 0 });
      run.kill("SIGTERM");
    }
    expect((await run).exitCode).toBe(143);
  }, 60_000);

  it("without a configuration it says so on stderr and serves nothing", async () => {
    const home = testHome();
    const env = { ...home.env, ORCHESTRATOR_HOME: join(home.dir, "nowhere") };
    const run = await execa(process.execPath, [cli, "mcp"], { env, extendEnv: false, cwd: home.dir, input: "", reject: false });
    expect([run.exitCode === 0, run.stdout, run.stderr.includes("error: ")]).toEqual([false, "", true]);
  }, 60_000);
});

function request(id: number, method: string, params: object): string {
  return `${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`;
}

const hello = [
  request(0, "initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "raw", version: "1" } }),
  `${JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })}\n`,
];

it("an exception in a tool is an answer: with the hint of a UserError, with a line in the log for a bug", async () => {
  const failing = (name: string, error: Error): PlanTool => ({
    name,
    description: "",
    input: z.object({}),
    readOnly: true,
    run: () => Promise.reject(error),
  });
  const log: string[] = [];
  const input = new PassThrough();
  const output = new PassThrough();
  const answers = text(output);
  input.end([...hello, request(1, "tools/call", { name: "user" }), request(2, "tools/call", { name: "bug" })].join(""));
  await serveTools({
    tools: [failing("user", new UserError("No plan.", { hint: "make one" })), failing("bug", new Error("x is undefined"))],
    bench: { config: {} as Config, env: {}, cwd: "/" },
    approval: "ask",
    version: "1",
    input,
    output,
    signal: new AbortController().signal,
    log: (line) => log.push(line),
  });
  output.end();
  const messages = (await answers)
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(messages.slice(1).map(({ result }) => [result.isError, result.content[0].text])).toEqual([
    [true, expect.stringMatching(/^No plan\.\n.*make one$/)],
    [true, "x is undefined"],
  ]);
  expect(log).toEqual([expect.stringMatching(/^bug: Error: x is undefined\n\s+at /)]);
});

describe("the CLIs of agents as its clients", () => {
  const serverArgs = (home: TestHome, approval: string[]) => [cli, "mcp", "--config", join(home.home, "config.yaml"), ...approval];
  const argumentsFor = {
    claude: (home: TestHome, approval: string[]) => [
      ...["-p", "--output-format", "stream-json", "--verbose", "--setting-sources", "user", "--strict-mcp-config"],
      ...["--allowedTools", "mcp__orchestrator__create_plan", "--mcp-config"],
      JSON.stringify({ mcpServers: { orchestrator: { command: process.execPath, args: serverArgs(home, approval), alwaysLoad: true } } }),
    ],
    codex: (home: TestHome, approval: string[]) => [
      ...["exec", "--json", "-s", "read-only", "--skip-git-repo-check", "-c"],
      `mcp_servers.orchestrator={command=${JSON.stringify(process.execPath)},args=${JSON.stringify(serverArgs(home, approval))},default_tools_approval_mode="approve",required=true,startup_timeout_sec=60}`,
      "-",
    ],
  };

  it.each([
    ["claude", [], "draft"],
    ["codex", ["--drafts-only"], "draft"],
  ] as const)(
    "%s: a plan with a cycle comes back with the finding, the mended one is written (%s: %s)",
    async (agent, approval, status) => {
      const home = testHome();
      const create = (input: object) => ({ actions: [{ tool: "create_plan", input }] });
      const turns = [create(plan(home, { blockedBy: ["ui"] })), create(plan(home)), { text: "planned" }];
      const server = await startModelServer(scenario([{ when: /plan the login/, turns }]));
      onTestFinished(() => server.close());
      const { exitCode, stdout } = await execa(agent, argumentsFor[agent](home, [...approval]), {
        cwd: home.repo,
        env: agentEnvironment(agent, server, home.dir),
        extendEnv: false,
        input: "Please plan the login.",
        timeout: 90_000,
        forceKillAfterDelay: 1000,
        reject: false,
      });
      expect([exitCode, stdout]).toEqual([0, expect.stringContaining("planned")]);
      const bodies = server.requests.filter(({ conversation }) => conversation).map(({ body }) => body);
      expect(bodies.map((body) => [/in a circle/.test(body), /login\\+" is written/.test(body)])).toEqual([
        [false, false],
        [true, false],
        [true, true],
      ]);
      expect(statusOf(home)).toBe(status);
    },
    150_000,
  );
});
