import { join } from "node:path";
import { type Adapter, type AgentRequest, isUuid, privateFolder } from "./agent.ts";
import { argumentProblems, droppedNotes, schemaNote, setByUs, type UnwantedFlag, unknownFlags, withoutFlags } from "./args.ts";
import { type Probing, type Send, sender } from "./cli-facts.ts";
import { mcpFile, serversOf } from "./mcp.ts";

const ours = [
  ...setByUs(1, ["--output-format", "--session-id", "--resume", "-r", "--prompt", "-p", "--interactive", "-i", "-C", "--connect"]),
  ...setByUs(0, ["--continue", "--acp", "--silent", "-s", "--share-gist", "--remote"]),
];

const toolFlags: UnwantedFlag[] = [
  { names: ["--available-tools"], values: 1, why: "gives way to the phase's own limit on tools", hint: "" },
];

const mcpFileName = `${privateFolder}/copilot-mcp.json`;
const kinds = { local: { type: "local", tools: ["*"] }, remote: { type: "http", tools: ["*"] } };

/** What workflows call a tool (Claude Code's names), and what copilot calls it. */
const toolNames: Record<string, string[]> = {
  read: ["view"],
  bash: ["bash", "read_bash", "stop_bash", "list_bash"],
  edit: ["edit"],
  multiedit: ["edit"],
  write: ["create"],
  grep: ["grep"],
  glob: ["glob"],
  webfetch: ["web_fetch"],
  task: ["task"],
};

const quiet = { COPILOT_AUTO_UPDATE: "false" };

const probing: Probing = {
  tested: "1.0.102",
  install: "npm install --global @github/copilot",
  help: [["--help"]],
  env: quiet,
  tryWith: null,
  unlisted: [],
  needs: {
    structuredStream: ["--output-format json", "--allow-all-tools"],
    sessionId: ["--session-id"],
    resume: ["--resume"],
    interactiveResume: ["--resume"],
    model: ["--model"],
    allowedTools: ["--available-tools"],
    readOnly: ["--deny-tool"],
    effort: ["--reasoning-effort"],
    mcpServers: ["--additional-mcp-config"],
  },
  limits: ["--deny-tool", "--available-tools", "--excluded-tools", "--deny-url", "--disallow-temp-dir", "--max-ai-credits"],
};

/** GitHub Copilot CLI, tested with 1.0.102. */
export const copilot: Adapter = {
  provider: "copilot",
  capabilities: {
    sessionId: "chosen",
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
  repoSettings: [],
  suggestedArgs: [],

  command(request) {
    const limited = request.allowedTools !== undefined;
    const unwanted = [...ours, ...(limited ? toolFlags : []), ...unknownFlags("copilot", request.defaultArgs, request.cli)];
    const { kept, dropped } = withoutFlags(request.defaultArgs, unwanted);
    const notes = droppedNotes(dropped);
    const send = sender("copilot", request.cli, notes);
    if (request.maxTurns !== undefined) notes.push("copilot has no limit on turns; maxTurns has no effect");
    notes.push(...schemaNote(request, "copilot"));
    const { servers, files } = serversOf(request);
    const mcp =
      servers.length === 0 ? [] : send(["--additional-mcp-config", `@${join(request.runDir, mcpFileName)}`], "mcpServers has no effect");
    return {
      argv: [
        request.command,
        ...["--output-format", "json", "--allow-all-tools"],
        ...send(["--no-ask-user"], "it may ask, and nobody answers"),
        ...send(["--no-auto-update"], "it may update itself"),
        ...send(["--no-color"], "it may colour what it says"),
        // Without it, what a repository would have it run stays unread, except below folders that its user trusts.
        ...(request.isTrusted && request.session.kind === "new" ? send(["--trust-folder"], "it does not trust the repository") : []),
        ...sessionArgs(request, notes, send),
        ...send(["--usage-output-file", join(request.runDir, "copilot-usage.json")], "nothing is known of what it uses"),
        ...mcp,
        ...kept,
        ...(request.model === undefined ? [] : send(["--model", request.model], "model has no effect")),
        ...effortArgs(request, send),
        ...toolArgs(request, notes, send),
      ],
      env: quiet,
      files: mcp.length === 0 ? {} : { ...files, [mcpFileName]: mcpFile(servers, kinds) },
      stdout: "pump",
      stop: { signal: "SIGTERM", graceMs: 5000 },
      stdinPrefix: "",
      notes,
    };
  },

  interactive(session, { command, cwd }) {
    return isUuid(session.id) ? { argv: [command, `--resume=${session.id}`], cwd } : null;
  },

  configProblems(defaultArgs, cli) {
    return argumentProblems(defaultArgs, [...ours, ...unknownFlags("copilot", defaultArgs, cli)]);
  },
};

function sessionArgs({ session }: AgentRequest, notes: string[], send: Send): string[] {
  const id = session.kind === "new" ? session.id : session.session.id;
  if (!isUuid(id)) {
    notes.push(`"${id}" is no session id of copilot; it starts a new session`);
    return [];
  }
  if (session.kind === "resume") return send(["--resume"], "it starts a new session").map((flag) => `${flag}=${id}`);
  return send(["--session-id", id], "its session is known only once it runs");
}

function effortArgs({ effort }: AgentRequest, send: Send): string[] {
  if (effort === undefined) return [];
  return send([`--reasoning-effort ${effort}`], "effort has no effect").length > 0 ? ["--reasoning-effort", effort] : [];
}

function toolArgs(request: AgentRequest, notes: string[], send: Send): string[] {
  const denied = request.readOnly
    ? send(["--deny-tool"], "its editing tools are not taken away; what it changes is found afterwards").map((flag) => `${flag}=write`)
    : [];
  if (request.allowedTools === undefined) return denied;
  const tools = request.allowedTools.flatMap((rule) => {
    const [, server, tool] = /^mcp__(.+?)(?:__(.+))?$/.exec(rule) ?? [];
    if (server !== undefined) return [tool === undefined ? server : `${server}-${tool}`];
    const found = toolNames[rule.toLowerCase()];
    if (found === undefined) notes.push(`copilot cannot allow "${rule}"; the agent goes without it`);
    return found ?? [];
  });
  const available = send(["--available-tools"], "allowedTools has no effect").map((flag) => `${flag}=${tools.join(",") || "none"}`);
  return [...available, ...denied];
}
