import { join } from "node:path";
import { type Adapter, type AgentRequest, isUuid, privateFolder } from "./agent.ts";
import { argumentProblems, droppedNotes, flagValue, hasFlag, setByUs, type UnwantedFlag, unknownFlags, withoutFlags } from "./args.ts";
import { capabilitiesOf, knows, type Probing, type Send, sender } from "./cli-facts.ts";
import { mcpFile, serversOf } from "./mcp.ts";

const ours = [
  ...setByUs(1, ["--output-format", "--input-format", "--session-id", "--resume", "-r"]),
  ...setByUs(0, ["--continue", "-c", "--fork-session", "--no-session-persistence", "--print", "-p", "--bg", "--background"]),
];

const permissionFlags: UnwantedFlag[] = [
  {
    names: ["--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"],
    values: 0,
    why: "lifts every limit on tools",
    hint: "",
  },
  { names: ["--permission-mode"], values: 1, why: "would lift the limit on tools", hint: "" },
];

const mcpFileName = `${privateFolder}/claude-mcp.json`;
const editingTools = ["Edit", "Write", "NotebookEdit"];

const quiet = { DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" };

const probing: Probing = {
  tested: "2.1.197",
  install: "npm install --global @anthropic-ai/claude-code",
  help: [["--help"]],
  env: quiet,
  // With --help it takes any flag, so that only a start tells.
  tryWith: ["-p"],
  unlisted: ["--max-turns"],
  needs: {
    structuredStream: ["--print", "--output-format stream-json", "--verbose"],
    sessionId: ["--session-id"],
    resume: ["--resume"],
    interactiveResume: ["--resume"],
    model: ["--model"],
    maxTurns: ["--max-turns"],
    allowedTools: ["--tools", "--allowedTools"],
    readOnly: ["--disallowedTools"],
    effort: ["--effort"],
    outputSchema: ["--json-schema"],
    mcpServers: ["--mcp-config"],
    maxUsd: ["--max-budget-usd"],
  },
  limits: [
    ...["--disallowedTools", "--disallowed-tools", "--allowedTools", "--allowed-tools", "--tools", "--permission-mode"],
    ...["--settings", "--setting-sources", "--strict-mcp-config", "--safe-mode", "--bare", "--max-budget-usd"],
  ],
};

/** Claude Code, tested with 2.1.197. */
export const claude: Adapter = {
  provider: "claude",
  capabilities: {
    sessionId: "chosen",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: true,
    maxUsd: true,
    allowedTools: true,
    readOnly: true,
    effort: true,
    outputSchema: true,
    mcpServers: true,
    structuredStream: true,
  },
  probing,
  repoSettings: [],
  suggestedArgs: ["--dangerously-skip-permissions"],

  command(request) {
    const unwanted = [...ours, ...unknownFlags("claude", request.defaultArgs, request.cli)];
    const { kept, dropped } = withoutFlags(request.defaultArgs, unwanted);
    const notes = droppedNotes(dropped);
    const send = sender("claude", request.cli, notes);
    const { servers, files } = serversOf(request);
    const mcp = servers.length === 0 ? [] : send(["--mcp-config", join(request.runDir, mcpFileName)], "mcpServers has no effect");
    const args = [
      ...sessionArgs(request, notes, send),
      // The repository's own settings and .mcp.json may hold commands, and -p asks nobody before it runs them.
      ...(hasFlag(kept, ["--setting-sources"]) || request.isTrusted
        ? []
        : send(["--setting-sources", "user"], "hooks of the repository's .claude/settings.json run")),
      ...mcp,
      ...(hasFlag(kept, ["--strict-mcp-config"]) || request.isTrusted
        ? []
        : send(["--strict-mcp-config"], "servers of the repository's .mcp.json are started")),
      ...toolLimits(request, kept, send),
      ...(request.model === undefined ? [] : send(["--model", request.model], "model has no effect")),
      ...(request.maxTurns === undefined ? [] : send(["--max-turns", String(request.maxTurns)], "maxTurns has no effect")),
      ...effortArgs(request, send),
      ...(request.outputSchema === undefined
        ? []
        : send(
            ["--json-schema", JSON.stringify(request.outputSchema)],
            "its prompt asks for the outputSchema, and its final message is checked",
          )),
      ...moneyLimit(request, kept, send),
    ];
    return {
      argv: [request.command, "-p", "--output-format", "stream-json", "--verbose", ...args],
      env: {
        ...quiet,
        // Its own ten tries take three minutes, for a wrong key too. Waiting is done by the runner, which holds no slot for it.
        CLAUDE_CODE_MAX_RETRIES: "3",
        ...(request.isRoot && bypasses(args) ? { IS_SANDBOX: "1" } : {}),
      },
      files: mcp.length === 0 ? {} : { ...files, [mcpFileName]: mcpFile(servers, { remote: { type: "http" } }) },
      stdout: "file",
      // SIGTERM ends claude at once and leaves its tools running; SIGINT ends them first.
      stop: { signal: "SIGINT", graceMs: 5000 },
      // A prompt that begins with a slash would be taken for a command of the CLI.
      stdinPrefix: "\n",
      notes,
    };
  },

  interactive(session, { command, cwd }) {
    return isUuid(session.id) ? { argv: [command, "--resume", session.id], cwd } : null;
  },

  transcript({ id }, { HOME, CLAUDE_CONFIG_DIR }) {
    const dir = CLAUDE_CONFIG_DIR ?? (HOME === undefined ? undefined : join(HOME, ".claude"));
    // One folder per working directory, named in a way that releases have changed; the id is unique all the same.
    return dir === undefined ? undefined : { dir: join(dir, "projects"), glob: `*/${id}.jsonl` };
  },

  configProblems(defaultArgs, cli) {
    return argumentProblems(defaultArgs, [...ours, ...unknownFlags("claude", defaultArgs, cli)]);
  },
};

function sessionArgs(request: AgentRequest, notes: string[], send: Send): string[] {
  const { session } = request;
  const id = session.kind === "new" ? session.id : session.session.id;
  if (!isUuid(id)) {
    notes.push(`"${id}" is no session id of claude; it starts a new session`);
    return [];
  }
  if (session.kind === "resume") return send(["--resume", id], "it starts a new session");
  return send(["--session-id", id], "its session is known only once it runs");
}

/**
 * The configured arguments with the request's limits on tools worked in. An allow rule alone means nothing once
 * permissions are skipped, so `--tools` takes the other tools away, and a rule with a pattern ends the skipping.
 */
function toolLimits(request: AgentRequest, configured: string[], send: Send): string[] {
  const denied = request.readOnly
    ? send(["--disallowedTools", ...editingTools], "its editing tools are not taken away; what it changes is found afterwards")
    : [];
  if (request.allowedTools === undefined) return [...configured, ...denied];
  if (!capabilitiesOf(claude.capabilities, probing, request.cli).allowedTools) {
    const missing = ["--tools", "--allowedTools"].filter((flag) => !knows(request.cli, flag));
    return [...configured, ...missing.flatMap((flag) => send([flag], "allowedTools has no effect")), ...denied];
  }
  const rules = request.allowedTools;
  const builtIn = [...new Set(rules.filter((rule) => !rule.startsWith("mcp__")).map((rule) => rule.replace(/\(.*$/s, "")))];
  const patterned =
    rules.some((rule) => rule.includes("(")) && send(["--permission-mode dontAsk"], "patterns in allowedTools have no effect").length > 0;
  const base = patterned ? [...withoutFlags(configured, permissionFlags).kept, "--permission-mode", "dontAsk"] : configured;
  return [...base, "--tools", builtIn.join(","), ...(rules.length > 0 ? ["--allowedTools", ...rules] : []), ...denied];
}

function effortArgs({ effort }: AgentRequest, send: Send): string[] {
  if (effort === undefined) return [];
  return send([`--effort ${effort}`], "effort has no effect").length > 0 ? ["--effort", effort] : [];
}

/** A lower limit of the configured arguments stays. claude refuses nothing at all, so it is a hundredth of a cent at least. */
function moneyLimit({ maxUsd }: AgentRequest, configured: string[], send: Send): string[] {
  const flag = "--max-budget-usd";
  if (maxUsd === undefined || Number(flagValue(configured, [flag]) ?? Number.POSITIVE_INFINITY) <= maxUsd) return [];
  return send([flag, String(Math.max(1, Math.ceil(maxUsd * 10_000)) / 10_000)], "the budget is watched from outside alone");
}

function bypasses(args: string[]): boolean {
  return (
    hasFlag(args, ["--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"]) ||
    flagValue(args, ["--permission-mode"]) === "bypassPermissions"
  );
}
