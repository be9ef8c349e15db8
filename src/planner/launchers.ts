/** How other agents are started as planners: with the same prompt, skills and tools as PI. Pure, but for the files they are given. */
import { basename, join } from "node:path";
import { droppedNotes, type UnwantedFlag, withoutFlags } from "../agents/args.ts";
import type { McpServerConfig } from "../domain/config.ts";
import type { Skill } from "../inputs/skills.ts";

/** What a launcher works from. */
export interface LaunchRequest {
  command: string;
  defaultArgs: readonly string[];
  model: string | undefined;
  prompt: string;
  skills: readonly Skill[];
  /** Names of the planner's tools that change nothing. */
  readOnlyTools: readonly string[];
  /** Starts `orchestrator mcp`. */
  server: { command: string; args: readonly string[]; env: readonly string[] };
  /** The servers of the configuration. */
  mcpServers: Readonly<Record<string, McpServerConfig>>;
  /** Where `${NAME}` is looked up. */
  from: Readonly<Record<string, string | undefined>>;
  isContinued: boolean;
  /** A folder for `files`. */
  dir: string;
}

/** A program to be started in the terminal. */
export interface Launch {
  argv: string[];
  /** What it finds in its environment beyond that of the session; secrets are here and nowhere else. */
  env: Record<string, string>;
  /** Files that have to be there, by path. None holds a secret. */
  files: Record<string, string>;
  /** Folders to be copied: from → to. */
  copies: Record<string, string>;
  /** What a person should know before it starts. */
  notes: string[];
}

type Settled = { how: { command: string; args: readonly string[] } | { url: string }; values: [name: string, variable: string][] };

const askedFirst = "would have plans written without asking";

const claudeFlags: UnwantedFlag[] = [
  { names: ["--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"], values: 0, why: askedFirst, hint: "" },
  { names: ["--permission-mode"], values: 1, why: askedFirst, hint: "" },
  { names: ["--allowedTools", "--allowed-tools"], values: "many", why: askedFirst, hint: "" },
  { names: ["-p", "--print", "-c", "--continue", "--verbose"], values: 0, why: "is for runs without a person", hint: "" },
  {
    names: ["--output-format", "--input-format", "--max-turns", "-r", "--resume", "--session-id"],
    values: 1,
    why: "is for runs without a person",
    hint: "",
  },
];

/** claude: its own permission dialog for a tool that writes is the person's yes or no. */
export function claudeLaunch(request: LaunchRequest): Launch {
  const { command, defaultArgs, model, prompt, skills, readOnlyTools, server, isContinued, dir } = request;
  const { kept, dropped } = withoutFlags([...defaultArgs], claudeFlags);
  const { settled, env, notes } = settledServers(request);
  const plugin = join(dir, "plugin");
  const promptFile = join(dir, "planner.md");
  // claude replaces ${NAME} itself, so that neither the argument nor a file holds a value.
  const reference = (values: Settled["values"]) => Object.fromEntries(values.map(([name, variable]) => [name, `\${${variable}}`]));
  const servers = Object.fromEntries(
    settled.map(([name, { how, values }]) => [
      name,
      "url" in how ? { type: "http", url: how.url, headers: reference(values) } : { ...how, env: reference(values) },
    ]),
  );
  const mcp = { mcpServers: { ...servers, orchestrator: { command: server.command, args: server.args } } };
  const allowed = ["Read", "Grep", "Glob", "LS", ...readOnlyTools.map((tool) => `mcp__orchestrator__${tool}`)];
  return {
    argv: [
      command,
      ...kept,
      ...(model === undefined || kept.includes("--model") ? [] : ["--model", model]),
      ...["--append-system-prompt-file", promptFile],
      ...["--mcp-config", JSON.stringify(mcp), "--strict-mcp-config"],
      // The repository's own settings may hold hooks, which are commands.
      ...(kept.includes("--setting-sources") ? [] : ["--setting-sources", "user"]),
      ...["--permission-mode", "default"],
      ...["--allowedTools", allowed.join(",")],
      ...["--disallowedTools", "Edit,Write,NotebookEdit"],
      ...(skills.length === 0 ? [] : ["--plugin-dir", plugin]),
      ...(isContinued ? ["--continue"] : []),
    ],
    env,
    files: {
      [promptFile]: prompt,
      [join(plugin, ".claude-plugin", "plugin.json")]:
        `${JSON.stringify({ name: "orchestrator", version: "1.0.0", description: "Planning with orchestrator" }, null, 2)}\n`,
    },
    copies: Object.fromEntries(skills.map(({ name, file }) => [folderOf(file), join(plugin, "skills", name)])),
    notes: [...droppedNotes(dropped), ...notes],
  };
}

const codexFlags: UnwantedFlag[] = [
  {
    names: ["--dangerously-bypass-approvals-and-sandbox", "--yolo", "--full-auto", "--approve-for-me"],
    values: 0,
    why: askedFirst,
    hint: "",
  },
  { names: ["-a", "--ask-for-approval", "-s", "--sandbox"], values: 1, why: askedFirst, hint: "" },
  { names: ["--json", "--skip-git-repo-check", "--ephemeral"], values: 0, why: "is for runs without a person", hint: "" },
];

/** codex: it asks for each tool that writes. Its sandbox lets it read alone; the planner's tools run outside of it. */
export function codexLaunch(request: LaunchRequest): Launch {
  const { command, defaultArgs, model, prompt, readOnlyTools, server, isContinued } = request;
  const { kept, dropped } = withoutFlags([...defaultArgs], codexFlags);
  const { settled, env, notes } = settledServers(request);
  const configured = settled.map(([name, { how, values }]) => {
    const to = (value: unknown) => `mcp_servers.${tomlKey(name)}=${toml(value)}`;
    if ("url" in how) return to({ url: how.url, ...(values.length > 0 ? { env_http_headers: Object.fromEntries(values) } : {}) });
    // codex passes variables on by their own names only; a shell gives them the names that the program wants.
    const renamed = values
      .filter(([wanted, variable]) => wanted !== variable)
      .map(([wanted, variable]) => `export ${wanted}="$${variable}"`);
    const argv =
      renamed.length === 0
        ? [how.command, ...how.args]
        : ["/bin/sh", "-c", `${renamed.join("; ")}; exec "$@"`, "sh", how.command, ...how.args];
    return to({ command: argv[0], args: argv.slice(1), env_vars: values.map(([, variable]) => variable) });
  });
  const tools = Object.fromEntries(readOnlyTools.map((tool) => [tool, { approval_mode: "approve" }]));
  const ours = { command: server.command, args: server.args, env_vars: server.env, default_tools_approval_mode: "prompt", tools };
  // A policy of the person's own for other sessions may be never to ask.
  const settings = [
    'approval_policy="on-request"',
    `developer_instructions=${toml(prompt)}`,
    ...configured,
    `mcp_servers.orchestrator=${toml(ours)}`,
  ];
  return {
    argv: [
      command,
      ...(isContinued ? ["resume", "--last"] : []),
      ...kept,
      ...(model === undefined || kept.includes("-m") || kept.includes("--model") ? [] : ["--model", model]),
      ...["--sandbox", "read-only"],
      ...settings.flatMap((setting) => ["-c", setting]),
    ],
    env,
    files: {},
    copies: {},
    notes: [...droppedNotes(dropped), ...notes],
  };
}

/** Any other program: it gets the environment of the session, and finds the prompt where a variable says. */
export function plainLaunch({ command, defaultArgs, prompt, dir }: LaunchRequest): Launch {
  const promptFile = join(dir, "planner.md");
  return {
    argv: [command, ...defaultArgs],
    env: { ORCHESTRATOR_PLANNER_PROMPT: promptFile },
    files: { [promptFile]: prompt },
    copies: {},
    notes: [
      `${basename(command)} is started as it is: it takes no prompt and no tools from here. The prompt is in $ORCHESTRATOR_PLANNER_PROMPT, and \`orchestrator mcp\` serves the tools`,
    ],
  };
}

/**
 * The servers of the configuration with their values moved to variables of the agent's environment, each under a name of its own. A
 * server that refers to a variable which is not set is left out, with a note.
 */
function settledServers({ mcpServers, from }: LaunchRequest): {
  settled: [string, Settled][];
  env: Record<string, string>;
  notes: string[];
} {
  const env: Record<string, string> = {};
  const notes: string[] = [];
  const settled: [string, Settled][] = [];
  for (const [name, { command, args, env: variables = {}, url, headers = {} }] of Object.entries(mcpServers)) {
    if (name === "orchestrator") {
      notes.push('the MCP server "orchestrator" of the configuration is left out: the planner\'s own tools have that name');
      continue;
    }
    const given = Object.entries(url === undefined ? variables : headers);
    const missing = given.flatMap(([, value]) => namesIn(value)).filter((variable) => from[variable] === undefined);
    if (missing.length > 0 || (command === undefined && url === undefined)) {
      notes.push(
        `MCP server ${name} is not available: ${missing.length > 0 ? `the environment variable ${missing[0]} is not set` : "it has neither command nor url"}`,
      );
      continue;
    }
    const values = given.map(([wanted, value], i): [string, string] => {
      const variable = `ORCHESTRATOR_MCP_${name.replaceAll(/[^A-Za-z0-9]/g, "_").toUpperCase()}_${i}`;
      env[variable] = value.replace(reference, (_, other: string) => from[other] ?? "");
      return [wanted, variable];
    });
    settled.push([name, { how: url === undefined ? { command: command ?? "", args } : { url }, values }]);
  }
  return { settled, env, notes };
}

const reference = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

function namesIn(value: string): string[] {
  return [...value.matchAll(reference)].map(([, name = ""]) => name);
}

function folderOf(file: string): string {
  return file.slice(0, -"/SKILL.md".length);
}

/** A value as TOML writes it in one line. JSON's strings are TOML's basic strings, but for DEL. */
function toml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, each]) => `${tomlKey(key)}=${toml(each)}`)
      .join(",")}}`;
  }
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

function tomlKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key);
}
