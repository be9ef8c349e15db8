import { join } from "node:path";
import { type Adapter, type AgentRequest, isUuid, privateFolder } from "./agent.ts";
import { argumentProblems, droppedNotes, hasFlag, refusal, schemaNote, setByUs, unknownFlags, withoutFlags } from "./args.ts";
import { type Probing, type Send, sender } from "./cli-facts.ts";
import { json, type McpServer, serversOf } from "./mcp.ts";

const ours = [
  ...setByUs(1, ["--output-format", "-o", "--session-id", "--resume", "-r", "--prompt", "-p", "--prompt-interactive", "-i"]),
  ...setByUs(1, ["--session-file", "--worktree", "-w"]),
  ...setByUs(0, ["--acp", "--experimental-acp"]),
];

const settingsFile = `${privateFolder}/gemini-settings.json`;
const policyFile = `${privateFolder}/gemini-policy.toml`;

/** What workflows call a tool (Claude Code's names), and what gemini calls it. */
const toolNames: Record<string, string> = {
  read: "read_file",
  bash: "run_shell_command",
  edit: "replace",
  multiedit: "replace",
  write: "write_file",
  grep: "grep_search",
  glob: "glob",
  ls: "list_directory",
  webfetch: "web_fetch",
  websearch: "google_web_search",
};

/** Without it gemini starts itself once more, and signals reach the wrong process. */
const quiet = { GEMINI_CLI_NO_RELAUNCH: "true" };

const probing: Probing = {
  tested: "0.61.0",
  install: "npm install --global @google/gemini-cli",
  help: [["--help"]],
  env: quiet,
  tryWith: null,
  unlisted: [],
  needs: {
    structuredStream: ["--output-format stream-json", "--approval-mode yolo"],
    sessionId: ["--session-id"],
    resume: ["--resume"],
    interactiveResume: ["--resume"],
    model: ["--model"],
    allowedTools: ["--policy"],
    readOnly: ["--policy"],
  },
  limits: ["--approval-mode", "--sandbox", "-s", "--extensions", "-e", "--policy", "--admin-policy", "--allowed-mcp-server-names"],
};

/** Gemini CLI, tested with 0.61.0. */
export const gemini: Adapter = {
  provider: "gemini",
  capabilities: {
    sessionId: "chosen",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: true,
    maxUsd: false,
    allowedTools: true,
    readOnly: true,
    effort: false,
    outputSchema: false,
    mcpServers: true,
    structuredStream: true,
  },
  probing,
  repoSettings: [".gemini"],
  suggestedArgs: [],

  command(request) {
    const { isRootOnly = false, isTrusted = false, repoSettings = [] } = request;
    const { kept, dropped } = withoutFlags(request.defaultArgs, [...ours, ...unknownFlags("gemini", request.defaultArgs, request.cli)]);
    const notes = droppedNotes(dropped);
    const send = sender("gemini", request.cli, notes);
    const rules = policy(request, notes);
    const policyArgs =
      rules === ""
        ? []
        : send(["--policy", join(request.runDir, policyFile)], "its tools are not limited; what it changes is found afterwards");
    if (request.effort !== undefined) notes.push("gemini has no setting for effort; it has no effect");
    notes.push(...schemaNote(request, "gemini"));
    const { settings, files } = isRootOnly ? settingsOf(request) : noSettings(request, notes);
    return {
      argv: [
        request.command,
        ...["--output-format", "stream-json"],
        ...(hasFlag(kept, ["--approval-mode", "--yolo", "-y"]) ? [] : ["--approval-mode", "yolo"]),
        // In a folder that it does not trust it does nothing at all.
        ...send(["--skip-trust"], "it may refuse a folder that it does not trust"),
        ...(hasFlag(kept, ["--extensions", "-e"]) || isTrusted ? [] : send(["--extensions", "none"], "its extensions are loaded")),
        ...sessionArgs(request, notes, send),
        ...kept,
        ...(request.model === undefined ? [] : send(["--model", request.model], "model has no effect")),
        ...policyArgs,
      ],
      env: { ...quiet, ...(settings === undefined ? {} : { GEMINI_CLI_SYSTEM_SETTINGS_PATH: join(request.runDir, settingsFile) }) },
      files: {
        ...files,
        ...(settings === undefined ? {} : { [settingsFile]: json(settings) }),
        ...(policyArgs.length === 0 ? {} : { [policyFile]: rules }),
      },
      stdout: "pump",
      stop: { signal: "SIGTERM", graceMs: 5000 },
      // A prompt that begins with a slash would be taken for a command of the CLI.
      stdinPrefix: "\n",
      notes,
      ...(isRootOnly || isTrusted || repoSettings.length === 0 ? {} : { refusal: refusal("gemini", repoSettings) }),
    };
  },

  interactive(session, { command, cwd }) {
    return isUuid(session.id) ? { argv: [command, "--resume", session.id], cwd } : null;
  },

  configProblems(defaultArgs, cli) {
    return argumentProblems(defaultArgs, [...ours, ...unknownFlags("gemini", defaultArgs, cli)]);
  },
};

function sessionArgs({ session }: AgentRequest, notes: string[], send: Send): string[] {
  const id = session.kind === "new" ? session.id : session.session.id;
  if (!isUuid(id)) {
    notes.push(`"${id}" is no session id of gemini; it starts a new session`);
    return [];
  }
  if (session.kind === "resume") return send(["--resume", id], "it starts a new session");
  return send(["--session-id", id], "its session is known only once it runs");
}

/** Settings that outweigh those of the user and of the repository. gemini reads them only where nobody but root could have written them. */
function settingsOf(request: AgentRequest): { settings: object; files: Record<string, string> } {
  const { servers, files } = serversOf(request);
  const names = servers.map(([name]) => name);
  // Hooks, servers and commands that find or call tools may stand in the repository's .gemini/settings.json. No server is called "-".
  const closed = {
    hooksConfig: { enabled: false },
    mcp: { allowed: names.length === 0 ? ["-"] : names },
    tools: { discoveryCommand: "", callCommand: "" },
  };
  const settings = {
    general: { enableAutoUpdate: false, enableAutoUpdateNotification: false, maxAttempts: 3 },
    ...(request.isTrusted ? {} : closed),
    mcpServers: Object.fromEntries(servers.map(([name, server]) => [name, serverSettings(server)])),
    ...(request.maxTurns === undefined ? {} : { model: { maxSessionTurns: request.maxTurns } }),
  };
  return { settings, files };
}

function noSettings(request: AgentRequest, notes: string[]): { settings?: undefined; files: Record<string, string> } {
  const why = "gemini heeds settings of a run only below folders that root alone may change";
  if (request.maxTurns !== undefined) notes.push(`${why}; maxTurns has no effect`);
  if (Object.keys(request.mcpServers ?? {}).length > 0) notes.push(`${why}; mcpServers has no effect`);
  return { files: {} };
}

function serverSettings(server: McpServer): object {
  if ("url" in server) return { httpUrl: server.url, headers: server.headers, trust: true };
  return { ...server, trust: true };
}

/** Rules over tools, as its policy engine reads them; "" when there are none. */
function policy({ allowedTools, readOnly }: AgentRequest, notes: string[]): string {
  const rules: [string, "allow" | "deny", number][] = [];
  if (readOnly) rules.push(['toolName = ["replace", "write_file"]', "deny", 950]);
  if (allowedTools !== undefined) rules.push(['toolName = "*"', "deny", 800]);
  for (const rule of allowedTools ?? []) {
    const [, server, of = "*"] = /^mcp__(.+?)(?:__(.+))?$/.exec(rule) ?? [];
    const [, name = "", pattern] = /^(\w+)(?:\((.*)\))?$/s.exec(rule) ?? [];
    const tool = toolNames[name.toLowerCase()];
    const prefix = tool === "run_shell_command" ? /^([^*]*?)[ :]*\*$/.exec(pattern ?? "")?.[1] : undefined;
    if (server !== undefined) rules.push([`mcpName = ${JSON.stringify(server)}\ntoolName = ${JSON.stringify(of)}`, "allow", 900]);
    else if (tool !== undefined && pattern === undefined) rules.push([`toolName = "${tool}"`, "allow", 900]);
    else if (tool !== undefined && prefix) rules.push([`toolName = "${tool}"\ncommandPrefix = ${JSON.stringify(prefix)}`, "allow", 900]);
    else notes.push(`gemini cannot allow "${rule}"; the agent goes without it`);
  }
  return rules.map(([what, decision, priority]) => `[[rule]]\n${what}\ndecision = "${decision}"\npriority = ${priority}\n`).join("\n");
}
