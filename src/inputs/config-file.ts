/** The parts of reading a configuration that need no schema library. */
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Config, ConfigFile } from "../domain/config.ts";
import { type Problem, suggestion, UserError } from "../domain/errors.ts";
import type { FailureCategory } from "../domain/failure.ts";
import { reactionNames, reactionProblem, usualReactions } from "../domain/reaction.ts";
import type { Check } from "../lib/json-schema.ts";
import { worktreeRootProblem } from "../lib/worktree-root.ts";
import { bundledAssets } from "./assets.ts";
import { readTextFile } from "./read-text.ts";
import { parseYamlText } from "./yaml-text.ts";

export type Env = Record<string, string | undefined>;

/** Which file, and what its values may refer to. */
export interface ConfigOptions {
  explicit?: string | undefined;
  env: Env;
  cwd: string;
}

/**
 * The configuration of a file about which there is nothing at all to say, as `fits` finds it, which refuses unknown keys.
 * Undefined when loadConfig() has to say something. UserError "notFound", "invalid" or "unsafe", as there.
 */
export function glanceAtConfig(options: ConfigOptions, fits: Check): Config | undefined {
  const file = findConfigFile(options);
  const { raw, findings } = parseYamlText(readOwnFile(file).text, file);
  if (findings.length > 0 || !fits(raw) || problemsOfContent(raw, file, options.env).length > 0) return undefined;
  return resolveConfig(raw as ConfigFile, file, options.env);
}

/** The file that the configuration is read from. UserError "notFound". */
export function findConfigFile({ explicit, env, cwd }: ConfigOptions): string {
  if (explicit !== undefined) {
    const file = resolve(cwd, explicit);
    if (exists(file)) return file;
    throw new UserError(`There is no configuration file ${file}.`, {
      exit: "notFound",
      hint: "check the path after --config, or run: orchestrator init",
    });
  }
  const home = env.ORCHESTRATOR_HOME;
  const candidates = [
    ...(home ? [join(resolve(cwd, home), "config.yaml")] : []),
    join(env.HOME || homedir(), ".orchestrator", "config.yaml"),
    join(resolve(cwd), "orchestrator.yaml"),
  ];
  const found = candidates.find(exists);
  if (found !== undefined) return found;
  throw new UserError(`There is no configuration. Looked for ${candidates.join(", ")}.`, {
    exit: "notFound",
    hint: "run: orchestrator init",
  });
}

// Anything but "missing" counts as there: an unreadable file must be shown, not passed over for the next one.
function exists(file: string): boolean {
  const read = readTextFile(file);
  return "text" in read || read.problem !== "missing";
}

/** Its text. UserError "invalid" or, when others may change it, "unsafe". */
export function readOwnFile(file: string): { text: string } {
  const read = readTextFile(file);
  if (!("text" in read))
    throw new UserError(`${file}: ${read.message}.`, { exit: "invalid", hint: "make it a readable UTF-8 text file of at most 1 MiB" });
  if ((read.mode & 0o002) !== 0) {
    throw new UserError(`${file} is refused: every user of this machine may change it, and it names programs to run.`, {
      exit: "unsafe",
      hint: `chmod o-w ${file}`,
    });
  }
  const user = process.getuid?.();
  if (user !== undefined && read.uid !== user && read.uid !== 0) {
    throw new UserError(`${file} is refused: it belongs to another user (uid ${read.uid}), and it names programs to run.`, {
      exit: "unsafe",
      hint: `chown ${user} ${file}, once you have read it`,
    });
  }
  return read;
}

/** The configuration that a valid file means, with every folder absolute. */
export function resolveConfig(value: ConfigFile, file: string, env: Env): Config {
  const folder = dirname(file);
  const home = env.ORCHESTRATOR_HOME ? resolve(env.ORCHESTRATOR_HOME) : folder;
  const bundled = bundledAssets();
  const { stateDir, logDir, worktreeRoot, workflowDir, promptDir, scriptDir, skillsDir, blueprintDir, ...rest } = value;
  const dir = (given: string | undefined, fallback: string) =>
    given === undefined ? join(home, fallback) : resolveFolder(given, folder, env);
  return {
    ...rest,
    file,
    home,
    stateDir: dir(stateDir, "state"),
    logDir: dir(logDir, "logs"),
    worktreeRoot: dir(worktreeRoot, "worktrees"),
    workflowDirs: [dir(workflowDir, "workflows"), bundled.workflows],
    promptDirs: [dir(promptDir, "prompts"), bundled.prompts],
    scriptDirs: [dir(scriptDir, "scripts"), bundled.scripts],
    skillsDirs: [dir(skillsDir, "skills"), bundled.skills],
    blueprintDirs: [dir(blueprintDir, "blueprints"), bundled.blueprints],
  };
}

/** A folder as a person names it: relative to `folder`, or to the home folder after `~`. */
export function resolveFolder(given: string, folder: string, env: Env): string {
  return given === "~" || given.startsWith("~/") ? join(env.HOME || homedir(), given.slice(1)) : resolve(folder, given);
}

/** What is wrong that the schema cannot say. Works on unchecked content, so that all errors of a file show at once. */
export function problemsOfContent(raw: unknown, file: string, env: Env): Problem[] {
  if (!isRecord(raw)) return [];
  const problems: Problem[] = [];
  const { defaultAgent, agents, mcpServers, worktreeRoot, reactions } = raw;
  if (typeof defaultAgent === "string" && isRecord(agents) && !Object.hasOwn(agents, defaultAgent)) {
    const names = Object.keys(agents);
    problems.push({
      severity: "error",
      rule: "unknown-agent",
      path: ["defaultAgent"],
      message: `no agent is called "${defaultAgent}"${suggestion(defaultAgent, names)}`,
      fix: `use one of ${names.join(", ") || "(none is defined)"}, or define it under agents`,
    });
  }
  problems.push(...unknownStandIns(agents), ...impossibleReactions(reactions));
  const root = typeof worktreeRoot === "string" ? resolveFolder(worktreeRoot, dirname(file), env) : undefined;
  const why = root === undefined ? undefined : worktreeRootProblem(root, env.HOME || homedir());
  if (why !== undefined) {
    problems.push({
      severity: "error",
      rule: "worktree-root",
      path: ["worktreeRoot"],
      message: `worktrees cannot be kept right in ${root}: ${why}`,
      fix: `name a folder of its own, such as ${join(dirname(file), "worktrees")}`,
    });
  }
  problems.push(...unclearServers(mcpServers));
  return [...problems, ...secretsIn(agents, ["agents"]), ...secretsIn(mcpServers, ["mcpServers"])];
}

/** A server is a program or an address, and nothing in between. */
function unclearServers(mcpServers: unknown): Problem[] {
  if (!isRecord(mcpServers)) return [];
  return Object.entries(mcpServers).flatMap(([name, server]): Problem[] => {
    if (!isRecord(server)) return [];
    const found = ["command", "url"].filter((key) => server[key] !== undefined);
    const isWeb = typeof server.url !== "string" || /^https?:\/\//.test(server.url);
    if (found.length === 1 && isWeb) return [];
    const message =
      found.length === 1
        ? "url is no http(s) address"
        : found.length === 0
          ? "neither command nor url is there"
          : "command and url exclude each other";
    const fix = "write command (and args, env) for a program, or url (and headers) for a server that runs elsewhere";
    return [{ severity: "error", rule: "mcp-server", path: ["mcpServers", name], message, fix }];
  });
}

function unknownStandIns(agents: unknown): Problem[] {
  if (!isRecord(agents)) return [];
  const names = Object.keys(agents);
  return Object.entries(agents).flatMap(([agent, settings]) => {
    const standIns = isRecord(settings) && Array.isArray(settings.fallbackAgents) ? settings.fallbackAgents : [];
    return standIns.flatMap((name, i): Problem[] => {
      if (typeof name !== "string" || names.includes(name)) return [];
      const message = `no agent is called "${name}"${suggestion(name, names)}`;
      const fix = `use one of ${names.join(", ")}, or define it under agents`;
      return [{ severity: "error", rule: "unknown-agent", path: ["agents", agent, "fallbackAgents", i], message, fix }];
    });
  });
}

function impossibleReactions(reactions: unknown): Problem[] {
  if (!isRecord(reactions)) return [];
  return (Object.keys(usualReactions) as FailureCategory[]).flatMap((category): Problem[] => {
    const reaction = reactionNames.find((name) => name === reactions[category]);
    const problem = reaction && reactionProblem(category, reaction);
    return problem ? [{ severity: "error", rule: "impossible-reaction", path: ["reactions", category], ...problem }] : [];
  });
}

// Prefixes that mean a credential and nothing else; a plain password cannot be told from any other word.
const secretShapes =
  /\b(gh[pousr]_[A-Za-z0-9]{16}|github_pat_[A-Za-z0-9]{16}|sk-(ant-|proj-)?[A-Za-z0-9_-]{16}|AKIA[A-Z0-9]{12}|xox[abeprs]-[A-Za-z0-9]{8}|lin_api_[A-Za-z0-9]{8}|glpat-[A-Za-z0-9_-]{12}|AIza[A-Za-z0-9_-]{20}|npm_[A-Za-z0-9]{20}|eyJ[A-Za-z0-9_-]{12,}\.[A-Za-z0-9_-]{8})|-----BEGIN [A-Z ]*PRIVATE KEY/;

function secretsIn(value: unknown, path: (string | number)[]): Problem[] {
  if (typeof value === "string") {
    if (!secretShapes.test(value)) return [];
    const name = path.at(-2) === "env" || path.at(-2) === "headers" ? String(path.at(-1)) : "NAME";
    return [
      {
        severity: "error",
        rule: "literal-secret",
        path,
        message: "this looks like a secret, and the configuration is no place for one",
        fix: `write ${name}: "\${${name}}" under env, set ${name} in the environment of the daemon, and replace the secret where it was issued`,
      },
    ];
  }
  if (Array.isArray(value)) return value.flatMap((item, i) => secretsIn(item, [...path, i]));
  if (isRecord(value)) return Object.entries(value).flatMap(([key, item]) => secretsIn(item, [...path, key]));
  return [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
