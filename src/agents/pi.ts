import { basename, dirname, join } from "node:path";
import type { Adapter, AgentRequest } from "./agent.ts";
import { argumentProblems, droppedNotes, schemaNote, setByUs, type UnwantedFlag, withoutFlags } from "./args.ts";
import { type Probing, type Send, sender } from "./cli-facts.ts";
import { withoutServers } from "./mcp.ts";

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

const quiet = { PI_OFFLINE: "1", PI_TELEMETRY: "0" };

const probing: Probing = {
  tested: "0.73.1",
  install: "npm install --global @mariozechner/pi-coding-agent",
  help: [["--help"]],
  env: quiet,
  tryWith: null,
  unlisted: [],
  needs: {
    structuredStream: ["--print", "--mode json"],
    sessionId: ["--session"],
    resume: ["--session"],
    interactiveResume: ["--session"],
    model: ["--model"],
    allowedTools: ["--tools"],
    readOnly: ["--tools"],
    effort: ["--thinking"],
  },
  limits: ["--tools", "-t", "--no-tools", "-nt", "--no-builtin-tools", "-nbt", "--no-extensions", "-ne"],
};

/** pi, tested with 0.73.1. */
export const pi: Adapter = {
  provider: "pi",
  capabilities: {
    sessionId: "path",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: false,
    maxUsd: false,
    allowedTools: true,
    readOnly: true,
    effort: true,
    outputSchema: false,
    mcpServers: false,
    structuredStream: true,
  },
  probing,
  repoSettings: [".pi/settings.json"],
  suggestedArgs: [],

  command(request) {
    const limited = request.readOnly || request.allowedTools !== undefined;
    const { kept, dropped } = withoutFlags(request.defaultArgs, [...ours, ...(limited ? toolFlags : [])]);
    const notes = droppedNotes(dropped);
    const send = sender("pi", request.cli, notes);
    for (const path of request.repoSettings ?? []) {
      notes.push(`pi reads the repository's ${path}, against which it has no flag: it may name the shell of pi's tools`);
    }
    if (request.maxTurns !== undefined) notes.push("pi has no limit on turns; maxTurns has no effect");
    notes.push(...schemaNote(request, "pi"));
    notes.push(...withoutServers(request, "pi"));
    return {
      argv: [
        request.command,
        ...["-p", "--mode", "json"],
        ...send(["--session", sessionFile(request)], "its session cannot be taken up again"),
        // A repository's .pi/extensions are programs that pi would run.
        ...(request.isTrusted ? [] : send(["-ne"], "the repository's .pi/extensions are executed")),
        ...kept,
        ...(request.model === undefined ? [] : send(["--model", request.model], "model has no effect")),
        ...effortArgs(request, send),
        ...(limited ? toolArgs(request, notes, send) : []),
      ],
      // Offline, it installs no packages that a repository's .pi/settings.json asks for, with a program that it may name itself.
      env: quiet,
      files: {},
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

  transcript({ path }) {
    return path === undefined ? undefined : { dir: dirname(path), glob: basename(path) };
  },

  configProblems(defaultArgs) {
    return argumentProblems(defaultArgs, ours);
  },
};

function sessionFile({ session, runDir }: AgentRequest): string {
  return session.kind === "new" ? join(runDir, "pi-session.jsonl") : (session.session.path ?? session.session.id);
}

function effortArgs({ effort }: AgentRequest, send: Send): string[] {
  if (effort === undefined) return [];
  return send([`--thinking ${effort}`], "effort has no effect").length > 0 ? ["--thinking", effort] : [];
}

function toolArgs(request: AgentRequest, notes: string[], send: Send): string[] {
  const tools = new Set<string>();
  for (const rule of request.allowedTools ?? lookingTools) {
    const tool = toolNames[rule.toLowerCase()];
    if (tool !== undefined) tools.add(tool);
    else notes.push(`pi cannot allow "${rule}"; the agent goes without it`);
  }
  const granted = request.readOnly ? [...tools].filter((tool) => lookingTools.includes(tool)) : [...tools];
  return send(granted.length === 0 ? ["--no-tools"] : ["--tools", granted.join(",")], "its tools are not limited");
}
