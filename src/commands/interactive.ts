import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { adapterFor } from "../agents/adapters.ts";
import type { Context } from "../app.ts";
import type { AgentConfig, Config } from "../domain/config.ts";
import { suggestion, UserError } from "../domain/errors.ts";
import { programFile } from "../inputs/assets.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import { findProgram } from "../lib/find-program.ts";
import { claudeLaunch, codexLaunch, type Launch, plainLaunch } from "../planner/launchers.ts";
import { connectMs, startMcpBridge } from "../planner/mcp-bridge.ts";
import { loadPi, type PiSetup, runPiInTerminal } from "../planner/pi-host.ts";
import { repoTools } from "../planner/repo-tools.ts";
import { openSession, type PlannerSession } from "../planner/session.ts";
import { runTool } from "../planner/tools.ts";
import type { Ending } from "./command.ts";
import { userOf } from "./intents.ts";
import { openInTerminal, settled } from "./resume-session.ts";

interface Options {
  repo?: string;
  workflow?: string;
  worktreeRoot?: string;
  launcher?: string;
  role?: string;
  continue?: boolean;
}

/** Opens a planning session in this terminal: in PI, which runs within this process, or in another agent's own interface. */
export async function run(context: Context, _args: string[], options: Options): Promise<Ending> {
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new UserError("A planning session needs a terminal, and this is none.", {
      hint: "without one: orchestrator plan --prompt '…', or orchestrator plan --from <source>",
      exit: "usage",
    });
  }
  const config = await context.config();
  const launcher = launcherOf(config, options.launcher ?? "pi");
  // Most of the time until the first prompt goes here, so nothing else waits for it.
  const pi = launcher.provider === "pi" ? loadPi(piFolder(config)) : undefined;
  pi?.catch(() => {});
  const session = openSession(
    { ...options, isInteractive: true, isApproved: false, listsSkills: launcher.provider !== "pi" && launcher.provider !== "claude" },
    { config, env: context.env, cwd: context.cwd, by: userOf(context) },
  );
  process.on("exit", session.dispose);
  Object.assign(process.env, session.env);
  if (!pi) return openLauncher(context, config, launcher, session, options.continue ?? false);
  Object.assign(process.env, agentEnv(context, launcher.agent));
  const setup = piSetup(context, config, launcher, session);
  const screen = { banner: bannerOf(session, context), commands: commandsOf(session) };
  return runPiInTerminal(await pi, { ...setup, isContinued: options.continue ?? false }, screen);
}

/** What PI plans with, in a new conversation. */
export function piSetup(
  context: Context,
  config: Config,
  launcher: Launcher,
  { bench, prompt, tools, skills, readable }: PlannerSession,
  patienceMs = connectMs.interactive,
): PiSetup {
  return {
    bench,
    prompt,
    tools: [...tools, ...repoTools(readable)],
    skills: skills.map(({ file }) => file),
    readable,
    agentDir: piFolder(config),
    model: modelOf(context, launcher),
    isContinued: false,
    openBridge: (onChange) =>
      startMcpBridge({
        servers: config.mcpServers,
        env: context.env,
        cwd: bench.cwd,
        version: context.version,
        connectMs: patienceMs,
        onChange,
      }),
  };
}

/** Who plans. */
export interface Launcher {
  name: string;
  provider: string;
  agent: Partial<AgentConfig> & { command: string };
}

/** The agent of the configuration with this name, else one of those that need no configuration. UserError when there is none. */
export function launcherOf(config: Config, name: string): Launcher {
  const configured = config.agents[name];
  if (configured) return { name, provider: adapterFor(configured.command, name).provider, agent: configured };
  if (["pi", "claude", "codex"].includes(name)) return { name, provider: name, agent: { command: name } };
  const known = [...new Set(["pi", "claude", "codex", ...Object.keys(config.agents)])];
  throw new UserError(`There is no launcher "${name}"${suggestion(name, known)}.`, {
    hint: `known: ${known.join(", ")}; others are defined under agents in ${config.file}`,
    exit: "notFound",
  });
}

/** Where PI has its credentials, models, settings and conversations for planning: none of them are the user's own PI's. */
export function piFolder({ home }: Config): string {
  return join(home, "pi");
}

/** The variables that the configuration gives an agent, without those that refer to what this shell does not have. */
export function agentEnv(context: Context, agent: Launcher["agent"]): Record<string, string> {
  return resolveEnvReferences(settled(agent.env ?? {}, context.env), context.env);
}

/** The model as PI wants it named. Others are for PI's own program, which looks for what is meant. */
function modelOf(context: Context, { name, agent: { model } }: Launcher): string | undefined {
  if (model === undefined || /^[^/]+\/.+$/.test(model)) return model;
  context.say(`warning: PI plans with its own choice of model; write agents.${name}.model as provider/${model} to have this one`);
  return undefined;
}

async function openLauncher(
  context: Context,
  config: Config,
  launcher: Launcher,
  session: PlannerSession,
  isContinued: boolean,
): Promise<Ending> {
  const program = findProgram(launcher.agent.command, context.env);
  if (program === undefined) {
    throw new UserError(`${launcher.agent.command} is not a program on PATH.`, {
      hint: `install it, or correct agents in ${config.file}; orchestrator doctor says more`,
      exit: "notFound",
    });
  }
  const dir = mkdtempSync(join(tmpdir(), "orchestrator-plan-"));
  const remove = () => rmSync(dir, { recursive: true, force: true });
  process.on("exit", remove);
  try {
    const launch = launchOf(context, config, launcher, session, { isContinued, dir });
    for (const [path, text] of Object.entries(launch.files)) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode: 0o600 });
    }
    for (const [from, to] of Object.entries(launch.copies)) cpSync(from, to, { recursive: true });
    for (const note of launch.notes) context.say(`warning: ${note}`);
    context.say(`planning with ${launcher.name} in ${placeOf(session)}`);
    return await openInTerminal(program, launch.argv.slice(1), {
      cwd: session.bench.cwd,
      env: { ...session.env, ...agentEnv(context, launcher.agent), ...launch.env },
    });
  } finally {
    remove();
    process.off("exit", remove);
  }
}

const launches: Record<string, typeof plainLaunch> = { claude: claudeLaunch, codex: codexLaunch };

function launchOf(
  context: Context,
  config: Config,
  { provider, agent }: Launcher,
  session: PlannerSession,
  more: { isContinued: boolean; dir: string },
): Launch {
  const { command, defaultArgs = [], model } = agent;
  const own = Object.keys(context.env).filter((name) => /^(ORCHESTRATOR_|XDG_|GIT_|GH_|GITHUB_|LINEAR_)/.test(name));
  return (launches[provider] ?? plainLaunch)({
    command,
    defaultArgs,
    model,
    prompt: session.prompt,
    skills: session.skills,
    readOnlyTools: session.tools.filter(({ readOnly }) => readOnly).map(({ name }) => name),
    server: {
      command: process.execPath,
      args: [programFile("cli"), "mcp", "--client-approves", ...(context.configFile === undefined ? [] : ["--config", config.file])],
      env: [...new Set([...own, ...Object.keys(session.env), "HOME", "PATH", "USER"])],
    },
    mcpServers: config.mcpServers,
    from: context.env,
    ...more,
  });
}

/** Where a session plans, and by what. */
function placeOf({ bench, env, repositories }: PlannerSession): string {
  const { ORCHESTRATOR_WORKFLOW: workflow, ORCHESTRATOR_WORKTREE_ROOT: worktreeRoot } = env;
  const [only, ...more] = repositories;
  const where = only !== undefined && more.length === 0 ? only : `${bench.cwd} (${repositories.length} repositories)`;
  return `${where}${workflow === undefined ? "" : ` · workflow ${workflow}`}${worktreeRoot === undefined ? "" : ` · worktrees in ${worktreeRoot}`}`;
}

function bannerOf(session: PlannerSession, { version }: Context): string[] {
  return [
    `orchestrator ${version} · planner`,
    placeOf(session),
    "/plans lists plans · /status says what is going on · /mcp shows servers · /login for a provider · / for all · Ctrl-C twice ends",
  ];
}

function commandsOf({ bench, tools }: PlannerSession) {
  const answerOf = (name: string) => async () => {
    const tool = tools.find((each) => each.name === name);
    return tool === undefined ? "" : (await runTool(tool, {}, bench)).text;
  };
  return {
    plans: { summary: "list plans", text: answerOf("list_plans") },
    status: { summary: "what is going on: plans and tickets", text: answerOf("status") },
  };
}
