import { UserError } from "../domain/errors.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import { renderString } from "../inputs/prompts.ts";
import { plainEnvironment } from "../lib/plain-environment.ts";
import type { PhaseContext } from "./phase.ts";

/** The variables through which each vendor's CLI is set up. Only that CLI gets them. */
const ofProvider: Record<string, string[]> = {
  claude: ["ANTHROPIC_", "CLAUDE_"],
  codex: ["OPENAI_", "CODEX_"],
  pi: ["PI_", "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_"],
  gemini: ["GEMINI_", "GOOGLE_"],
  copilot: ["COPILOT_"],
  opencode: ["OPENCODE_", "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_"],
};

/** What scripts that talk to the forge or to remotes need, and agents must not have. */
const ofScripts = ["GH_TOKEN", "GITHUB_TOKEN", "GH_HOST", "GH_CONFIG_DIR", "SSH_AUTH_SOCK"];

/**
 * The whole environment of a phase's program, built from nothing: the allow-list, what the kind of program needs, the
 * configuration's and the phase's own `env`, and ORCH_* facts. Ticket text reaches scripts only this way or as argv.
 */
export function childEnvironment(
  context: PhaseContext,
  variables: Record<string, unknown>,
  program:
    | { kind: "script" }
    | { kind: "agent"; provider: string; configured: Record<string, string>; required: Record<string, string> }
    | { kind: "checks" },
): Record<string, string> {
  const { daemonEnv, ticket, ref, resolved, phase, config, self } = context;
  const env = plainEnvironment(daemonEnv);
  const take = (matches: (name: string) => boolean) => {
    for (const [name, value] of Object.entries(daemonEnv)) if (value !== undefined && matches(name)) env[name] = value;
  };
  if (program.kind === "script") take((name) => ofScripts.includes(name));
  if (program.kind === "agent") {
    const prefixes = ofProvider[program.provider] ?? [];
    take((name) => prefixes.some((prefix) => name.startsWith(prefix)));
    Object.assign(env, program.required, resolveEnvReferences(program.configured, daemonEnv));
  }
  for (const [name, value] of Object.entries(phase.env ?? {})) {
    env[name] = renderString(value, variables, `env.${name} of phase "${phase.id}"`);
  }
  Object.assign(env, {
    ORCH_PLAN: ref.planId,
    ORCH_TICKET: ref.ticketId,
    ORCH_PHASE: phase.id,
    ORCH_ATTEMPT: ref.runId,
    ORCH_TITLE: ticket.title.replaceAll("\0", "").slice(0, 4096),
    ORCH_REPO: resolved.repo ?? "",
    ORCH_WORKTREE: resolved.worktree,
    ORCH_BRANCH: resolved.branch,
    ORCH_BASE: resolved.baseBranch ?? "",
    ORCH_BASE_SHA: ticket.baseSha ?? "",
  });
  if (program.kind === "script") {
    Object.assign(env, {
      ORCH_GH: config.ghCommand,
      ORCH_NODE: self.node,
      ORCH_PROGRAM: self.program,
      ORCH_CONFIG: config.file,
      ORCHESTRATOR_HOME: config.home,
    });
  }
  // Linux refuses a single string of 128 KiB or more, and the program would not start at all.
  const tooLong = Object.entries(env).find(([name, value]) => Buffer.byteLength(name) + Buffer.byteLength(value) > 128_000);
  if (tooLong)
    throw new UserError(`The value of ${tooLong[0]} is too long for an environment variable (${Buffer.byteLength(tooLong[1])} bytes).`, {
      hint: "Keep it in a file and pass the path.",
    });
  return env;
}
