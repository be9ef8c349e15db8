import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it, onTestFinished } from "vitest";
import { adapterFor } from "../agents/adapters.ts";
import { type AgentRequest, privateFolder } from "../agents/agent.ts";
import { probeAgent } from "../executors/agent-probe.ts";
import { agentEnvironment } from "../testing/model-server/cli-home.ts";
import { type Cli, scenario } from "../testing/model-server/script.ts";
import { startModelServer } from "../testing/model-server/server.ts";
import { tempDir } from "../testing/temp.ts";

const defaultArgs: Record<Cli, string[]> = { claude: ["--dangerously-skip-permissions"], codex: [], pi: [] };
const id = "11111111-2222-4333-8444-555555555555";

/** A repository, and the real CLI in it, started as a phase starts it once it has been probed. */
async function bench(cli: Cli) {
  const server = await startModelServer(scenario([{ when: /[\s\S]/, turns: [{ text: "ok" }] }]));
  onTestFinished(() => server.close());
  const dir = tempDir();
  const [repo, home] = [join(dir, "repo"), join(dir, "home-of-ours")];
  for (const path of [repo, home]) mkdirSync(path);
  const env = agentEnvironment(cli, server, join(dir, "agent"));
  await execa("git", ["init", "-q"], { cwd: repo, env, extendEnv: false });
  const adapter = adapterFor(cli, cli);
  const probed = await probeAgent({ adapter, command: cli, defaultArgs: defaultArgs[cli], env, cwd: repo, home });
  if (!probed?.cli) throw new Error(`${cli} could not be probed`);
  const facts = probed.cli;
  let runs = 0;
  return {
    dir,
    repo,
    env,
    server,
    async run(prompt: string, more: string[] = [], changes: Partial<AgentRequest> = {}) {
      const session = { kind: "new", id: `${id.slice(0, -1)}${runs++}` } as const;
      const runDir = join(dir, `run${runs}`);
      mkdirSync(join(runDir, privateFolder), { recursive: true });
      const args = [...defaultArgs[cli], ...more];
      const repoSettings = adapter.repoSettings.filter((path) => existsSync(join(repo, path)));
      const command = adapter.command({
        command: cli,
        cwd: repo,
        session,
        readOnly: false,
        defaultArgs: args,
        runDir,
        isRoot: true,
        repoSettings,
        cli: facts,
        ...changes,
      });
      for (const [name, text] of Object.entries(command.files)) writeFileSync(join(runDir, name), text, { mode: 0o600 });
      const [program = "", ...rest] = command.argv;
      const { exitCode } = await execa(program, rest, {
        cwd: repo,
        env: { ...env, ...command.env },
        extendEnv: false,
        input: `${command.stdinPrefix}${prompt}`,
        stdout: { file: join(runDir, "out") },
        stderr: { file: join(runDir, "err") },
        timeout: 60_000,
        reject: false,
      });
      expect(exitCode).toBe(0);
      return server.requests.findLast(({ conversation }) => conversation)?.conversation?.prompt ?? "";
    },
  };
}

describe.each<Cli>(["claude", "codex", "pi"])("the real %s", (cli) => {
  it("takes a prompt as it is, of a mebibyte or with a beginning that means something on a command line", {
    timeout: 120_000,
  }, async () => {
    const { run } = await bench(cli);
    for (const prompt of ["-p --help is what it says", "/cost is what it says", "@README.md is what it says"]) {
      expect(await run(prompt)).toContain(prompt);
    }
    const long = `The end of this matters.\n${"0123456789abcde\n".repeat(65_530)}THE END`;
    expect(long.length).toBeGreaterThan(1_048_000);
    expect((await run(long)).includes(long)).toBe(true);
  });
});

describe("P12 code of a repository that its owner trusts is not run by the CLI", () => {
  /** A program of the repository that leaves a mark when it is started. */
  const mark = (repo: string, dir: string) => {
    writeFileSync(join(repo, "evil.sh"), `#!/bin/sh\ntouch ${join(dir, "mark")}\nexec cat > /dev/null\n`, { mode: 0o755 });
    return join(repo, "evil.sh");
  };

  it("codex: servers of .codex/config.toml, unless defaultArgs let it", { timeout: 120_000 }, async () => {
    const { run, repo, dir, env, server } = await bench("codex");
    const asked = (word: string) => server.requests.some(({ body }) => JSON.stringify(body).includes(word));
    const trust = `\n[projects.${JSON.stringify(repo)}]\ntrust_level = "trusted"\n`;
    writeFileSync(join(env.CODEX_HOME ?? "", "config.toml"), trust, { flag: "a" });
    writeFileSync(join(repo, "AGENTS.md"), "Always say please.\n");
    await run("hello");
    expect(asked("Always say please.")).toBe(true);
    mkdirSync(join(repo, ".codex"));
    writeFileSync(join(repo, ".codex", "config.toml"), `[mcp_servers.evil]\ncommand = ${JSON.stringify(mark(repo, dir))}\n`);
    await run("hello");
    expect(existsSync(join(dir, "mark"))).toBe(false);
    await run("hello", ["-c", "projects={}"]);
    expect(existsSync(join(dir, "mark"))).toBe(true);
  });

  it("claude: hooks of .claude/settings.json and servers of .mcp.json, unless defaultArgs say so", { timeout: 120_000 }, async () => {
    const { run, repo, dir } = await bench("claude");
    const command = mark(repo, dir);
    mkdirSync(join(repo, ".claude"));
    const hooks = { SessionStart: [{ hooks: [{ type: "command", command: `${command} < /dev/null` }] }] };
    writeFileSync(join(repo, ".claude", "settings.json"), JSON.stringify({ hooks, enableAllProjectMcpServers: true }));
    writeFileSync(join(repo, ".mcp.json"), JSON.stringify({ mcpServers: { evil: { command } } }));
    await run("hello");
    expect(existsSync(join(dir, "mark"))).toBe(false);
    await run("hello", ["--setting-sources", "user,project"]);
    expect(existsSync(join(dir, "mark"))).toBe(true);
  });

  it("pi: extensions below .pi, and package managers that .pi/settings.json names", { timeout: 120_000 }, async () => {
    const { run, repo, dir } = await bench("pi");
    const command = mark(repo, dir);
    mkdirSync(join(repo, ".pi", "extensions"), { recursive: true });
    const touch = `import { writeFileSync } from "node:fs";\nwriteFileSync(${JSON.stringify(join(dir, "mark"))}, "");\nexport default function () {}\n`;
    writeFileSync(join(repo, ".pi", "extensions", "evil.ts"), touch);
    writeFileSync(join(repo, ".pi", "settings.json"), JSON.stringify({ npmCommand: [command], packages: ["npm:x"] }));
    await run("hello");
    expect(existsSync(join(dir, "mark"))).toBe(false);
    await run("hello", ["-e", join(repo, ".pi", "extensions", "evil.ts")]);
    expect(existsSync(join(dir, "mark"))).toBe(true);
  });
});

describe.each<Cli>(["claude", "codex"])("the real %s", (cli) => {
  it("starts the MCP servers of the configuration with exactly their variables, and takes effort and outputSchema", {
    timeout: 120_000,
  }, async () => {
    const { run, dir, server } = await bench(cli);
    const token = ["it's a $HOME ", "$", "{HOME} secret"].join("");
    const told = join(dir, "told");
    const program = `require("node:fs").writeFileSync(${JSON.stringify(told)}, process.env.TOKEN); process.stdin.resume();`;
    const mcpServers = { told: { command: process.execPath, args: ["-e", program], env: { TOKEN: token } } };
    const outputSchema = { type: "object", properties: { marker: { type: "string" } }, required: ["marker"], additionalProperties: false };
    await run("hello", [], { mcpServers, effort: "high", outputSchema });
    expect(readFileSync(told, "utf8")).toBe(token);
    expect(server.requests.some(({ body }) => body.includes('"marker"'))).toBe(true);
  });
});
