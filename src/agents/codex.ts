import { join } from "node:path";
import { type Adapter, type AgentRequest, isUuid, privateFolder } from "./agent.ts";
import { argumentProblems, droppedNotes, hasFlag, setByUs, type UnwantedFlag, unknownFlags, withoutFlags } from "./args.ts";
import { type Probing, type Send, sender } from "./cli-facts.ts";
import { json, type McpServer, serversOf } from "./mcp.ts";

const useSandbox = 'write defaultArgs: ["-s", "workspace-write"], or leave it empty: that is the default';

/** Flags of older releases; any of them ends codex 0.169 with exit code 2 before it has begun, and no release needs them. */
const gone: UnwantedFlag[] = [
  { names: ["--approval-mode"], values: 1, why: "is unknown to codex, which would not start", hint: useSandbox },
  { names: ["--full-auto"], values: 0, why: "is gone from codex since 0.147; what it did is the default", hint: useSandbox },
  {
    names: ["-a", "--ask-for-approval"],
    values: 1,
    why: "is not accepted by `codex exec`, which never asks anyway",
    hint: useSandbox,
  },
];

const ours = [
  ...setByUs(1, ["--cd", "-C", "--color", "-o", "--output-last-message"]),
  ...setByUs(0, ["--json", "--ephemeral", "--worktree", "--last"]),
];

const sandboxFlags: UnwantedFlag[] = [
  { names: ["-s", "--sandbox"], values: 1, why: "is replaced by read-only for a phase that may not change anything", hint: "" },
  {
    names: ["--dangerously-bypass-approvals-and-sandbox", "--yolo", "--approve-for-me"],
    values: 0,
    why: "is replaced by `-s read-only` for a phase that may not change anything",
    hint: "",
  },
];
const sandboxNames = sandboxFlags.flatMap((sandbox) => sandbox.names);

/**
 * Edits within the worktree and the temporary folders only; `.git` stays read-only because the runner commits. The network
 * is open: without it no test that binds a port and no package install works. bypass would also work, but confine nothing.
 */
const defaultSandbox = ["-s", "workspace-write", "-c", "sandbox_workspace_write.network_access=true"];

const schemaFile = `${privateFolder}/output-schema.json`;

const probing: Probing = {
  tested: "0.169.0",
  install: "npm install --global @openai/codex",
  help: [["exec", "--help"]],
  env: {},
  tryWith: ["exec"],
  unlisted: [],
  needs: {
    structuredStream: ["--json", "--sandbox workspace-write", "--config"],
    resume: ["resume"],
    model: ["--model"],
    readOnly: ["--sandbox read-only"],
    effort: ["--config"],
    outputSchema: ["--output-schema"],
    mcpServers: ["--config"],
  },
  limits: ["-s", "--sandbox", "--ignore-rules", "--ignore-user-config", "--strict-config"],
};

/** Codex CLI, tested with 0.169.0. */
export const codex: Adapter = {
  provider: "codex",
  capabilities: {
    sessionId: "read",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: false,
    maxUsd: false,
    allowedTools: false,
    readOnly: true,
    effort: true,
    outputSchema: true,
    mcpServers: true,
    structuredStream: true,
  },
  probing,
  repoSettings: [".codex"],
  suggestedArgs: [],

  command(request) {
    const unwanted = [
      ...gone,
      ...ours,
      ...(request.readOnly ? sandboxFlags : []),
      ...unknownFlags("codex", request.defaultArgs, request.cli),
    ];
    const { kept, dropped } = withoutFlags(request.defaultArgs, unwanted);
    const notes = droppedNotes(dropped);
    const send = sender("codex", request.cli, notes);
    if (request.maxTurns !== undefined) notes.push("codex has no limit on turns; maxTurns has no effect");
    if (request.allowedTools !== undefined) notes.push("codex cannot be limited to certain tools; allowedTools has no effect");
    const servers = mcp(request, notes);
    const schema =
      request.outputSchema === undefined
        ? []
        : send(
            ["--output-schema", join(request.runDir, schemaFile)],
            "its prompt asks for the outputSchema, and its final message is checked",
          );
    return {
      argv: [
        request.command,
        "exec",
        "--json",
        ...(request.readOnly ? ["-s", "read-only"] : hasFlag(kept, sandboxNames) ? [] : defaultSandbox),
        ...send(["-C", request.cwd], "it is started in the worktree all the same"),
        ...send(["--skip-git-repo-check"], "it may refuse a folder that it does not trust"),
        ...[...settings(request, kept, notes), ...servers.settings].flatMap((setting) => ["-c", setting]),
        ...kept,
        ...(request.effort === undefined ? [] : ["-c", `model_reasoning_effort=${JSON.stringify(request.effort)}`]),
        ...schema,
        ...(request.model === undefined ? [] : send(["-m", request.model], "model has no effect")),
        // Behind the word `resume` most flags are refused, and the sandbox is not remembered: it stands before it, every time.
        ...resumeArgs(request, notes, send),
        "-",
      ],
      env: servers.env,
      files: { ...servers.files, ...(schema.length === 0 ? {} : { [schemaFile]: json(request.outputSchema) }) },
      stdout: "pump",
      stop: { signal: "SIGINT", graceMs: 5000 },
      stdinPrefix: "",
      notes,
    };
  },

  interactive(session, { command, cwd }) {
    return isUuid(session.id) ? { argv: [command, "resume", session.id], cwd } : null;
  },

  transcript({ id }, { HOME, CODEX_HOME }) {
    const dir = CODEX_HOME ?? (HOME === undefined ? undefined : join(HOME, ".codex"));
    return dir === undefined ? undefined : { dir: join(dir, "sessions"), glob: `*/*/*/rollout-*-${id}.jsonl` };
  },

  configProblems(defaultArgs, cli) {
    return argumentProblems(defaultArgs, [...gone, ...ours, ...unknownFlags("codex", defaultArgs, cli)]);
  },
};

/** Settings for `-c`, which no release refuses: what one does not know, it ignores. */
function settings({ cwd, repoSettings = [], isTrusted }: AgentRequest, configured: string[], notes: string[]): string[] {
  const quiet = [
    // With analytics on and no way out, codex waits five seconds at its end.
    "analytics.enabled=false",
    "check_for_update_on_startup=false",
    "features.plugins=false",
    "features.apps=false",
  ];
  if (repoSettings.length === 0 || isTrusted || configured.some((arg) => /^(--config=|-c)?projects\b/.test(arg))) return quiet;
  // A worktree of a repository that its owner trusts is trusted as well: codex would start the servers of its .codex/config.toml.
  notes.push(
    `codex does not read the repository's ${repoSettings.join(", ")}, nor its AGENTS.md; "-c", "projects={}" in defaultArgs lets it`,
  );
  return [...quiet, `projects={${JSON.stringify(cwd)}={trust_level="untrusted"}}`];
}

/** Servers for `-c`. Their headers must not stand on the command line: they are named there by the variables that hold them. */
function mcp(request: AgentRequest, notes: string[]) {
  const { servers, files } = serversOf(request);
  const settings: string[] = [];
  const env: Record<string, string> = {};
  for (const [name, server] of servers) {
    if (!/^[A-Za-z0-9_-]+$/.test(name)) {
      notes.push(`codex takes no MCP server of the name "${name}"; it goes without`);
      continue;
    }
    const how = "url" in server ? remote(server, name, env) : program(server.command, server.args);
    // Nobody is there to approve a call; the configuration has done so for all of them.
    settings.push(`mcp_servers.${name}={${how},default_tools_approval_mode="approve"}`);
  }
  return { settings, env, files };
}

function program(command: string, args: string[]): string {
  return `command=${JSON.stringify(command)},args=${JSON.stringify(args)}`;
}

function remote({ url, headers }: Extract<McpServer, { url: string }>, name: string, env: Record<string, string>): string {
  const variables = Object.entries(headers).map(([header, value], i) => {
    const variable = `ORCH_MCP_SECRET_${name.replaceAll("-", "_")}_${i}`;
    env[variable] = value;
    return `${JSON.stringify(header)}=${JSON.stringify(variable)}`;
  });
  return `url=${JSON.stringify(url)}${variables.length === 0 ? "" : `,env_http_headers={${variables.join(",")}}`}`;
}

function resumeArgs({ session }: AgentRequest, notes: string[], send: Send): string[] {
  if (session.kind === "new") return [];
  if (isUuid(session.session.id)) return send(["resume", session.session.id], "it starts a new session");
  notes.push(`"${session.session.id}" is no session id of codex; it starts a new session`);
  return [];
}
