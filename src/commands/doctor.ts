import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { adapterFor } from "../agents/adapters.ts";
import { capabilitiesOf, incompatibility } from "../agents/cli-facts.ts";
import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { probeAgent } from "../executors/agent-probe.ts";
import { findIsolation } from "../executors/isolation.ts";
import { isAlive } from "../executors/process-identity.ts";
import { readClaim, readExit } from "../executors/run-files.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import { spaceProblem } from "../lib/disk-space.ts";
import { findProgram } from "../lib/find-program.ts";
import { readDaemonRecord } from "../state/daemon-record.ts";
import { runDir } from "../state/layout.ts";
import type { Ending } from "./command.ts";
import { columns, counted, oneLine, printData, printLine } from "./print.ts";
import { type ReadWorld, readWorld } from "./world.ts";

/** What was looked at, and how it stands. `fail`: work cannot go on as it should until it is mended. */
interface Check {
  name: string;
  state: "ok" | "warn" | "fail";
  detail: string;
  fix?: string;
}

const neededNode = 24;
/** The first with merge-tree --write-tree. */
const neededGit = [2, 38] as const;
const versionTimeoutMs = 10_000;

/** Looks at everything that the work needs on this machine. */
export async function run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
  const checks: Check[] = [nodeCheck(), await gitCheck(context)];
  const config = await configOf(context, checks);
  if (config) {
    const snapshot = readWorld(config);
    snapshot.index.close();
    checks.push(
      homeCheck(config),
      diskCheck(config),
      ...(await Promise.all(Object.keys(config.agents).map((name) => agentCheck(context, config, name)))),
      await ghCheck(context, config),
      ...Object.keys(config.mcpServers).map((name) => mcpCheck(context, config, name)),
      await processesCheck(config),
      daemonCheck(config),
      ...filesCheck(snapshot),
      ...runsCheck(config, snapshot),
    );
  }
  if (options.json) printData(context, { checks });
  else print(context, checks);
  return checks.some((check) => check.state === "fail") ? "failed" : "ok";
}

function print(context: Context, checks: readonly Check[]): void {
  const styles = { ok: "green", warn: "yellow", fail: "red" } as const;
  const lines = columns(checks.map(({ name, state, detail }) => [context.style(styles[state], state), name, oneLine(detail)]));
  checks.forEach(({ fix }, i) => {
    printLine(context, lines[i]);
    if (fix !== undefined) printLine(context, `      fix: ${fix}`);
  });
}

async function configOf(context: Context, checks: Check[]): Promise<Config | undefined> {
  try {
    const config = await context.config();
    checks.push({ name: "configuration", state: "ok", detail: config.file });
    return config;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    checks.push({ name: "configuration", state: "fail", detail: error.message, ...(error.hint ? { fix: error.hint } : {}) });
    return undefined;
  }
}

function nodeCheck(): Check {
  const ok = Number.parseInt(process.versions.node, 10) >= neededNode;
  return {
    name: "node",
    state: ok ? "ok" : "fail",
    detail: process.version,
    ...(ok ? {} : { fix: `install Node ${neededNode} or newer` }),
  };
}

async function gitCheck(context: Context): Promise<Check> {
  const fix = `install git ${neededGit.join(".")} or newer`;
  const path = findProgram("git", context.env);
  if (path === undefined) return { name: "git", state: "fail", detail: "not on PATH", fix };
  const said = await versionOf(path, context);
  const [major = 0, minor = 0] =
    /(\d+)\.(\d+)/
      .exec(said ?? "")
      ?.slice(1)
      .map(Number) ?? [];
  const ok = major > neededGit[0] || (major === neededGit[0] && minor >= neededGit[1]);
  return { name: "git", state: ok ? "ok" : "fail", detail: `${said ?? "does not answer --version"} (${path})`, ...(ok ? {} : { fix }) };
}

async function agentCheck(context: Context, config: Config, name: string): Promise<Check> {
  const agent = config.agents[name];
  const { command = "", defaultArgs = [] } = agent ?? {};
  const env: Record<string, string> = agent?.env ?? {};
  const label = `agent ${name}`;
  // Only what is used has to work.
  const bad = name === config.defaultAgent ? "fail" : "warn";
  const adapter = adapterFor(command, name);
  const { probing, provider } = adapter;
  const path = env.PATH === undefined ? context.env : resolveEnvReferences({ PATH: env.PATH }, context.env);
  const found = await probeAgent({ adapter, command, defaultArgs, env: path, cwd: context.cwd, home: config.home });
  if (found === undefined) {
    const install = probing === null ? "install it" : `install it (${probing.install})`;
    return {
      name: label,
      state: bad,
      detail: `${command} is not on PATH`,
      fix: `${install}, or correct or remove agents.${name} in ${config.file}`,
    };
  }
  const { program, cli } = found;
  const incompatible = probing && incompatibility(provider, probing, cli, defaultArgs);
  if (incompatible) return { name: label, state: bad, detail: `${incompatible.message} (${program})`, fix: incompatible.hint };
  const [problem] = adapter.configProblems(defaultArgs, cli);
  if (problem) return { name: label, state: bad, detail: `agents.${name}.defaultArgs: ${problem.message}`, fix: problem.hint };
  const said = cli?.version ?? (await versionOf(program, context));
  if (said === undefined)
    return {
      name: label,
      state: bad,
      detail: `${program} does not answer --version`,
      fix: `run ${program} --version and see what it says`,
    };
  const able = probing && capabilitiesOf(adapter.capabilities, probing, cli);
  const lacks = able
    ? Object.entries(adapter.capabilities).flatMap(([what, has]) => (has === true && !able[what as keyof typeof able] ? [what] : []))
    : [];
  const without = lacks.length === 0 ? "" : `; it has no ${lacks.join(", ")}: settings of that kind have no effect`;
  return { name: label, state: "ok", detail: `${said} (${program})${name === config.defaultAgent ? ", the default" : ""}${without}` };
}

async function ghCheck(context: Context, config: Config): Promise<Check> {
  const path = findProgram(config.ghCommand, context.env);
  if (path !== undefined) return { name: "gh", state: "ok", detail: `${(await versionOf(path, context)) ?? "no version"} (${path})` };
  return {
    name: "gh",
    state: "warn",
    detail: `${config.ghCommand} is not on PATH; only issues and pull requests of GitHub need it`,
    fix: "install the GitHub CLI, or set ghCommand",
  };
}

function mcpCheck(context: Context, config: Config, name: string): Check {
  const { command = "", url, env = {}, headers = {} } = config.mcpServers[name] ?? {};
  try {
    resolveEnvReferences({ ...env, ...headers }, context.env);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { name: `mcp ${name}`, state: "warn", detail: error.message, ...(error.hint ? { fix: error.hint } : {}) };
  }
  if (url !== undefined) return { name: `mcp ${name}`, state: "ok", detail: url };
  const path = findProgram(command, context.env);
  if (path !== undefined) return { name: `mcp ${name}`, state: "ok", detail: path };
  return {
    name: `mcp ${name}`,
    state: "warn",
    detail: `${command} is not on PATH`,
    fix: `install it, or correct mcpServers.${name} in ${config.file}`,
  };
}

function homeCheck({ home, file }: Config): Check {
  const open = [home, file].filter((path) => ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0);
  if (open.length === 0) return { name: "home", state: "ok", detail: home };
  return {
    name: "home",
    state: "warn",
    detail: `other users of this machine can read ${open.join(" and ")}`,
    fix: `chmod go-rwx ${open.join(" ")}`,
  };
}

function diskCheck({ stateDir, worktreeRoot, minFreeMiB }: Config): Check {
  const problem = spaceProblem([stateDir, worktreeRoot], minFreeMiB);
  if (problem === undefined) return { name: "disk", state: "ok", detail: `more than ${minFreeMiB} MiB are free for state and worktrees` };
  return { name: "disk", state: "fail", detail: problem, fix: "make room: nothing new starts until then" };
}

/** What keeps a run from leaving processes behind. */
async function processesCheck({ isolateProcesses }: Config): Promise<Check> {
  const name = "processes";
  try {
    const { kind, reason } = await findIsolation(isolateProcesses);
    if (kind === "namespace")
      return { name, state: "ok", detail: "each run has a pid namespace of its own: nothing of it can stay behind" };
    const because = reason === null ? "" : ` (${reason})`;
    if (kind === "subreaper") return { name, state: "ok", detail: `orphans of a run are adopted and end with it${because}` };
    const detail = `what clears its environment, leaves its session and loses its parent outlives its run${because}`;
    return process.platform === "linux" ? { name, state: "warn", detail, fix: "install perl" } : { name, state: "ok", detail };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { name, state: "fail", detail: error.message, ...(error.hint ? { fix: error.hint } : {}) };
  }
}

function daemonCheck({ home }: Config): Check {
  const daemon = runningDaemon(home);
  if (daemon)
    return { name: "daemon", state: "ok", detail: `running (pid ${daemon.pid}, version ${daemon.version}, since ${daemon.since})` };
  let left = false;
  try {
    left = readDaemonRecord(home) !== undefined;
  } catch {
    left = true;
  }
  const detail = left ? "not running; the last one was killed, the next one takes up what it left" : "not running";
  return { name: "daemon", state: left ? "warn" : "ok", detail, ...(left ? { fix: "orchestrator daemon" } : {}) };
}

function filesCheck({ index, world, problems }: ReadWorld): Check[] {
  const broken: Check[] = [...problems].flatMap(([planId, each]) =>
    each.map((detail) => ({
      name: `plan ${planId}`,
      state: "fail" as const,
      detail,
      fix: "mend the file: nothing of the plan completes until then",
    })),
  );
  for (const view of world.plans.values()) {
    for (const [ticketId, detail] of view.broken) {
      broken.push({
        name: `ticket ${view.plan.id}/${ticketId}`,
        state: "fail",
        detail,
        fix: "mend the file: the ticket is held until then",
      });
    }
  }
  return broken.length > 0 ? broken : [{ name: "files", state: "ok", detail: `${counted(index.plans.size, "plan")} can be read` }];
}

/** Tickets whose run is gone while no daemon is there to notice. */
function runsCheck(config: Config, { world }: ReadWorld): Check[] {
  const checks: Check[] = [];
  for (const view of world.plans.values()) {
    for (const ticket of view.tickets.values()) {
      if (ticket.activity.state !== "running") continue;
      const { ticketId, planId } = ticket;
      const state = runState(runDir(config.home, { planId, ticketId, runId: ticket.activity.runId }));
      if (state === "alive" || runningDaemon(config.home)) continue;
      checks.push({
        name: `run ${planId}/${ticketId}`,
        state: "warn",
        detail: `${ticket.activity.runId} is ${state}, and no daemon has noticed`,
        fix: "orchestrator daemon takes it up",
      });
    }
  }
  return checks;
}

function runState(dir: string): "alive" | "over" | "gone" | "unreadable" {
  try {
    if (readExit(dir)) return "over";
    const claim = readClaim(dir);
    return claim && isAlive(claim) ? "alive" : "gone";
  } catch {
    return "unreadable";
  }
}

/** The first line of what a program says to --version; undefined when it fails or takes too long. */
function versionOf(path: string, { env }: Context): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(path, ["--version"], {
      env: env as NodeJS.ProcessEnv,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: versionTimeoutMs,
      killSignal: "SIGKILL",
    });
    const said = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        if (said[stream].length < 10_000) said[stream] += text;
      });
    }
    child.on("error", () => resolve(undefined));
    child.on("close", (code) => {
      // Some say it on stderr; others warn there.
      const text = said.stdout.trim() || said.stderr.trim();
      resolve(code === 0 ? oneLine(text.split("\n")[0] ?? "", 100) : undefined);
    });
  });
}
