import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { type Config, ConfigFile } from "../domain/config.ts";
import { type Finding, UserError } from "../domain/errors.ts";
import { type ConfigOptions, type Env, findConfigFile, problemsOfContent, readOwnFile, resolveConfig } from "./config-file.ts";
import { findingsError, parseYaml, sortFindings } from "./yaml-file.ts";

/**
 * Reads the configuration: the explicit file, else $ORCHESTRATOR_HOME/config.yaml, ~/.orchestrator/config.yaml and
 * ./orchestrator.yaml in this order. `findings` are warnings. UserError "notFound", "invalid" or "unsafe".
 */
export function loadConfig(options: ConfigOptions): { config: Config; findings: Finding[] } {
  const file = findConfigFile(options);
  const { text } = readOwnFile(file);
  const yaml = parseYaml(text, file, ConfigFile);
  const findings = sortFindings([...yaml.findings, ...problemsOfContent(yaml.raw, file, options.env).map(yaml.place)]);
  if (yaml.value === undefined || findings.some((f) => f.severity === "error")) {
    throw findingsError(
      `The configuration ${file} is not usable:`,
      findings,
      "correct these places; docs/configuration.md lists every key",
    );
  }
  return { config: resolveConfig(yaml.value, file, options.env), findings };
}

/** The folder that holds everything of the program when neither a file nor ORCHESTRATOR_HOME says otherwise. */
export function defaultHome(env: Env): string {
  return resolve(env.ORCHESTRATOR_HOME || join(env.HOME || homedir(), ".orchestrator"));
}

/** Replaces every `${NAME}` in the values by `from.NAME`. A name that is not set is a UserError naming it. */
export function resolveEnvReferences(env: Record<string, string>, from: Env): Record<string, string> {
  const resolved = Object.entries(env).map(([key, value]): [string, string] => [
    key,
    value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
      const found = from[name];
      if (found !== undefined) return found;
      throw new UserError(`The environment variable ${name} is not set; ${key} refers to it.`, {
        exit: "invalid",
        hint: `set ${name} where the daemon is started, or change ${key} in the configuration`,
      });
    }),
  ]);
  return Object.fromEntries(resolved);
}

/** The file that `orchestrator init` writes, with these agents besides the usual ones. */
export function configTemplate(more: readonly string[] = []): string {
  const others = more.map((name) => `  ${name}:\n    command: ${name}\n    defaultArgs: []\n`).join("");
  return `# Configuration of orchestrator. docs/configuration.md describes every key.

# The agent that works when neither phase, ticket nor plan names one.
defaultAgent: claude

# The coding agents of this machine. What a headless run needs beyond defaultArgs is added by the program.
agents:
  claude:
    command: claude
    defaultArgs: ["--dangerously-skip-permissions"]
    # model: opus
    # maxConcurrency: 2
    # env:
    #   ANTHROPIC_API_KEY: "\${ANTHROPIC_API_KEY}"   # a reference, never the secret itself
  codex:
    command: codex
    defaultArgs: []
  pi:
    command: pi
    defaultArgs: []
${others}
pollInterval: 10      # seconds between two looks at the state directory
maxConcurrency: 3     # runs at once over all plans
ghCommand: gh         # GitHub CLI

# Checks of projects whose plan names none.
# checks:
#   test: pnpm test
#   lint: [pnpm, run, lint]

# Told when a ticket needs a person: JSON on stdin.
# notifyCommand: [notify-send, orchestrator]

# Folders, relative to this file. These are the defaults.
# stateDir: state
# logDir: logs
# worktreeRoot: worktrees
# workflowDir: workflows
# promptDir: prompts
# scriptDir: scripts
# skillsDir: skills
# blueprintDir: blueprints

# MCP servers of agents. A phase with allowedTools has those that it names as mcp__<server>.
# mcpServers:
#   linear:
#     url: https://mcp.linear.app/mcp
#     headers: { Authorization: "Bearer \${LINEAR_TOKEN}" }   # a reference, never the secret itself
#   files:
#     command: npx
#     args: ["-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"]
`;
}
