import type { Effort } from "../domain/config.ts";
import type { Session } from "../domain/session.ts";
import type { CliFacts, Probing } from "./cli-facts.ts";
import type { McpServer } from "./mcp.ts";

/** What a phase wants of an agent. The prompt is no part of it: it always travels on stdin. */
export interface AgentRequest {
  /** The program as configured: a name on PATH or a path. */
  command: string;
  /** The worktree. */
  cwd: string;
  /** A new conversation, under this UUID where the CLI lets its caller choose, or an earlier one again. */
  session: { kind: "new"; id: string } | { kind: "resume"; session: Session };
  model?: string;
  effort?: Effort;
  maxTurns?: number;
  /** What the run may cost at most, in USD, for CLIs that stop by themselves. */
  maxUsd?: number;
  /** Tools in Claude Code's spelling, e.g. `Read` or `Bash(git diff *)`; undefined: all of them. */
  allowedTools?: string[];
  /** The JSON Schema that its final message has to satisfy. */
  outputSchema?: Record<string, unknown>;
  /** By name; what they need to know is for them alone, never for a command line or a worktree. */
  mcpServers?: Record<string, McpServer>;
  /** The agent is to look but not to change anything. */
  readOnly: boolean;
  /** `defaultArgs` of the configuration. */
  defaultArgs: string[];
  /** The run's folder, absolute. */
  runDir: string;
  /** Whether the agent will run as root. */
  isRoot: boolean;
  /** Whether nobody but root may change anything on the way to the run's folder. */
  isRootOnly?: boolean;
  /** Whether the repository may have the CLI run what it names: hooks, servers, plugins. */
  isTrusted?: boolean;
  /** Those of the adapter's `repoSettings` that the worktree has. */
  repoSettings?: string[];
  /** What the installed CLI was found to take; absent: what the tested release takes. */
  cli?: CliFacts;
}

/** What lies here in a run's folder is for the run's program alone, and goes when the run is over, however it ends. */
export const privateFolder = "private";

/** How to start an agent. Plain data; starting it is the executors' business. */
export interface AgentCommand {
  argv: string[];
  /** Variables that this CLI needs besides the allowed environment; the configuration's own come after them. */
  env: Record<string, string>;
  /** Files that it reads in the run's folder, by their path there, below `privateFolder`. They may hold secrets. */
  files: Record<string, string>;
  /** `file`: this CLI loses the end of its output when stdout is a pipe. */
  stdout: "file" | "pump";
  /** The signal that makes this CLI end its tools too, and how long it may take. */
  stop: { signal: "SIGINT" | "SIGTERM"; graceMs: number };
  /** To be written to stdin before the prompt. */
  stdinPrefix: string;
  /** Settings of the request or configuration that this CLI cannot honour, in words for people. */
  notes: string[];
  /** Why it must not be started as things are: the repository would have it run something. */
  refusal?: string;
}

/** What a CLI can do. */
export interface Capabilities {
  /** `chosen`: its id is ours; `path`: we name the file; `read`: known once it runs; `none`: it keeps no conversation. */
  sessionId: "chosen" | "path" | "read" | "none";
  resume: boolean;
  /** A person can open the conversation in the CLI's own interface. */
  interactiveResume: boolean;
  model: boolean;
  maxTurns: boolean;
  /** It stops by itself once it has cost a given sum. */
  maxUsd: boolean;
  allowedTools: boolean;
  readOnly: boolean;
  /** How hard it thinks. */
  effort: boolean;
  /** Its answer can be held to a JSON Schema. */
  outputSchema: boolean;
  /** It can be given MCP servers for one run. */
  mcpServers: boolean;
  structuredStream: boolean;
}

/** Something in the configured arguments that would not work, and what to write instead. */
export interface ConfigProblem {
  message: string;
  hint: string;
}

/** One vendor's CLI. Its stream is read by the reader of the same name in readers.ts. */
export interface Adapter {
  provider: string;
  /** Of the tested release; capabilitiesOf() says what an installed one has. */
  capabilities: Capabilities;
  /** How an installed CLI is asked what it takes; null: nothing is sent that it could refuse. */
  probing: Probing | null;
  /** Paths in a repository by which it could have this CLI run programs, where no flag alone prevents that. */
  repoSettings: string[];
  /** What `init` writes into a new configuration. */
  suggestedArgs: string[];
  /** How to run the request. */
  command(request: AgentRequest): AgentCommand;
  /** How a person opens the conversation, in its worktree `cwd`; null when this CLI has none of that id. */
  interactive(session: Session, options: { command: string; cwd: string }): { argv: string[]; cwd: string } | null;
  /**
   * Where a conversation has to lie for this CLI to find it again, as a glob below a folder, with the environment that it runs in;
   * absent: nobody can tell.
   */
  transcript?(session: Session, env: Readonly<Record<string, string>>): { dir: string; glob: string } | undefined;
  /** What is wrong with the configured arguments; empty when nothing is. */
  configProblems(defaultArgs: string[], cli?: CliFacts): ConfigProblem[];
}

/** Ids of claude and codex. Anything else they take for a title, or start a new conversation without a word. */
export function isUuid(id: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
}
