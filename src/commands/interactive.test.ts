import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
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

/** Waits for the prompt of PI and says how long it took, in milliseconds. */
async function opens(terminal: TestTerminal): Promise<number> {
  const began = performance.now();
  await terminal.shows("for all · Ctrl-C twice ends");
  return performance.now() - began;
}

/** Types a line and sends it off, once the terminal has come to rest: keys that come while it draws may be lost. */
async function say(terminal: TestTerminal, line: string): Promise<void> {
  await terminal.rests();
  terminal.type(line);
  // Who finds the end of a line in the same breath takes it for a paste.
  await terminal.shows(line);
  terminal.press("enter");
}

/** Presses a key in a dialog that has just been drawn. */
async function answer(terminal: TestTerminal, key: "enter" | "escape"): Promise<void> {
  await terminal.rests();
  terminal.press(key);
}

/** The tools that a model was offered, by name. */
function toolsIn(body = '{"tools":[]}'): string[] {
  return (JSON.parse(body) as { tools: { name: string }[] }).tools.map(({ name }) => name);
}

/** The plans that are on disk. */
function plansOf(home: TestHome): string[] {
  const dir = join(home.home, "state/plans");
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** What a person has told claude or codex before: that they trust this repository, how they sign in, and not to ask so much. */
function trust(launcher: "claude" | "codex", { dir, repo }: TestHome): void {
  const agentHome = join(dir, "agent", "home");
  if (launcher === "codex") {
    const file = join(agentHome, ".codex/config.toml");
    const trusted = `[projects.${JSON.stringify(repo)}]\ntrust_level = "trusted"\n`;
    writeFileSync(file, `approval_policy = "never"\n${readFileSync(file, "utf8")}\n${trusted}`);
  } else {
    mkdirSync(join(agentHome, ".claude"), { recursive: true });
    writeFileSync(join(agentHome, ".claude/settings.json"), JSON.stringify({ permissions: { defaultMode: "bypassPermissions" } }));
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

// Real agents, which compute for seconds before they show anything.
describe("orchestrator interactive", { timeout: 180_000 }, () => {
  it("plans with a person: a no leaves nothing; --continue goes on, as fast with five MCP servers; after a yes a daemon completes it", async () => {
    const { home, server, start } = await world(({ repo }) => [
      planLogin(repo),
      { when: /what was that/i, turns: [{ text: "You wanted a login." }] },
    ]);
    const first = start();
    const ms = await opens(first);
    await say(first, "Please plan the login");
    await first.shows('Write plan "login"?');
    expect(first.screen()).toContain("tickets wait for each other in a circle");
    await answer(first, "escape");
    await first.shows("That was all I planned.");
    expect(first.screen()).toContain("declined");
    expect(plansOf(home)).toEqual([]);
    await first.rests();
    first.press("ctrlD");
    expect(await first.ended).toEqual({ code: 0, settings: sane });

    writeConfig(home, {
      mcpServers: {
        good: { command: process.execPath, args: [mcpServer, "good"], env: { TEST_MARKER: home.dir } },
        web: { url: await startHttpServer(home) },
        missing: { command: "/no/such/program" },
        silent: { command: process.execPath, args: [mcpServer, "silent"] },
        crash: { command: process.execPath, args: [mcpServer, "crash"] },
      },
    });
    const second = start("--continue");
    // On a busy machine; the benchmark says how much it is on a free one.
    expect(await opens(second)).toBeLessThan(ms * 3 + 1000);
    await second.shows("That was all I planned.");
    await second.shows("MCP server missing is not available");
    await second.shows("MCP server crash is not available");
    await second.shows("good 6, web 6, missing failed, silent connecting, crash failed");
    await say(second, "/mcp");
    await second.shows("mcp__web__echo");
    await say(second, "What was that?");
    await second.shows("You wanted a login.");
    const { conversation, body } = server.requests.at(-1) ?? {};
    expect(conversation?.promptIndex).toBe(1);
    const names = toolsIn(body);
    expect(names).toEqual(expect.arrayContaining(["read", "ls", "create_plan", "status", "mcp__good__echo", "mcp__web__echo"]));
    expect(names.filter((name) => /bash|edit|write$/.test(name))).toEqual([]);

    for (const pid of processesWith(`TEST_MARKER=${home.dir}`)) process.kill(Number(pid));
    await second.shows("MCP server good is not available: it was ended by SIGTERM");

    const dialogs = second.screen().split('Write plan "login"?').length;
    await say(second, "Now plan the login");
    await until(() => second.screen().split('Write plan "login"?').length > dialogs);
    expect(plansOf(home)).toEqual([]);
    expect(toolsIn(server.requests.at(-1)?.body)).toEqual(names.filter((name) => !name.startsWith("mcp__good__")));
    await answer(second, "enter");
    await until(() => home.plan("login"));
    expect(home.plan("login")).toMatchObject({ status: "active", workflow: "quick" });
    await say(second, "/plans");
    await second.shows("login [active] Login: 1 queued, 1 ready");
    await say(second, "/status");
    await second.shows(/ui \[queued.*\] The ui of the login/);
    await say(second, "/quit");
    expect(await second.ended).toEqual({ code: 0, settings: sane });
    await startDaemon(home);
    await until(() => home.plan("login").status === "complete");
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
    let asked = 0;
    await until(async () => {
      const before = server.requests.length;
      await say(terminal, `Are you ready, ${++asked}`);
      await until(() => server.requests.length > before, 5_000).catch(() => {});
      return /"name":"(mcp__orchestrator__)?create_plan"/.test(server.requests.at(-1)?.body ?? "");
    }, 60_000);
    const [{ body = "" } = {}] = server.requests.slice(-1);
    expect(body).toContain("You plan, others build");
    expect(body).toContain("planner");
    const dialog = launcher === "claude" ? "Do you want to proceed?" : "Allow the orchestrator MCP server to run";
    await say(terminal, "Something else first");
    await terminal.shows(dialog);
    await answer(terminal, "escape");
    if (launcher === "claude") await until(() => !terminal.screen().includes(dialog));
    else await terminal.shows("As you like.");
    expect(plansOf(home)).toEqual([]);

    await say(terminal, "Now plan the login");
    await terminal.shows(dialog);
    await answer(terminal, "enter");
    await until(() => server.requests.at(-1)?.body.includes("tickets wait for each other in a circle"));
    expect(plansOf(home)).toEqual([]);
    await terminal.shows(dialog);
    await answer(terminal, "enter");
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

  it("P6 signals, a closed terminal and Ctrl-C twice leave no process and a sane terminal", async () => {
    const { home, start } = await world(() => [{ when: /hang/, turns: [{ hang: true }] }], {
      mcpServers: { shell: { command: "/bin/sh", args: ["-c", `${process.execPath} ${mcpServer} good; true`] } },
    });
    const marker = `TEST_MARKER=${home.dir}`;
    home.env.TEST_MARKER = home.dir;
    const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
    const endings: ((terminal: TestTerminal) => void)[] = [
      ...signals.map((signal) => (terminal: TestTerminal) => terminal.signal(signal)),
      (terminal) => terminal.close(),
      (terminal) => {
        terminal.press("ctrlC");
        terminal.press("ctrlC");
      },
    ];
    // Side by side: most of the time they wait.
    const ended = endings.map(async (end) => {
      const terminal = start();
      await terminal.shows("mcp: shell 6", 120_000);
      await say(terminal, "hang, please");
      await terminal.shows("Working...");
      end(terminal);
      return terminal.ended;
    });
    expect(await Promise.all(ended)).toEqual([
      { code: 143, settings: sane },
      { code: 130, settings: sane },
      { code: 129, settings: expect.anything() },
      { code: undefined, settings: "" },
      { code: 0, settings: sane },
    ]);
    await until(() => processesWith(marker).length === 0);
  });

  it("P12 a hostile repository and home change nothing and run nothing", async () => {
    const { home, server, start } = await world(() => [{ when: /hello/, turns: [{ text: "Hello." }] }]);
    const pwned = join(home.dir, "pwned");
    plantTraps(home.repo, ".pi", pwned);
    plantTraps(home.env.HOME ?? "", join(".pi", "agent"), pwned);
    writeFileSync(join(home.repo, "AGENTS.md"), "The project's own words.\n");
    const before = listing(home.env.HOME ?? "");
    const terminal = start();
    await opens(terminal);
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
