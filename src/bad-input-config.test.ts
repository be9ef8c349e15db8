import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, startDaemon } from "./testing/daemon.ts";
import { type TestHome, testHome } from "./testing/home.ts";
import { runHere } from "./testing/run-here.ts";
import { until } from "./testing/until.ts";

const good = "defaultAgent: none\nagents:\n  none: {command: 'false'}\n";
const asRoot = process.getuid?.() === 0;

/** Runs a command line: in this process, except for those that are there to work tickets. */
async function cli(home: TestHome, ...args: string[]): Promise<{ code: number | null; said: string }> {
  const isWorker = args[0] === "daemon" || args[0] === "tick";
  const { code, stdout, stderr } = await (isWorker ? runCli(home, ...args) : runHere({ env: home.env, cwd: home.dir }, ...args));
  return { code, said: (stderr + stdout).replaceAll(home.dir, "DIR") };
}

/** What `check` says of a configuration. */
async function check(text: string): Promise<{ code: number | null; said: string }> {
  const home = testHome();
  writeFileSync(join(home.home, "config.yaml"), text);
  return cli(home, "check");
}

const at = (line: number, column: number, words: string) => new RegExp(`DIR/home/config\\.yaml:${line}:${column} {2}${words}`);
const bomb = `${good}${["a: &a [x,x,x,x,x,x,x,x,x]", "b: &b [*a,*a,*a,*a,*a,*a,*a,*a]", "c: &c [*b,*b,*b,*b,*b,*b]", "d: [*c,*c,*c,*c]"].join("\n")}\n`;

describe("a configuration that cannot be used ends with 8 and says where, what and how to mend it", () => {
  it.each<[string, string, RegExp]>([
    [
      "2 a tab",
      "agents:\n\tnone: {}\n",
      at(2, 1, "Tabs are not allowed as indentation — fix: indent with spaces .*\\n {4}\\\\tnone: \\{\\}\\n {4}\\^\\n"),
    ],
    [
      "2 a key twice",
      `${good}defaultAgent: none\n`,
      at(4, 1, "Map keys must be unique — fix: keep one.*\\n {4}defaultAgent: none\\n {4}\\^\\n"),
    ],
    ["2 two documents", `${good}---\n${good}`, at(4, 1, "the file holds several YAML documents — fix: keep one.*\\n {4}---\\n {4}\\^\\n")],
    ["2 nothing at all", "", at(1, 1, "the file is empty")],
    ["2 a list", "[]", at(1, 1, "expected a mapping, got a list")],
    ["4 maxConcurrency: 0", `${good}maxConcurrency: 0\n`, at(4, 17, "maxConcurrency: expected a whole number from 1 to 64, got 0")],
    ["4 maxConcurrency: -1", `${good}maxConcurrency: -1\n`, at(4, 17, "maxConcurrency: .* from 1 to 64, got -1")],
    ["4 maxConcurrency: 1e9", `${good}maxConcurrency: 1e9\n`, at(4, 17, "maxConcurrency: .* from 1 to 64, got 1000000000")],
    ["4 a number in quotes", `${good}maxConcurrency: "3"\n`, at(4, 17, 'maxConcurrency: .*, got string "3" — fix: write 3 without quotes')],
    ["4 .nan", `${good}pollInterval: .nan\n`, at(4, 15, "pollInterval: expected a number from 0.05 to 3600, got NaN")],
    ["4 .inf", `${good}maxConcurrency: .inf\n`, at(4, 17, "maxConcurrency: .*, got Infinity")],
    [
      "5 a time beyond the timers",
      `${good}phaseTimeoutSeconds: 2592000000\n`,
      at(4, 22, "phaseTimeoutSeconds: .* at most 2592000, got 2592000000 — fix: .*timers cannot count beyond 30 days"),
    ],
    ["6 an unknown agent", good.replace(": none\n", ": nome\n"), at(1, 15, 'defaultAgent: .*did you mean "none".* — fix: use one of none')],
    ["10 an alias bomb", bomb, at(1, 1, "Excessive alias count .* — fix: write the values out")],
    ["10 10,000 levels", `${good}x: ${"[".repeat(10_000)}\n`, at(4, 68, "nested too deeply — fix: flatten")],
    ["10 2 MiB", `${good}x: ${"y".repeat(2 * 1024 * 1024)}\n`, /DIR\/home\/config\.yaml: the file is larger than 1 MiB/],
    [
      "11 a secret",
      `${good}  claude: {command: claude, env: {ANTHROPIC_API_KEY: sk-ant-abcdefghijklmnop1234}}\n`,
      at(4, 54, 'agents\\.claude\\.env\\.ANTHROPIC_API_KEY: this looks like a secret.*"\\$\\{ANTHROPIC_API_KEY\\}"'),
    ],
    [
      "2 a secret beside it",
      `${good}env: {GH_TOKEN: sk-ant-abcdefghijklmnop1234, a: 1, a: 2}\n`,
      at(4, 52, "Map keys must be .*\\]\\nhint"),
    ],
    [
      "32 the root of all worktrees is the home folder",
      `${good}worktreeRoot: "~"\n`,
      at(4, 15, "worktreeRoot: .* right in DIR/user: it is your home folder — fix: .* such as DIR/home/worktrees"),
    ],
    ["32 above the home folder", `${good}worktreeRoot: ..\n`, at(4, 15, "worktreeRoot: .* right in DIR: it contains your home folder")],
    ["32 /", `${good}worktreeRoot: /\n`, at(4, 15, "worktreeRoot: .* right in /: it is the root of the file system")],
    ["24 yes", `${good}mcpServers: yes\n`, at(4, 13, 'mcpServers: expected a mapping, got string "yes"')],
  ])("%s", async (_, text, words) => {
    const { code, said } = await check(text);
    expect(said).toMatch(words);
    expect(said).not.toContain("sk-ant-");
    expect(code).toBe(8);
  });

  it("several mistakes are shown at once", async () => {
    const { said } = await check(`${good}maxConcurrency: 0\npollInterval: fast\nphaseTimeoutSeconds: -1\n`);
    expect(said.match(/config\.yaml:\d+:\d+/g)).toEqual(["config.yaml:4:17", "config.yaml:5:15", "config.yaml:6:22"]);
  });
});

it("1 no configuration: the places that were searched, and init", async () => {
  const home = testHome();
  rmSync(join(home.home, "config.yaml"));
  expect(await cli(home, "status")).toEqual({
    code: 3,
    said: "error: There is no configuration. Looked for DIR/home/config.yaml, DIR/user/.orchestrator/config.yaml, DIR/orchestrator.yaml.\nhint:  run: orchestrator init\n",
  });
});

it("3 an unknown key is a warning with the right one, and everything works", async () => {
  const { code, said } = await check(`${good}maxConcurency: 5\n`);
  expect(said).toMatch(at(4, 1, 'maxConcurency: unknown key "maxConcurency" — fix: did you mean "maxConcurrency"\\?'));
  expect(code).toBe(0);
});

it("3 with --strict a warning ends check and workflow lint with 8", async () => {
  const home = testHome();
  const check = async (...args: string[]) => (await cli(home, ...args)).code;
  expect(await check("check", "--strict")).toBe(0);
  writeFileSync(join(home.home, "config.yaml"), `${good}maxConcurency: 5\n`);
  expect([await check("check", "--strict"), await check("check", "--strict", "--json")]).toEqual([8, 8]);
  home.writeScript("work.sh", "true\n");
  const step = (id: string, edges: string) => `  - {id: ${id}, type: script, command: work.sh, ${edges}}\n`;
  const loop = `${step("a", "onSuccess: done, onFailure: b")}${step("b", "onSuccess: a")}  - {id: done, type: terminal}\n`;
  home.writeWorkflow("loop.yaml", `name: loop\nphases:\n${loop}`);
  expect([await check("workflow", "lint", "loop"), await check("workflow", "lint", "loop", "--strict")]).toEqual([0, 8]);
});

it("32 a daemon does not start with a home folder full of worktrees", async () => {
  const home = testHome({ config: { worktreeRoot: "~" } });
  for (const command of ["daemon", "tick"]) {
    expect(await cli(home, command)).toEqual({ code: 8, said: expect.stringContaining("right in DIR/user: it is your home folder") });
  }
});

it("7 an agent that is not on PATH is named by the daemon at its start, by doctor, and parked with one message, with PATH", async () => {
  const agents = { none: { command: "false" }, ghost: { command: "no-such-agent" } };
  const home = testHome({ config: { agents } });
  home.writeWorkflow(
    "ask.yaml",
    "name: ask\nphases:\n  - {id: work, type: agent, promptTemplate: simplify.md, maxRetries: 3, onSuccess: done}\n  - {id: done, type: terminal}\n",
  );
  home.writePlan({ id: "p", workflow: "ask" }, [
    { ticketId: "GHOST", agent: "ghost" },
    { ticketId: "TYPO", agent: "ghots" },
  ]);
  await startDaemon(home);
  const log = () => readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8");
  await until(() => home.ticket("p", "TYPO").status === "needs_attention" && home.ticket("p", "GHOST").phaseHistory.length > 0);
  expect(log()).toContain(`agent ghost: no-such-agent was not found on PATH (${home.env.PATH})`);
  const reason = `no-such-agent was not found on PATH (${home.env.PATH}). To go on: install it, or correct its command, or give the work to another agent (agents.ghost in ${join(home.home, "config.yaml")}).`;
  expect(home.ticket("p", "GHOST")).toMatchObject({
    status: "ready",
    retries: {},
    phaseHistory: [{ status: "interrupted", category: "incompatible", agent: "ghost", reason: `Agent "ghost": ${reason}` }],
  });
  expect(home.ticket("p", "TYPO").error).toContain('agent "ghots", which');
  expect((await cli(home, "doctor")).said).toMatch(/agent ghost +no-such-agent is not on PATH/);
  expect((await cli(home, "why", "p", "GHOST")).said).toContain("no-such-agent was not found on PATH");
});

describe("8 9 files and folders that others may write are refused with what to do", () => {
  const tick = async (home: TestHome) => cli(home, "tick");

  it("a configuration that everybody may write", async () => {
    const home = testHome();
    chmodSync(join(home.home, "config.yaml"), 0o666);
    expect(await tick(home)).toEqual({ code: 5, said: expect.stringContaining("hint:  chmod o-w DIR/home/config.yaml") });
  });

  it.runIf(asRoot)("a configuration of another user, also behind a link", async () => {
    const home = testHome();
    const theirs = join(home.dir, "theirs.yaml");
    writeFileSync(theirs, good);
    chownSync(theirs, 12345, 12345);
    rmSync(join(home.home, "config.yaml"));
    symlinkSync(theirs, join(home.home, "config.yaml"));
    expect(await tick(home)).toEqual({ code: 5, said: expect.stringContaining("it belongs to another user (uid 12345)") });
  });

  it.each(["home", "state"])("a %s folder that everybody may write", async (name) => {
    const home = testHome();
    const folder = name === "home" ? home.home : join(home.home, "state");
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    const where = folder.replace(home.dir, "DIR");
    for (const command of ["tick", "daemon"]) {
      expect(await cli(home, command)).toEqual({
        code: 5,
        said: `error: Every user of this machine may write to ${where}, and so change what runs here.\nhint:  chmod 700 ${where}\n`,
      });
    }
    expect(readdirSync(home.home)).not.toContain("daemon.json");
  });

  it.runIf(asRoot)("a state folder of another user", async () => {
    const home = testHome();
    mkdirSync(join(home.home, "state"));
    chownSync(join(home.home, "state"), 12345, 12345);
    const { code, said } = await tick(home);
    expect([code, said]).toEqual([5, expect.stringContaining("DIR/home/state belongs to another user (uid 12345)")]);
  });

  it("a state folder below a file is named in one line", async () => {
    const home = testHome({ config: { stateDir: "file/below" } });
    writeFileSync(join(home.home, "file"), "");
    for (const command of ["tick", "daemon", "status", "check"]) {
      const { code, said } = await cli(home, command);
      expect(said).toMatch(/^error: ENOTDIR: .*DIR\/home\/file\/below.*\nhint: {2}check this path/);
      expect(code).toBe(1);
    }
  });
});
