import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { constants } from "node:os";
import { adapterFor } from "../agents/adapters.ts";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Plan } from "../domain/plan.ts";
import { Session } from "../domain/session.ts";
import { type Resolved, resolveTicket, type Ticket } from "../domain/ticket.ts";
import { readSpec } from "../executors/run-files.ts";
import { detectBase, startPoint } from "../git/base.ts";
import { commitOf, openRepo } from "../git/git.ts";
import { ensureWorktree } from "../git/worktree.ts";
import { resolveEnvReferences } from "../inputs/config.ts";
import { findProgram } from "../lib/find-program.ts";
import { lockDir, runDir } from "../state/layout.ts";
import { type SessionRow, sessionRows } from "../views/sessions.ts";
import type { Ending } from "./command.ts";
import { readTicket, readWorld, takeTicket, unknown } from "./world.ts";

/** Opens a conversation in its CLI's own interface, in the ticket's worktree, and ends with the CLI's exit code. */
export async function run(context: Context, args: string[], options: { phase?: string }): Promise<Ending> {
  const config = await context.config();
  const { world, index } = readWorld(config);
  index.close();
  const { planId, ticketId, rest } = takeTicket(world, args);
  const { view, ticket } = readTicket(world, { planId, ticketId });
  const row = chooseSession(ticket, rest[0], options.phase);
  if (ticket.activity.state === "running") {
    throw new UserError(`The daemon's run ${ticket.activity.runId} works in this ticket's worktree now.`, {
      hint: `orchestrator attach ${planId} ${ticketId} stops it and takes it over`,
      exit: "conflict",
    });
  }
  return openSession(context, config, { ticket, plan: view.plan, row });
}

/** Which conversation of a ticket is to be opened in a terminal. */
export interface SessionToOpen {
  ticket: Ticket;
  plan: Plan;
  row: SessionRow;
}

/** Opens the conversation where it was held and gives the exit code of the agent's program. Throws what programOf() throws. */
export async function openSession(context: Context, config: Config, { ticket, plan, row }: SessionToOpen): Promise<number> {
  const resolved = resolveTicket(ticket, plan, config.worktreeRoot);
  const { program, args, cwd, env } = programOf(context, config, { ticket, plan, row });
  if (!statSync(resolved.worktree, { throwIfNoEntry: false })?.isDirectory())
    await makeWorktreeAgain(context, config, resolved, row, ticket);
  return openInTerminal(program, args, { cwd, env });
}

/** What opens the conversation. Throws a UserError when there is no agent or program for it. */
export function programOf(context: Context, config: Config, { ticket, plan, row }: SessionToOpen) {
  const { worktree } = resolveTicket(ticket, plan, config.worktreeRoot);
  const { argv, cwd, env } = commandOf(context, config, row, { cwd: worktree, agent: workerOf(config, ticket, row) });
  const program = findProgram(argv[0] ?? "", context.env);
  if (program === undefined) {
    throw new UserError(`${argv[0]} is not a program on PATH.`, { hint: `correct agents in ${config.file}`, exit: "notFound" });
  }
  return { program, args: argv.slice(1), cwd, env };
}

/** The conversation that a person means: the named one, else the latest. Throws a UserError when the ticket has none. */
export function chooseSession(ticket: Ticket, sessionId: string | undefined, phase: string | undefined): SessionRow {
  const rows = sessionRows(ticket, phase);
  const where = `Ticket ${ticket.planId}/${ticket.ticketId}`;
  const seeSessions = `orchestrator sessions ${ticket.planId} ${ticket.ticketId} lists them`;
  if (sessionId === undefined) {
    const latest = rows.at(-1);
    if (latest) return latest;
    throw new UserError(`${where} has no session${phase === undefined ? "" : ` in phase "${phase}"`}.`, {
      hint: seeSessions,
      exit: "notFound",
    });
  }
  if (!Session.shape.id.safeParse(sessionId).success) {
    throw new UserError(`${JSON.stringify(sessionId)} is not a session id.`, {
      hint: "an id is letters, digits, dashes and underscores",
      exit: "usage",
    });
  }
  const found = rows.findLast((row) => row.session.id === sessionId);
  if (found) return found;
  throw unknown(
    `${where} has no session "${sessionId}".`,
    sessionId,
    rows.map((row) => row.session.id),
    seeSessions,
  );
}

function commandOf(
  context: Context,
  config: Config,
  { session }: SessionRow,
  { cwd, agent: worker }: { cwd: string; agent: string | undefined },
): { argv: string[]; cwd: string; env: Record<string, string> } {
  // Agents of one provider may keep their conversations in folders of their own.
  const agents = Object.entries(config.agents).toSorted(([a], [b]) => Number(b === worker) - Number(a === worker));
  for (const [name, agent] of agents) {
    const adapter = adapterFor(agent.command, name);
    if (adapter.provider !== session.provider) continue;
    const found = adapter.interactive(session, { command: agent.command, cwd });
    // A folder of conversations that the configuration names is where the run had its own.
    if (found) return { ...found, env: resolveEnvReferences(settled(agent.env, context.env), context.env) };
    throw new UserError(`${session.provider} cannot open the conversation ${session.id} again.`, { exit: "notFound" });
  }
  throw new UserError(`${config.file} defines no agent of ${session.provider}.`, {
    hint: `it defines ${Object.keys(config.agents).join(", ")}`,
    exit: "invalid",
  });
}

/** The agent that held a conversation; undefined when nothing tells any more. */
function workerOf(config: Config, ticket: Ticket, { session }: SessionRow): string | undefined {
  const { planId, ticketId, activity, currentSession, phaseHistory } = ticket;
  const run = phaseHistory.findLast((entry) => entry.runId !== undefined && entry.session?.id === session.id);
  const runId = activity.state === "running" && currentSession?.id === session.id ? activity.runId : run?.runId;
  try {
    return String(readSpec(runDir(config.home, { planId, ticketId, runId: runId ?? "" })).data.agent);
  } catch {
    return run?.agent;
  }
}

/** Without what refers to variables that this shell does not have: the daemon's keys may be none of the person's. */
export function settled(env: Record<string, string>, from: Context["env"]): Record<string, string> {
  const isSet = (value: string) => [...value.matchAll(/\$\{(\w+)\}/g)].every(([, name = ""]) => from[name] !== undefined);
  return Object.fromEntries(Object.entries(env).filter(([, value]) => isSet(value)));
}

/** A conversation is found again, and its tools work in the right place, only where it was held: cleanup may have removed that. */
async function makeWorktreeAgain(context: Context, config: Config, resolved: Resolved, row: SessionRow, ticket: Ticket): Promise<void> {
  const { worktree: path, branch, baseBranch } = resolved;
  if (resolved.repo === null)
    throw new UserError(`The worktree ${path} does not exist, and the ticket names no repository.`, { exit: "notFound" });
  const repo = await openRepo(resolved.repo);
  const head = ticket.phaseHistory.findLast(({ session }) => session?.id === row.session.id)?.head;
  const startSha = (head && (await commitOf(repo, head))) || (await startPoint(repo, await detectBase(repo, baseBranch ?? undefined)));
  await ensureWorktree({
    repo,
    lockDir: lockDir(config.home),
    path,
    branch,
    startSha,
    recovery: { planId: ticket.planId, ticketId: ticket.ticketId },
  });
  context.say(`the worktree was removed after the work; it stands again at ${path}, as it was after ${row.phase}`);
}

/** The terminal belongs to the program until it ends: Ctrl-C is its own business. */
export function openInTerminal(program: string, args: string[], where: { cwd: string; env: Record<string, string> }): Promise<number> {
  const ignore = () => undefined;
  process.on("SIGINT", ignore);
  process.on("SIGQUIT", ignore);
  const child = spawn(program, args, { cwd: where.cwd, env: { ...process.env, ...where.env }, stdio: "inherit" });
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  process.on("SIGTERM", pass);
  process.on("SIGHUP", pass);
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  }).finally(() => {
    process.off("SIGINT", ignore);
    process.off("SIGQUIT", ignore);
    process.off("SIGTERM", pass);
    process.off("SIGHUP", pass);
  });
}
