import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { knownAdapters } from "./adapters.ts";
import type { Adapter, AgentCommand, AgentRequest } from "./agent.ts";
import { generic } from "./generic.ts";
import type { McpServer } from "./mcp.ts";

const variables = ["$", "{HOME} {env:HOME} $HOME"].join("");
const secret = "it's a $(secret) `value`";
const servers: Record<string, McpServer> = {
  files: { command: "npx", args: ["-y", "server", "/srv/a b"], env: { TOKEN: secret } },
  plain: { command: "plain-server", args: [], env: {} },
  web: { url: "https://example.invalid/mcp", headers: { Authorization: `Bearer ${secret}` } },
};

/** `files` as every CLI is told of it: a script sets its variables. */
const started = { command: "/bin/sh", args: ["/run/7/private/mcp-0.sh"], env: {} };

function run(adapter: Adapter, mcpServers?: Record<string, McpServer>, runDir = "/run/7", more: Partial<AgentRequest> = {}): AgentCommand {
  const session = { kind: "new", id: "11111111-2222-4333-8444-555555555555" } as const;
  const request = {
    command: adapter.provider,
    cwd: "/tree",
    session,
    readOnly: false,
    defaultArgs: [],
    runDir,
    isRoot: false,
    isRootOnly: true,
  };
  return adapter.command({ ...request, ...more, ...(mcpServers === undefined ? {} : { mcpServers }) });
}

function adapterNamed(name: string): Adapter {
  const found = knownAdapters.find(({ provider }) => provider === name);
  if (!found) throw new Error(`no adapter ${name}`);
  return found;
}

const file = (command: AgentCommand, name: string) => JSON.parse(command.files[`private/${name}`] ?? "");

describe("MCP servers of the configuration", () => {
  it.each(knownAdapters.map((adapter) => [adapter.provider, adapter] as const))(
    "%s: nothing secret is on its command line",
    (_, adapter) => {
      const { argv } = run(adapter, servers);
      expect(argv.filter((arg) => arg.includes("secret"))).toEqual([]);
    },
  );

  it.each(knownAdapters.map((adapter) => [adapter.provider, adapter] as const))(
    "P12 %s: what it reads in the run's folder goes with the run",
    (_, adapter) => {
      const all = { outputSchema: { type: "object" }, allowedTools: ["Read"], maxTurns: 3, readOnly: true };
      const names = Object.keys(run(adapter, servers, "/run/7", all).files);
      expect(names.filter((name) => !name.startsWith("private/"))).toEqual([]);
    },
  );

  it.each(knownAdapters.map((adapter) => [adapter.provider, adapter] as const))(
    "%s: without servers it is started as before",
    (_, adapter) => {
      expect(run(adapter, {})).toEqual(run(adapter));
    },
  );

  it("claude reads a file, and nothing but it", () => {
    const command = run(adapterNamed("claude"), servers);
    const at = command.argv.indexOf("--mcp-config");
    expect(command.argv.slice(at, at + 3)).toEqual(["--mcp-config", "/run/7/private/claude-mcp.json", "--strict-mcp-config"]);
    expect(file(command, "claude-mcp.json")).toEqual({
      mcpServers: { files: started, plain: servers.plain, web: { type: "http", ...servers.web } },
    });
  });

  it("codex gets settings; variables come from a script, headers from its environment", () => {
    const { argv, env, files, notes } = run(adapterNamed("codex"), { ...servers, "a b": { command: "x", args: [], env: {} } });
    expect(argv.filter((arg) => arg.startsWith("mcp_servers"))).toEqual([
      'mcp_servers.files={command="/bin/sh",args=["/run/7/private/mcp-0.sh"],default_tools_approval_mode="approve"}',
      'mcp_servers.plain={command="plain-server",args=[],default_tools_approval_mode="approve"}',
      'mcp_servers.web={url="https://example.invalid/mcp",env_http_headers={"Authorization"="ORCH_MCP_SECRET_web_0"},default_tools_approval_mode="approve"}',
    ]);
    expect(env).toEqual({ ORCH_MCP_SECRET_web_0: `Bearer ${secret}` });
    expect(Object.keys(files)).toEqual(["private/mcp-0.sh"]);
    expect(notes).toEqual(['codex takes no MCP server of the name "a b"; it goes without']);
  });

  it("gemini, copilot and opencode each have their own words for a server", () => {
    expect(file(run(adapterNamed("gemini"), servers), "gemini-settings.json")).toMatchObject({
      mcp: { allowed: ["files", "plain", "web"] },
      mcpServers: {
        files: { ...started, trust: true },
        web: { httpUrl: "https://example.invalid/mcp", headers: { Authorization: `Bearer ${secret}` }, trust: true },
      },
    });
    const copilot = run(adapterNamed("copilot"), servers);
    expect(copilot.argv).toContain("@/run/7/private/copilot-mcp.json");
    expect(file(copilot, "copilot-mcp.json")).toEqual({
      mcpServers: {
        files: { type: "local", tools: ["*"], ...started },
        plain: { type: "local", tools: ["*"], ...servers.plain },
        web: { type: "http", tools: ["*"], ...servers.web },
      },
    });
    expect(file(run(adapterNamed("opencode"), servers), "opencode.json").mcp).toEqual({
      files: { type: "local", command: ["/bin/sh", "/run/7/private/mcp-0.sh"], environment: {} },
      plain: { type: "local", command: ["plain-server"], environment: {} },
      web: { type: "remote", ...servers.web },
    });
  });

  it("pi and programs that nobody knows have none, and say so", () => {
    expect([run(adapterNamed("pi"), servers).notes, run(generic("mine"), servers).notes]).toEqual([
      ["pi has no MCP servers; mcpServers has no effect there"],
      ['agent "mine" is not one we know how to tell about mcpServers; it has no effect there'],
    ]);
  });

  it("the script starts the server with exactly its variables and arguments, also those that a CLI would replace", () => {
    const dir = tempDir();
    const program = "process.stdout.write(JSON.stringify([process.env.TOKEN, ...process.argv.slice(1)]))";
    const server = { command: process.execPath, args: ["-e", program, "a b", "it's", variables], env: { TOKEN: secret } };
    const { files } = run(adapterNamed("codex"), { server }, dir);
    mkdirSync(join(dir, "private"));
    writeFileSync(join(dir, "private", "mcp-0.sh"), files["private/mcp-0.sh"] ?? "");
    const said = execFileSync("/bin/sh", [join(dir, "private", "mcp-0.sh")], { encoding: "utf8" });
    expect(JSON.parse(said)).toEqual([secret, "a b", "it's", variables]);
    expect(Object.keys(run(adapterNamed("claude"), { server: { command: "x", args: ["$HOME"], env: {} } }).files)).toContain(
      "private/mcp-0.sh",
    );
  });

  it("gemini takes servers and a limit on turns only where nobody but root could have written them", () => {
    const session = { kind: "new", id: "11111111-2222-4333-8444-555555555555" } as const;
    const request = { command: "gemini", cwd: "/tree", session, readOnly: false, defaultArgs: [], runDir: "/run/7", isRoot: false };
    const { env, files, notes } = adapterNamed("gemini").command({ ...request, maxTurns: 3, mcpServers: servers });
    expect([env, files, notes]).toEqual([
      { GEMINI_CLI_NO_RELAUNCH: "true" },
      {},
      [
        "gemini heeds settings of a run only below folders that root alone may change; maxTurns has no effect",
        "gemini heeds settings of a run only below folders that root alone may change; mcpServers has no effect",
      ],
    ]);
  });
});
