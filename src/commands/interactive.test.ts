import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { parse, stringify } from "yaml";
import { startDaemon } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { agentEnvironment, writePiFolder } from "../testing/model-server/cli-home.ts";
import { type Rule, scenario } from "../testing/model-server/script.ts";
import { type ModelServer, startModelServer } from "../testing/model-server/server.ts";
import { processesWith } from "../testing/processes.ts";
import { startTerminal, type TestTerminal } from "../testing/terminal.ts";
import { until } from "../testing/until.ts";

const cli = fileURLToPath(new URL("../cli.ts", import.meta.url));

const oneScript = `name: quick
phases:
  - { id: work, type: script, command: work.sh, onSuccess: complete }
  - { id: complete, type: terminal }
`;

const ticket = (id: string, blockedBy: string[]) => ({
  id,
  title: `The ${id} of the login`,
  description: `The login has no ${id} yet. Add it in src/${id}.ts and nowhere else, so that a person can sign in with a name and a password; the other half is another ticket.`,
  acceptanceCriteria: [`\`npm test -- ${id}\` passes`, "a wrong password is answered with 401"],
  scope: [`src/${id}.ts`],
  blockedBy,
});

const loginPlan = (repo: string, blockersOfApi: string[]) => ({
  id: "login",
  name: "Login",
  goal: "People can sign in.",
  repo,
  workflow: "quick",
  tickets: [ticket("api", blockersOfApi), ticket("ui", ["api"])],
});

/** The model plans in a circle, is told, mends it, and says that it is done. */
const planLogin = (repo: string): Rule => ({
  when: /plan the login/i,
  turns: [
    { text: "I look first.", actions: [{ tool: "status", input: {} }] },
    { actions: [{ tool: "create_plan", input: loginPlan(repo, ["ui"]) }] },
    { text: "A circle; I mend it.", actions: [{ tool: "create_plan", input: loginPlan(repo, []) }] },
    { text: "That was all I planned." },
  ],
});

interface World {
  home: TestHome;
  server: ModelServer;
  start(...args: string[]): TestTerminal;
}

async function world(rules: (home: TestHome) => Rule[], config: Record<string, unknown> = {}): Promise<World> {
  const home = testHome({ config });
  home.writeWorkflow("quick.yaml", oneScript);
  home.writeScript("work.sh", "exit 0\n");
  const server = await startModelServer(scenario(rules(home)));
  onTestFinished(() => server.close());
  writePiFolder(join(home.home, "pi"), server.url);
  return {
    home,
    server,
    start: (...args) => startTerminal([process.execPath, cli, "interactive", ...args], { env: home.env, cwd: home.repo }),
  };
}

const prompt = /for all · Ctrl-C twice ends/;

/** Sends a line once the terminal has come to rest: keys that come while it draws may be lost. */
async function say(terminal: TestTerminal, line: string): Promise<void> {
  await terminal.rests();
  terminal.type(line);
  await terminal.rests();
  terminal.press("enter");
}

/** The plans that are on disk. */
function plansOf(home: TestHome): string[] {
  const dir = join(home.home, "state/plans");
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** What a person has told claude or codex before: that they trust this repository, and how they sign in. */
function trust(launcher: "claude" | "codex", { dir, repo }: TestHome): void {
  const agentHome = join(dir, "agent", "home");
  if (launcher === "codex")
    appendFileSync(join(agentHome, ".codex/config.toml"), `\n[projects.${JSON.stringify(repo)}]\ntrust_level = "trusted"\n`);
  else {
    writeFileSync(
      join(agentHome, ".claude.json"),
      JSON.stringify({
        hasCompletedOnboarding: true,
        theme: "dark",
        customApiKeyResponses: { approved: ["dummy"], rejected: [] },
        projects: { [repo]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true } },
      }),
    );
  }
}

/** What a terminal is like in which a shell can go on. */
const sane = expect.stringMatching(/(?<!-)icanon[\s\S]*(?<!-)echo /);

// Real agents, one after the other, which compute for seconds before they show anything.
describe("orchestrator interactive", { timeout: 180_000 }, () => {
  it("plans with a person: a circle is found and mended, the person approves, and a daemon completes it", async () => {
    const { home, start } = await world(({ repo }) => [planLogin(repo)]);
    const terminal = start();
    await terminal.shows(prompt);
    await say(terminal, "Please plan the login");
    await terminal.shows('Write plan "login"?');
    expect(terminal.screen()).toContain("tickets wait for each other in a circle");
    expect(plansOf(home)).toEqual([]);
    await say(terminal, "");
    await terminal.shows("That was all I planned.");
    expect(home.plan("login")).toMatchObject({ status: "active", workflow: "quick" });
    await say(terminal, "/status");
    await terminal.shows("The ui of the login");
    await say(terminal, "/quit");
    expect(await terminal.ended).toEqual({ code: 0, settings: sane });
    await startDaemon(home);
    await until(() => home.plan("login").status === "complete");
  });

  it("writes nothing when the person says no, and goes on with the conversation later", async () => {
    const { home, server, start } = await world(({ repo }) => [
      planLogin(repo),
      { when: /what was that/i, turns: [{ text: "You wanted a login." }] },
    ]);
    const terminal = start();
    await terminal.shows(prompt);
    await say(terminal, "Please plan the login");
    await terminal.shows('Write plan "login"?');
    await terminal.rests();
    terminal.press("escape");
    await terminal.shows("That was all I planned.");
    expect(terminal.screen()).toContain("declined");
    expect(plansOf(home)).toEqual([]);
    await terminal.rests();
    terminal.press("ctrlD");
    expect(await terminal.ended).toEqual({ code: 0, settings: sane });

    const later = start("--continue");
    await later.shows("That was all I planned.");
    await say(later, "What was that?");
    await later.shows("You wanted a login.");
    expect(server.requests.at(-1)?.conversation?.promptIndex).toBe(1);
  });

  it.each(["claude", "codex"] as const)("plans with %s by the same prompt, skills and tools", async (launcher) => {
    const { home, server, start } = await world(({ repo }) => [
      planLogin(repo),
      { when: /something else/i, turns: [{ actions: [{ tool: "create_plan", input: loginPlan(repo, []) }] }, { text: "As you like." }] },
      { when: /are you ready/i, turns: [{ text: "I am here." }] },
    ]);
    Object.assign(home.env, agentEnvironment(launcher, server, join(home.dir, "agent")));
    trust(launcher, home);
    const terminal = start("--launcher", launcher);
    await terminal.shows(launcher === "claude" ? "? for shortcuts" : "OpenAI Codex");
    // Both begin before their servers have started.
    await until(async () => {
      const asked = server.requests.length;
      await say(terminal, "Are you ready?");
      await until(() => server.requests.length > asked, 5_000).catch(() => {});
      return /"name":"(mcp__orchestrator__)?create_plan"/.test(server.requests.at(-1)?.body ?? "");
    }, 60_000);
    const [{ body = "" } = {}] = server.requests.slice(-1);
    expect(body).toContain("You plan, others build");
    expect(body).toContain("planner");
    const dialog = launcher === "claude" ? "Do you want to proceed?" : "Allow the orchestrator MCP server to run";
    await say(terminal, "Something else first");
    await terminal.shows(dialog);
    await terminal.rests();
    terminal.press("escape");
    if (launcher === "claude") await until(() => !terminal.screen().includes(dialog));
    else await terminal.shows("As you like.");
    expect(plansOf(home)).toEqual([]);

    await say(terminal, "Now plan the login");
    await terminal.shows(dialog);
    await say(terminal, "");
    await until(() => server.requests.at(-1)?.body.includes("tickets wait for each other in a circle"));
    expect(plansOf(home)).toEqual([]);
    await terminal.shows(dialog);
    await say(terminal, "");
    await terminal.shows("That was all I planned.");
    expect(home.plan("login")).toMatchObject({ status: "active", workflow: "quick" });
    await startDaemon(home);
    await until(() => home.plan("login").status === "complete");
    const marker = `ORCHESTRATOR_CONFIG_PATH=${join(home.home, "config.yaml")}`;
    expect(processesWith(marker)).not.toEqual([]);
    terminal.signal("SIGTERM");
    await terminal.ended;
    await until(() => processesWith(marker).length === 0);
  });

  it.each([
    ["SIGTERM", (terminal: TestTerminal) => terminal.signal("SIGTERM"), { code: 143, settings: sane }],
    ["SIGINT", (terminal: TestTerminal) => terminal.signal("SIGINT"), { code: 143, settings: sane }],
    ["SIGHUP", (terminal: TestTerminal) => terminal.signal("SIGHUP"), { code: 129, settings: expect.anything() }],
    ["a closed terminal", (terminal: TestTerminal) => terminal.close(), { code: undefined, settings: "" }],
    [
      "Ctrl-C twice",
      (terminal: TestTerminal) => {
        terminal.press("ctrlC");
        terminal.press("ctrlC");
      },
      { code: 0, settings: sane },
    ],
  ])("P6 %s leaves no process and a sane terminal", async (_name, end, expected) => {
    const { home, start } = await world(() => [{ when: /hang/, turns: [{ hang: true }] }], {
      mcpServers: { shell: { command: "/bin/sh", args: ["-c", `${process.execPath} ${mcpServer} good; true`] } },
    });
    const marker = `TEST_MARKER=${home.dir}`;
    home.env.TEST_MARKER = home.dir;
    const terminal = start();
    await terminal.shows("mcp: shell 6");
    await say(terminal, "hang, please");
    await terminal.shows("Working...");
    end(terminal);
    expect(await terminal.ended).toEqual(expected);
    await until(() => processesWith(marker).length === 0);
  });

  it("starts as fast with five MCP servers as with none, and says which tools it has", async () => {
    const { home, server, start } = await world(() => [{ when: /tools/, turns: [{ text: "I have them." }] }], {});
    const http = await startHttpServer(home);
    const servers = {
      good: { command: process.execPath, args: [mcpServer, "good"] },
      web: { url: http },
      missing: { command: "/no/such/program" },
      silent: { command: process.execPath, args: [mcpServer, "silent"] },
      crash: { command: process.execPath, args: [mcpServer, "crash"] },
    };
    const timed = async () => {
      const began = performance.now();
      const terminal = start();
      await terminal.shows(prompt);
      return { terminal, ms: performance.now() - began };
    };
    const without = await timed();
    without.terminal.press("ctrlD");
    await without.terminal.ended;
    writeConfig(home, { mcpServers: servers });
    const { terminal, ms } = await timed();
    expect(ms).toBeLessThan(without.ms * 1.5 + 500);
    await terminal.shows("MCP server missing is not available");
    await terminal.shows("MCP server crash is not available");
    await terminal.shows("good 6, web 6, missing failed, silent connecting, crash failed");
    await say(terminal, "/mcp");
    await terminal.shows("mcp__web__echo");
    await say(terminal, "Which tools are there?");
    await terminal.shows("I have them.");
    const { tools } = JSON.parse(server.requests.at(-1)?.body ?? "{}") as { tools: { name: string }[] };
    const names = tools.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["read", "ls", "create_plan", "status", "mcp__good__echo", "mcp__web__echo"]));
    expect(names.filter((name) => /bash|edit|write$/.test(name))).toEqual([]);
    terminal.press("ctrlD");
    await terminal.ended;
  });

  it("P12 a hostile repository and home change nothing and run nothing", async () => {
    const { home, server, start } = await world(() => [{ when: /hello/, turns: [{ text: "Hello." }] }]);
    const pwned = join(home.dir, "pwned");
    plantTraps(home.repo, ".pi", pwned);
    plantTraps(home.env.HOME ?? "", join(".pi", "agent"), pwned);
    writeFileSync(join(home.repo, "AGENTS.md"), "The project's own words.\n");
    const before = listing(home.env.HOME ?? "");
    const terminal = start();
    await terminal.shows(prompt);
    await say(terminal, "hello");
    await terminal.shows("Hello.");
    const [{ body = "" } = {}] = server.requests.slice(-1);
    expect(body).toContain("You plan, others build");
    expect(body).toContain("The project's own words.");
    expect(body).not.toMatch(/EVIL/);
    terminal.press("ctrlD");
    await terminal.ended;
    expect(existsSync(pwned)).toBe(false);
    expect(listing(home.env.HOME ?? "")).toEqual(before);
    expect(home.git("status", "--porcelain").split("\n").sort()).toEqual(["?? .agents/", "?? .pi/", "?? AGENTS.md", "?? evil.sh"]);
  });
});

const mcpServer = fileURLToPath(new URL("../testing/mcp/server.ts", import.meta.url));

async function startHttpServer({ env }: TestHome): Promise<string> {
  const child = spawn(process.execPath, [mcpServer, "http"], { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  let said = "";
  child.stdout.on("data", (data) => {
    said += String(data);
  });
  await until(() => said.endsWith("\n"));
  return said.trim();
}

function writeConfig(home: TestHome, more: Record<string, unknown>): void {
  const file = join(home.home, "config.yaml");
  writeFileSync(file, stringify({ ...parse(readFileSync(file, "utf8")), ...more }));
}

/** Everything by which PI can be made to run something or to say something else. */
function plantTraps(root: string, dir: string, pwned: string): void {
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write("evil.sh", `#!/bin/sh\necho evil > ${pwned}\n`);
  chmodSync(join(root, "evil.sh"), 0o755);
  const settings = {
    npmCommand: [join(root, "evil.sh")],
    shellPath: join(root, "evil.sh"),
    packages: ["npm:evil"],
    defaultModel: "EVIL-model",
  };
  write(join(dir, "settings.json"), JSON.stringify(settings));
  write(
    join(dir, "extensions/evil.ts"),
    `import { writeFileSync } from "node:fs";\nwriteFileSync(${JSON.stringify(pwned)}, "extension");\nexport default () => {};\n`,
  );
  write(join(dir, "SYSTEM.md"), "EVIL system prompt");
  write(join(dir, "APPEND_SYSTEM.md"), "EVIL addition");
  write(join(dir, "AGENTS.md"), "EVIL context");
  for (const skills of [join(dir, "skills"), ".agents/skills"])
    write(join(skills, "evil/SKILL.md"), "---\nname: evil\ndescription: EVIL skill\n---\nEVIL\n");
  write(join(dir, "prompts/evil.md"), "EVIL prompt");
}

/** Every file below a folder with its size and when it was changed. */
function listing(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = statSync(path);
    return `${path} ${entry.isFile() ? `${size} ${mtimeMs}` : ""}`;
  });
}
