import { type Adapter, type AgentRequest, isUuid } from "./agent.ts";
import { argumentProblems, droppedNotes, hasFlag, setByUs, type UnwantedFlag, withoutFlags } from "./args.ts";

const useSandbox = 'write defaultArgs: ["-s", "workspace-write"], or leave it empty: that is the default';

/** Flags of older releases; any of them ends codex 0.169 with exit code 2 before it has begun. */
const gone: UnwantedFlag[] = [
  { names: ["--approval-mode"], values: 1, why: "is unknown to codex, which would not start", hint: useSandbox },
  { names: ["--full-auto"], values: 0, why: "is unknown to codex, which would not start", hint: useSandbox },
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

/** Codex CLI, tested with 0.169.0. */
export const codex: Adapter = {
  provider: "codex",
  capabilities: {
    sessionId: "read",
    resume: true,
    interactiveResume: true,
    model: true,
    maxTurns: false,
    allowedTools: false,
    readOnly: true,
    structuredStream: true,
  },
  suggestedArgs: [],

  command(request) {
    const unwanted = [...gone, ...ours, ...(request.readOnly ? sandboxFlags : [])];
    const { kept, dropped } = withoutFlags(request.defaultArgs, unwanted);
    const notes = droppedNotes(dropped);
    if (request.maxTurns !== undefined) notes.push("codex has no limit on turns; maxTurns has no effect");
    if (request.allowedTools !== undefined) notes.push("codex cannot be limited to certain tools; allowedTools has no effect");
    return {
      argv: [
        request.command,
        "exec",
        "--json",
        ...(request.readOnly ? ["-s", "read-only"] : hasFlag(kept, sandboxNames) ? [] : defaultSandbox),
        "-C",
        request.cwd,
        "--skip-git-repo-check",
        // With analytics on and no way out, codex waits five seconds at its end.
        ...["-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false", "--disable", "plugins", "--disable", "apps"],
        ...kept,
        ...(request.model === undefined ? [] : ["-m", request.model]),
        // Behind the word `resume` most flags are refused, and the sandbox is not remembered: it stands before it, every time.
        ...resumeArgs(request, notes),
        "-",
      ],
      env: {},
      stdout: "pump",
      stop: { signal: "SIGINT", graceMs: 5000 },
      stdinPrefix: "",
      notes,
    };
  },

  interactive(session, { command, cwd }) {
    return isUuid(session.id) ? { argv: [command, "resume", session.id], cwd } : null;
  },

  configProblems(defaultArgs) {
    return argumentProblems(defaultArgs, [...gone, ...ours]);
  },
};

function resumeArgs({ session }: AgentRequest, notes: string[]): string[] {
  if (session.kind === "new") return [];
  if (isUuid(session.session.id)) return ["resume", session.session.id];
  notes.push(`"${session.session.id}" is no session id of codex; it starts a new session`);
  return [];
}
