import { type Adapter, type AgentRequest, isUuid } from "./agent.ts";
import { argumentProblems, droppedNotes, flagValue, hasFlag, setByUs, type UnwantedFlag, withoutFlags } from "./args.ts";

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

const editingTools = ["Edit", "Write", "NotebookEdit"];

/** Claude Code, tested with 2.1.197. */
export const claude: Adapter = {
  provider: "claude",
  capabilities: {
    sessionId: "chosen",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: true,
    allowedTools: true,
    readOnly: true,
    structuredStream: true,
  },
  suggestedArgs: ["--dangerously-skip-permissions"],

  command(request) {
    const { kept, dropped } = withoutFlags(request.defaultArgs, ours);
    const notes = droppedNotes(dropped);
    const args = [
      ...sessionArgs(request, notes),
      // The repository's own settings and .mcp.json may hold commands, and -p asks nobody before it runs them.
      ...(hasFlag(kept, ["--setting-sources"]) ? [] : ["--setting-sources", "user"]),
      ...(hasFlag(kept, ["--strict-mcp-config"]) ? [] : ["--strict-mcp-config"]),
      ...toolLimits(request, kept),
      ...(request.model === undefined ? [] : ["--model", request.model]),
      ...(request.maxTurns === undefined ? [] : ["--max-turns", String(request.maxTurns)]),
    ];
    return {
      argv: [request.command, "-p", "--output-format", "stream-json", "--verbose", ...args],
      env: {
        DISABLE_AUTOUPDATER: "1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
        // Its own ten tries take three minutes, for a wrong key too. Waiting is done by the runner, which holds no slot for it.
        CLAUDE_CODE_MAX_RETRIES: "3",
        ...(request.isRoot && bypasses(args) ? { IS_SANDBOX: "1" } : {}),
      },
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

  configProblems(defaultArgs) {
    return argumentProblems(defaultArgs, ours);
  },
};

function sessionArgs(request: AgentRequest, notes: string[]): string[] {
  const { session } = request;
  const id = session.kind === "new" ? session.id : session.session.id;
  if (!isUuid(id)) {
    notes.push(`"${id}" is no session id of claude; it starts a new session`);
    return [];
  }
  return [session.kind === "new" ? "--session-id" : "--resume", id];
}

/**
 * The configured arguments with the request's limits on tools worked in. An allow rule alone means nothing once
 * permissions are skipped, so `--tools` takes the other tools away, and a rule with a pattern ends the skipping.
 */
function toolLimits(request: AgentRequest, configured: string[]): string[] {
  const denied = request.readOnly ? ["--disallowedTools", ...editingTools] : [];
  if (request.allowedTools === undefined) return [...configured, ...denied];
  const rules = request.allowedTools;
  const builtIn = [...new Set(rules.filter((rule) => !rule.startsWith("mcp__")).map((rule) => rule.replace(/\(.*$/s, "")))];
  const patterned = rules.some((rule) => rule.includes("("));
  const base = patterned ? [...withoutFlags(configured, permissionFlags).kept, "--permission-mode", "dontAsk"] : configured;
  return [...base, "--tools", builtIn.join(","), ...(rules.length > 0 ? ["--allowedTools", ...rules] : []), ...denied];
}

function bypasses(args: string[]): boolean {
  return (
    hasFlag(args, ["--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"]) ||
    flagValue(args, ["--permission-mode"]) === "bypassPermissions"
  );
}
