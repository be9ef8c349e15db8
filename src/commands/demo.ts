import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import type { Context } from "../app.ts";
import { type ExitCode, UserError } from "../domain/errors.ts";
import type { PlanStatus } from "../domain/plan.ts";
import { createRepository, historyGraph } from "../git/create.ts";
import { openRepo } from "../git/git.ts";
import { bundledAssets, programFile } from "../inputs/assets.ts";
import { findProgram } from "../lib/find-program.ts";
import { type JournalEntry, readJournal } from "../state/journal.ts";
import { journalFile } from "../state/layout.ts";
import { readParks } from "../state/parks.ts";
import { readPlan } from "../state/plans.ts";
import { demoFiles, demoTickets } from "./demo-project.ts";

const planId = "demo";

type AgentName = "scripted" | "claude" | "codex" | "pi" | "gemini" | "copilot" | "opencode";

/** What each agent of the demo is in the configuration. */
const agents: Record<AgentName, () => { command: string; defaultArgs: string[] }> = {
  scripted: () => ({ command: process.execPath, defaultArgs: [programFile("commands/demo-agent")] }),
  claude: () => ({ command: "claude", defaultArgs: ["--dangerously-skip-permissions"] }),
  codex: () => ({ command: "codex", defaultArgs: [] }),
  pi: () => ({ command: "pi", defaultArgs: [] }),
  gemini: () => ({ command: "gemini", defaultArgs: [] }),
  copilot: () => ({ command: "copilot", defaultArgs: [] }),
  opencode: () => ({ command: "opencode", defaultArgs: [] }),
};

/**
 * Runs the main job on a throw-away repository: four tickets, the real daemon, worktrees, checks, review, integration.
 * Exits 0 when everything is merged, 7 when a ticket needs a person.
 */
export async function run(context: Context, _args: string[], options: { agent?: AgentName; dir?: string }): Promise<ExitCode> {
  const name = options.agent ?? "scripted";
  const agent = agents[name]();
  if (name !== "scripted" && !findProgram(agent.command, context.env)) {
    throw new UserError(`${agent.command} is not on PATH.`, {
      hint: `install it, or run "orchestrator demo" without --agent: that needs no account`,
      exit: "notFound",
    });
  }
  if (options.dir !== undefined && existsSync(options.dir) && readdirSync(options.dir).length > 0) {
    throw new UserError(`${options.dir} is not empty.`, { hint: "name a folder that does not exist yet", exit: "unsafe" });
  }
  const dir =
    options.dir === undefined ? realpathSync(mkdtempSync(join(tmpdir(), "orchestrator-demo-"))) : resolve(context.cwd, options.dir);
  const paths = { home: join(dir, "home"), repo: join(dir, "words"), worktrees: join(dir, "worktrees") };
  writeFiles(paths.repo, demoFiles);
  await createRepository(paths.repo, "A small library about words", { name: "demo", email: "demo@localhost" });
  makeHome(paths, name, agent);
  context.say(
    `A repository with a plan of ${demoTickets.length} tickets: ${dir}\nThe daemon works it with ${name === "scripted" ? "a scripted agent" : name}; every line is an event of its journal.\n`,
  );
  const status = await work(context, paths.home);
  const history = await historyGraph(await openRepo(paths.repo), "refs/heads/orchestrator/main").catch(() => "nothing yet");
  context.stdout.write(
    `\n${status === "complete" ? "All four tickets are merged into orchestrator/main:" : `The plan is ${status}. On orchestrator/main is:`}\n\n${history}\n`,
  );
  // A checkout that was never installed has no `orchestrator` on PATH.
  const program = findProgram("orchestrator", context.env)
    ? "orchestrator"
    : `node ${join(bundledAssets().root, "bin", "orchestrator.js")}`;
  const command = `ORCHESTRATOR_HOME=${paths.home} ${program}`;
  context.stdout.write(`
Your branch main is untouched. Look around:
  ${command} status
  ${command} logs ${planId} GREET-2
  git -C ${paths.repo} diff main orchestrator/main
Bring the work to main:
  ${command} land --repo ${paths.repo}
`);
  return status === "complete" ? "ok" : "needsAttention";
}

function makeHome(
  paths: { home: string; repo: string; worktrees: string },
  name: string,
  agent: { command: string; defaultArgs: string[] },
): void {
  mkdirSync(paths.home, { recursive: true, mode: 0o700 });
  const config = { defaultAgent: name, agents: { [name]: agent }, maxConcurrency: 2, worktreeRoot: paths.worktrees };
  writeFiles(paths.home, { "config.yaml": stringify(config) });
  const createdAt = new Date().toISOString();
  const plan = {
    schema: 1,
    id: planId,
    name: "Words",
    createdAt,
    createdBy: "orchestrator demo",
    repo: paths.repo,
    workflow: "local",
    status: "active",
    // The very Node that runs this: a demo must not fail for want of another one.
    checks: { test: [process.execPath, "--test"] },
    tickets: demoTickets.map(({ ticketId, blockedBy }, i) => ({ ticketId, order: i + 1, blockedBy })),
  };
  const tickets = demoTickets.map(({ ticketId, title, description, acceptanceCriteria }) => ({
    schema: 1,
    planId,
    ticketId,
    title,
    description,
    acceptanceCriteria,
    status: "queued",
  }));
  writeFiles(join(paths.home, "state", "plans", planId), {
    "plan.json": JSON.stringify(plan, null, 2),
    ...Object.fromEntries(tickets.map((ticket) => [`tickets/${ticket.ticketId}.json`, JSON.stringify(ticket, null, 2)])),
  });
}

function writeFiles(dir: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, path), text, { mode: 0o600 });
  }
}

/** Runs a daemon until the plan has ended, printing its journal, and returns the plan's status. */
async function work(context: Context, home: string): Promise<PlanStatus> {
  const stateDir = join(home, "state");
  const daemon = spawn(process.execPath, [programFile("cli"), "daemon"], {
    env: { ...context.env, ORCHESTRATOR_HOME: home },
    stdio: ["ignore", "ignore", "pipe"],
    detached: true,
  });
  let said = "";
  daemon.stderr.on("data", (chunk) => {
    said = (said + String(chunk)).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => daemon.once("exit", () => resolve()));
  let over = false;
  void ended.then(() => {
    over = true;
  });
  // The first asks it to finish what runs, the second to stop it; the demo's runs are not worth waiting for.
  const stop = () => {
    daemon.kill("SIGTERM");
    daemon.kill("SIGTERM");
  };
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  try {
    let seq = 0;
    let told: string | undefined;
    for (;;) {
      for (const entry of readJournal(journalFile(stateDir, planId), seq + 1)) {
        seq = entry.seq;
        const line = describe(entry);
        if (line) context.stdout.write(`${line}\n`);
      }
      const status = readPlan(stateDir, planId)?.status ?? "active";
      if (status === "complete" || status === "blocked") return status;
      const park = [...readParks(stateDir).values()][0];
      if (park?.category === "auth" || park?.category === "incompatible") {
        throw new UserError(`${park.agent} cannot work: ${park.reason}`, {
          hint: "log in or update it, then run the demo again; without --agent it needs no account",
          exit: "needsAttention",
        });
      }
      if (park && park.at !== told) context.say(`${park.agent} waits for its provider until ${park.until}: ${park.reason}`);
      told = park?.at;
      if (over) throw new UserError("The daemon ended before the plan did.", { hint: said.trim().split("\n").at(-1) ?? "see the log" });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } finally {
    daemon.kill("SIGTERM");
    await ended;
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}

/** One line for people; undefined for entries that would only be noise. */
function describe(entry: JournalEntry): string | undefined {
  const time = new Date(entry.at).toTimeString().slice(0, 8);
  const ticket = String(entry.ticketId).padEnd(8);
  const phase = String(entry.phase ?? "");
  const reason = typeof entry.reason === "string" ? `: ${entry.reason}` : "";
  switch (entry.type) {
    case "dispatched":
      return `${time}  ${ticket} ▸ ${phase}`;
    case "passed":
      return entry.status === "complete" ? `${time}  ${ticket} ✔ complete` : undefined;
    case "failed":
    case "lost":
    case "faulted":
      return `${time}  ${ticket} ✖ ${entry.type}${reason} → ${phase || entry.status}`;
    default:
      return undefined;
  }
}
