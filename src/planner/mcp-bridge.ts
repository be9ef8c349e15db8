import { createHash } from "node:crypto";
import type { McpServer } from "../agents/mcp.ts";
import type { McpServerConfig } from "../domain/config.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import type { ListedTool, McpAnswer, McpConnection } from "./mcp-client.ts";

/** How a server of the configuration is doing. One that wants a sign-in is waited for like one that is still starting. */
export type McpState =
  | { state: "connecting" }
  | { state: "sign-in needed"; url: string }
  | { state: "ready"; tools: number }
  | { state: "failed"; reason: string };

/** A tool of a server as a model gets it. */
export interface McpTool {
  /** `mcp__<server>__<tool>`, the name that claude and codex give it, too. Unique, of at most 64 letters, digits, `_` and `-`. */
  name: string;
  server: string;
  description: string;
  inputSchema: ListedTool["inputSchema"];
  /** The server says that it changes nothing. */
  readOnly: boolean;
  /** Never rejects: what goes wrong is an answer with `ok: false`. */
  call(input: Record<string, unknown>, signal?: AbortSignal): Promise<McpAnswer>;
}

/** The servers of the configuration, for the time of a session. */
export interface McpBridge {
  /** Every server of the configuration, in its order. */
  states(): ReadonlyMap<string, McpState>;
  /** What the servers that are ready offer at the moment. */
  tools(): readonly McpTool[];
  /** Resolves once every server is ready or has failed, which it is after `connectMs` at the latest. */
  settled(): Promise<void>;
  /** Ends every server with all its processes. Resolves once none is left; never rejects. */
  close(): Promise<void>;
}

/** What a session needs of the world for its servers. */
export interface McpBridgeOptions {
  servers: Readonly<Record<string, McpServerConfig>>;
  env: Readonly<Record<string, string | undefined>>;
  /** Where the programs run. */
  cwd: string;
  /** The version of orchestrator. */
  version: string;
  /** How long a server may take to be ready, in milliseconds. */
  connectMs: number;
  /** A server has another state, or other tools. */
  onChange?: (server: string) => void;
}

/** How long servers may take: minutes where a person may have to sign in, seconds where nobody is there to do it. */
export const connectMs = { interactive: 300_000, headless: 15_000 };

/**
 * Connects to the servers in the background and returns at once: none of them can fail or delay a session. Their processes also end
 * with this one, by process.exit() and by a signal: one that nobody else listens to kills it as usual, after them.
 */
export function startMcpBridge(options: McpBridgeOptions): McpBridge {
  const { servers, onChange = () => {} } = options;
  const states = new Map<string, McpState>(Object.keys(servers).map((name) => [name, { state: "connecting" }]));
  const offered = new Map<string, McpTool[]>();
  const connections: McpConnection[] = [];
  let closed: Promise<void> | undefined;

  function become(name: string, state: McpState): void {
    if (closed) return;
    if (state.state !== "ready") offered.delete(name);
    states.set(name, state);
    onChange(name);
  }

  async function connect(name: string, configured: McpServerConfig): Promise<void> {
    try {
      // Loading it takes a while, and who starts a session does not wait for that.
      const { openMcp } = await import("./mcp-client.ts");
      const server = resolved(configured, options.env);
      if (closed) return;
      const connection = openMcp(server, {
        ...options,
        onSignIn: (url) => become(name, { state: "sign-in needed", url }),
        onTools: take,
        onGone: (reason) => become(name, { state: "failed", reason }),
      });
      connections.push(connection);
      take(await connection.connected);

      function take(listed: readonly ListedTool[]): void {
        offered.set(
          name,
          listed.map((tool) => ({
            name: toolName(name, tool.name),
            server: name,
            description: tool.description,
            inputSchema: tool.inputSchema,
            readOnly: tool.readOnly,
            call: (input, signal) => connection.call(tool.name, input, signal),
          })),
        );
        become(name, { state: "ready", tools: listed.length });
      }
    } catch (error) {
      become(name, { state: "failed", reason: error instanceof Error ? error.message : String(error) });
    }
  }

  const killNow = () => {
    for (const connection of connections) connection.killNow();
  };
  const release = endWithProcess(killNow);
  const connecting = Promise.all(Object.entries(servers).map(([name, server]) => connect(name, server)));
  return {
    states: () => states,
    tools: () => uniquelyNamed([...states.keys()].flatMap((name) => offered.get(name) ?? [])),
    settled: async () => {
      await connecting;
    },
    close() {
      closed ??= Promise.all(connections.map((connection) => connection.close())).then(release);
      return closed;
    },
  };
}

/** A server in one line, for people. */
export function stateLine(name: string, state: McpState): string {
  switch (state.state) {
    case "connecting":
      return `MCP server ${name}: connecting`;
    case "sign-in needed":
      return `MCP server ${name}: sign-in needed, open ${state.url}`;
    case "ready":
      return `MCP server ${name}: ready, ${state.tools} ${state.tools === 1 ? "tool" : "tools"}`;
    case "failed":
      return `MCP server ${name} is not available: ${state.reason}`;
  }
}

function resolved({ command, args, env = {}, url, headers = {} }: McpServerConfig, from: McpBridgeOptions["env"]): McpServer {
  if (url !== undefined) return { url, headers: resolveEnvReferences(headers, from) };
  return { command: command ?? "", args, env: resolveEnvReferences(env, from) };
}

const longestName = 64;

function toolName(server: string, tool: string): string {
  const name = `mcp__${server}__${tool}`.replaceAll(/[^A-Za-z0-9_-]/g, "_");
  return name.length <= longestName ? name : withDigest(name, `${server}\0${tool}`);
}

/** Servers may differ by what names cannot express; the second tool of a name gets another one. */
function uniquelyNamed(tools: readonly McpTool[]): McpTool[] {
  const seen = new Map<string, number>();
  return tools.map((tool) => {
    const count = (seen.get(tool.name) ?? 0) + 1;
    seen.set(tool.name, count);
    return count === 1 ? tool : { ...tool, name: withDigest(tool.name, `${tool.server}\0${count}`) };
  });
}

function withDigest(name: string, of: string): string {
  const digest = createHash("sha256").update(of).digest("hex").slice(0, 8);
  return `${name.slice(0, longestName - 1 - digest.length)}_${digest}`;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const atEnd = new Set<() => void>();

/** Has `kill` called before this process ends, whatever ends it short of SIGKILL. Returns what takes that back. */
function endWithProcess(kill: () => void): () => void {
  if (atEnd.size === 0) {
    process.on("exit", killAll);
    for (const signal of signals) process.on(signal, dieOf);
  }
  atEnd.add(kill);
  return () => {
    atEnd.delete(kill);
    if (atEnd.size > 0) return;
    process.off("exit", killAll);
    for (const signal of signals) process.off(signal, dieOf);
  };
}

function killAll(): void {
  for (const kill of atEnd) kill();
}

/** A listener takes away that the signal kills. Where it is the only one, that is what has to happen all the same. */
function dieOf(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killAll();
  process.off(signal, dieOf);
  process.kill(process.pid, signal);
}
