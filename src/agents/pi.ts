import { join } from "node:path";
import type { Adapter, AgentRequest } from "./agent.ts";
import { argumentProblems, droppedNotes, setByUs, type UnwantedFlag, withoutFlags } from "./args.ts";

const ours = [
  ...setByUs(1, ["--mode", "--session", "--fork", "--session-dir"]),
  ...setByUs(0, ["--print", "-p", "--continue", "-c", "--resume", "-r", "--no-session"]),
];

const toolFlags: UnwantedFlag[] = [
  { names: ["--tools", "-t"], values: 1, why: "gives way to the phase's own limit on tools", hint: "" },
  { names: ["--no-tools", "-nt"], values: 0, why: "gives way to the phase's own limit on tools", hint: "" },
];

/** What workflows call a tool (Claude Code's names), and what pi calls it. */
const toolNames: Record<string, string> = {
  read: "read",
  bash: "bash",
  edit: "edit",
  multiedit: "edit",
  write: "write",
  grep: "grep",
  glob: "find",
  find: "find",
  ls: "ls",
};
const lookingTools = ["read", "bash", "grep", "find", "ls"];

/** pi, tested with 0.73.1. */
export const pi: Adapter = {
  provider: "pi",
  capabilities: {
    sessionId: "path",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: false,
    allowedTools: true,
    readOnly: true,
    structuredStream: true,
  },
  suggestedArgs: [],

  command(request) {
    const limited = request.readOnly || request.allowedTools !== undefined;
    const { kept, dropped } = withoutFlags(request.defaultArgs, [...ours, ...(limited ? toolFlags : [])]);
    const notes = droppedNotes(dropped);
    if (request.maxTurns !== undefined) notes.push("pi has no limit on turns; maxTurns has no effect");
    return {
      argv: [
        request.command,
        ...["-p", "--mode", "json", "--session", sessionFile(request)],
        // A repository's .pi/extensions are programs that pi would run.
        "-ne",
        ...kept,
        ...(request.model === undefined ? [] : ["--model", request.model]),
        ...(limited ? toolArgs(request, notes) : []),
      ],
      env: { PI_OFFLINE: "1", PI_TELEMETRY: "0" },
      stdout: "pump",
      // The opposite of the others: SIGINT would leave its tools running.
      stop: { signal: "SIGTERM", graceMs: 5000 },
      stdinPrefix: "",
      notes,
    };
  },

  interactive(session, { command, cwd }) {
    return { argv: [command, "--session", session.path ?? session.id], cwd };
  },

  configProblems(defaultArgs) {
    return argumentProblems(defaultArgs, ours);
  },
};

function sessionFile({ session, runDir }: AgentRequest): string {
  return session.kind === "new" ? join(runDir, "pi-session.jsonl") : (session.session.path ?? session.session.id);
}

function toolArgs(request: AgentRequest, notes: string[]): string[] {
  const tools = new Set<string>();
  for (const rule of request.allowedTools ?? lookingTools) {
    const tool = toolNames[rule.toLowerCase()];
    if (tool !== undefined) tools.add(tool);
    else notes.push(`pi cannot allow "${rule}"; the agent goes without it`);
  }
  const granted = request.readOnly ? [...tools].filter((tool) => lookingTools.includes(tool)) : [...tools];
  return granted.length === 0 ? ["--no-tools"] : ["--tools", granted.join(",")];
}
