import { join } from "node:path";
import { type Adapter, type AgentRequest, privateFolder } from "./agent.ts";
import { argumentProblems, droppedNotes, refusal, schemaNote, setByUs, unknownFlags, withoutFlags } from "./args.ts";
import { type Probing, type Send, sender } from "./cli-facts.ts";
import { json, type McpServer, serversOf } from "./mcp.ts";

const ours = [
  ...setByUs(1, ["--format", "--session", "-s", "--attach", "--dir", "--command", "--port"]),
  ...setByUs(0, ["--continue", "-c", "--fork", "--share", "--interactive", "-i"]),
];

const configFile = `${privateFolder}/opencode.json`;

/** What workflows call a tool (Claude Code's names), and what opencode calls the permission for it. */
const permissions: Record<string, string> = {
  read: "read",
  bash: "bash",
  edit: "edit",
  multiedit: "edit",
  write: "edit",
  grep: "grep",
  glob: "glob",
  ls: "list",
  webfetch: "webfetch",
  websearch: "websearch",
  task: "task",
  todowrite: "todowrite",
};

const quiet = { OPENCODE_DISABLE_AUTOUPDATE: "1", OPENCODE_DISABLE_LSP_DOWNLOAD: "1" };

const probing: Probing = {
  tested: "1.18.33",
  install: "npm install --global opencode-ai",
  help: [["run", "--help"]],
  env: quiet,
  tryWith: null,
  unlisted: [],
  needs: {
    structuredStream: ["--format json"],
    resume: ["--session"],
    interactiveResume: ["--session"],
    model: ["--model"],
    effort: ["--variant"],
  },
  limits: ["--pure", "--agent"],
};

/** opencode, tested with 1.18.33. */
export const opencode: Adapter = {
  provider: "opencode",
  capabilities: {
    sessionId: "read",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: false,
    maxUsd: false,
    allowedTools: true,
    readOnly: true,
    effort: true,
    outputSchema: false,
    mcpServers: true,
    structuredStream: true,
  },
  probing,
  repoSettings: ["opencode.json", "opencode.jsonc", ".opencode"],
  suggestedArgs: [],

  command(request) {
    const { repoSettings = [] } = request;
    const { kept, dropped } = withoutFlags(request.defaultArgs, [...ours, ...unknownFlags("opencode", request.defaultArgs, request.cli)]);
    const notes = droppedNotes(dropped);
    const send = sender("opencode", request.cli, notes);
    if (request.maxTurns !== undefined) notes.push("opencode has no limit on turns; maxTurns has no effect");
    notes.push(...schemaNote(request, "opencode"));
    return {
      argv: [
        request.command,
        ...["run", "--format", "json"],
        // It asks its provider again and again without a word in its stream.
        ...send(["--print-logs"], "why it waits for its provider is not known").concat(send(["--log-level", "ERROR"], "its log is long")),
        ...kept,
        ...(request.model === undefined ? [] : send(["--model", request.model], "model has no effect")),
        ...(request.effort === undefined ? [] : send(["--variant", request.effort], "effort has no effect")),
        ...resumeArgs(request, notes, send),
      ],
      env: {
        ...quiet,
        OPENCODE_CONFIG: join(request.runDir, configFile),
        // The last word on permissions, whatever other settings say: nobody is there to be asked.
        OPENCODE_PERMISSION: JSON.stringify(permission(request, notes)),
      },
      files: filesOf(request),
      stdout: "pump",
      stop: { signal: "SIGTERM", graceMs: 5000 },
      stdinPrefix: "",
      notes,
      // No flag and no variable keeps it from plugins that these name.
      ...(repoSettings.length === 0 || request.isTrusted ? {} : { refusal: refusal("opencode", repoSettings) }),
    };
  },

  interactive(session, { command, cwd }) {
    return isSessionName(session.id) ? { argv: [command, "--session", session.id], cwd } : null;
  },

  configProblems(defaultArgs, cli) {
    return argumentProblems(defaultArgs, [...ours, ...unknownFlags("opencode", defaultArgs, cli)]);
  },
};

function isSessionName(id: string): boolean {
  return /^ses_[A-Za-z0-9]+$/.test(id);
}

function resumeArgs({ session }: AgentRequest, notes: string[], send: Send): string[] {
  if (session.kind === "new") return [];
  const { id } = session.session;
  if (isSessionName(id)) return send(["--session", id], "it starts a new session");
  notes.push(`"${id}" is no session id of opencode; it starts a new session`);
  return [];
}

function filesOf(request: AgentRequest): Record<string, string> {
  const { servers, files } = serversOf(request);
  const mcp = Object.fromEntries(servers.map(([name, server]) => [name, serverConfig(server)]));
  return { ...files, [configFile]: json({ $schema: "https://opencode.ai/config.json", autoupdate: false, share: "disabled", mcp }) };
}

function serverConfig(server: McpServer): object {
  if ("url" in server) return { type: "remote", ...server };
  return { type: "local", command: [server.command, ...server.args], environment: server.env };
}

/** The first rule is the most general: the last one that fits counts. */
function permission(request: AgentRequest, notes: string[]): Record<string, string | Record<string, string>> {
  const edits = request.readOnly ? { edit: "deny" } : {};
  if (request.allowedTools === undefined) return { "*": "allow", ...edits };
  const rules: Record<string, string | Record<string, string>> = { "*": "deny" };
  for (const rule of request.allowedTools) {
    const [, server, tool = "*"] = /^mcp__(.+?)(?:__(.+))?$/.exec(rule) ?? [];
    const [, name = "", pattern] = /^(\w+)(?:\((.*)\))?$/s.exec(rule) ?? [];
    const permission = permissions[name.toLowerCase()];
    if (server !== undefined) rules[`${server}_${tool}`] = "allow";
    else if (permission === undefined) notes.push(`opencode cannot allow "${rule}"; the agent goes without it`);
    else if (pattern === undefined) rules[permission] = "allow";
    else if (rules[permission] !== "allow") rules[permission] = { "*": "deny", ...(rules[permission] as object), [pattern]: "allow" };
  }
  return { ...rules, ...edits };
}
