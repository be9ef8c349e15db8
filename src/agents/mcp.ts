import { join } from "node:path";
import { type AgentRequest, privateFolder } from "./agent.ts";

/** An MCP server of the configuration, with the values of its variables or headers. */
export type McpServer = { command: string; args: string[]; env: Record<string, string> } | { url: string; headers: Record<string, string> };

/**
 * The servers that a run is to have, by name, and the files that they need. A program with variables is started by a script of the
 * run's folder: command lines are no place for secrets, and CLIs replace what looks like a variable in their configurations.
 */
export function serversOf({ mcpServers = {}, runDir }: Pick<AgentRequest, "mcpServers" | "runDir">): {
  servers: [string, McpServer][];
  files: Record<string, string>;
} {
  const files: Record<string, string> = {};
  const servers = Object.entries(mcpServers).map(([name, server], i): [string, McpServer] => {
    if ("url" in server || !needsScript(server)) return [name, server];
    const file = `${privateFolder}/mcp-${i}.sh`;
    files[file] = script(server);
    return [name, { command: "/bin/sh", args: [join(runDir, file)], env: {} }];
  });
  return { servers, files };
}

type Program = Extract<McpServer, { command: string }>;

function needsScript({ command, args, env }: Program): boolean {
  return Object.keys(env).length > 0 || [command, ...args].some((word) => /[${]/.test(word));
}

function script({ command, args, env }: Program): string {
  const exports = Object.entries(env).map(([name, value]) => `export ${name}=${quoted(value)}`);
  return [...exports, `exec ${[command, ...args].map(quoted).join(" ")}`, ""].join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The note of a CLI that has no MCP servers. */
export function withoutServers({ mcpServers = {} }: AgentRequest, who: string): string[] {
  return Object.keys(mcpServers).length === 0 ? [] : [`${who} has no MCP servers; mcpServers has no effect there`];
}

/** A file with `mcpServers` in the form that most CLIs share; `local` and `remote` are what this one adds to each kind. */
export function mcpFile(servers: readonly [string, McpServer][], { local = {}, remote = {} }: { local?: object; remote?: object }): string {
  const written = servers.map(([name, server]) => [name, { ...("url" in server ? remote : local), ...server }]);
  return json({ mcpServers: Object.fromEntries(written) });
}

/** Indented JSON. */
export function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
