import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Ticket } from "../src/domain/ticket.ts";

export const root = dirname(import.meta.dirname);
export const program = join(root, "bin", "orchestrator.js");

/** A home of its own for one measurement. */
export interface BenchHome {
  dir: string;
  stateDir: string;
  env: Record<string, string>;
  /** Adds an active plan of queued tickets; `blockedBy` gives the blockers of the ticket at this position. */
  addPlan(planId: string, options: PlanOptions): void;
  ticket(planId: string, ticketId: string): Ticket;
  /** Waits until the plan, or one ticket of it, is complete. */
  complete(planId: string, ticketId?: string): Promise<void>;
  /** Starts a daemon and waits until it has taken up what it found. */
  startDaemon(args?: string[], env?: Record<string, string>, under?: string[]): Promise<Daemon>;
  /** The JSON lines of the daemon's log. */
  log(): { time: string; msg: string; ms?: number }[];
}

export interface PlanOptions {
  workflow: string;
  tickets: number;
  blockedBy?: (position: number) => string[];
  plan?: Record<string, unknown>;
  ticket?: (position: number) => Record<string, unknown>;
}

export interface Daemon {
  pid: number;
  /** Milliseconds from its spawn until it was ready. */
  readyMs: number;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Ids of tickets by position, from 0. */
export function ticketId(position: number): string {
  return `T-${String(position + 1).padStart(5, "0")}`;
}

/** Makes a home, hands it to `measure` and removes it with everything that was left running in it. */
export async function withHome<T>(config: Record<string, unknown>, measure: (home: BenchHome) => Promise<T>): Promise<T> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "orch-bench-")));
  const daemons = new Set<ChildProcess>();
  try {
    return await measure(makeHome(dir, config, daemons));
  } finally {
    for (const daemon of daemons) {
      const exit = ended(daemon);
      daemon.kill("SIGKILL");
      await exit;
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

function makeHome(dir: string, config: Record<string, unknown>, daemons: Set<ChildProcess>): BenchHome {
  const home = join(dir, "home");
  const repo = join(dir, "repo");
  const stateDir = join(home, "state");
  for (const path of [home, repo, join(dir, "user"), join(home, "scripts"), join(home, "workflows")]) mkdirSync(path, { recursive: true });
  const settings = { defaultAgent: "none", agents: { none: { command: "false" } }, ...config };
  writeFileSync(join(home, "config.yaml"), JSON.stringify(settings), { mode: 0o600 });
  writeFileSync(join(home, "scripts", "noop.sh"), "#!/bin/bash\nexit 0\n", { mode: 0o700 });
  const env = { PATH: process.env.PATH ?? "", HOME: join(dir, "user"), ORCHESTRATOR_HOME: home, NO_COLOR: "1" };
  const logFile = join(home, "logs", "orchestrator.log");
  const planPath = (planId: string) => join(stateDir, "plans", planId, "plan.json");
  const ticketPath = (planId: string, id: string) => join(stateDir, "plans", planId, "tickets", `${id}.json`);

  return {
    dir,
    stateDir,
    env,
    addPlan(planId, { workflow, tickets, blockedBy, plan, ticket }) {
      const folder = join(stateDir, "plans", planId);
      mkdirSync(join(folder, "tickets"), { recursive: true });
      const ids = Array.from({ length: tickets }, (_, position) => ticketId(position));
      for (const [position, id] of ids.entries()) {
        const file = { ...plannedTicket(planId, id), ...ticket?.(position) };
        writeFileSync(join(folder, "tickets", `${id}.json`), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
      }
      const file = {
        id: planId,
        name: `Plan ${planId}`,
        createdAt: "2026-01-01T00:00:00.000Z",
        createdBy: "bench",
        repo,
        workflow,
        agent: null,
        worktreeRoot: join(dir, "worktrees"),
        status: "active",
        tickets: ids.map((id, position) => ({ ticketId: id, order: position, blockedBy: blockedBy?.(position) ?? [] })),
        ...plan,
      };
      writeFileSync(join(folder, "plan.json"), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
    },
    ticket: (planId, id) => JSON.parse(readFileSync(ticketPath(planId, id), "utf8")) as Ticket,
    complete: (planId, id) => until(() => isComplete(id === undefined ? planPath(planId) : ticketPath(planId, id))),
    async startDaemon(args = [], more = {}, under = []) {
      const began = performance.now();
      const [command = "", ...rest] = [...under, process.execPath, program, "daemon", ...args];
      const child = spawn(command, rest, { env: { ...env, ...more }, stdio: ["ignore", "ignore", "pipe"] });
      daemons.add(child);
      let said = "";
      const ready = new Promise<void>((resolve, reject) => {
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          if (said.length < 100_000) said += text;
          if (/ works .* plans/.test(said)) resolve();
        });
        child.once("exit", (code) => reject(new Error(`the daemon ended with ${code}: ${said}`)));
      });
      ready.catch(() => undefined);
      await ready;
      const readyMs = performance.now() - began;
      // Not the child's when the child is a tracer.
      const { pid } = JSON.parse(readFileSync(join(home, "daemon.json"), "utf8"));
      return {
        pid,
        readyMs,
        async stop(signal = "SIGTERM") {
          const exit = ended(child);
          process.kill(pid, signal);
          await exit;
          daemons.delete(child);
        },
      };
    },
    log: () =>
      (existsSync(logFile) ? readFileSync(logFile, "utf8") : "")
        .split("\n")
        .filter((line) => line.endsWith("}"))
        .map((line) => JSON.parse(line)),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once("exit", resolve));
}

/** Writes a workflow of `count` script phases that do nothing. */
export function addNoopWorkflow({ dir }: BenchHome, name: string, count: number): void {
  const phases = Array.from({ length: count }, (_, i) => ({
    id: `p${i + 1}`,
    type: "script",
    command: "noop.sh",
    onSuccess: i + 1 === count ? "complete" : `p${i + 2}`,
  }));
  const workflow = { name, phases: [...phases, { id: "complete", type: "terminal" }] };
  writeFileSync(join(dir, "home", "workflows", `${name}.yaml`), JSON.stringify(workflow));
}

function isComplete(file: string): boolean {
  try {
    return JSON.parse(readFileSync(file, "utf8")).status === "complete";
  } catch (error) {
    // While it is being replaced, a file has no name for an instant.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** Waits until `done`, looking often; throws after `timeoutMs`. */
export async function until(done: () => boolean, timeoutMs = 300_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`nothing came of it in ${timeoutMs} ms`);
    await delay(20);
  }
}

/** What a planner writes: some paragraphs and a few criteria. */
function plannedTicket(planId: string, id: string): Record<string, unknown> {
  const paragraph = "The endpoint answers with the wrong status when the session has expired, and the client shows an empty page. ";
  return {
    planId,
    ticketId: id,
    title: `Answer 401 when the session of request ${id} has expired`,
    description: paragraph.repeat(8),
    acceptanceCriteria: ["An expired session answers 401.", "The client leads to the login page.", "A test covers both."],
    linearUrl: null,
    repo: null,
    workflow: null,
    branch: null,
    worktree: null,
    agent: null,
    priority: "P2",
    status: "queued",
  };
}

/** The fields of a ticket that has passed some phases and is now in its third. */
export function withHistory(): Record<string, unknown> {
  const entry = (phase: string, minute: number) => ({
    phase,
    status: "success",
    startedAt: `2026-01-01T10:${minute}:00.000Z`,
    completedAt: `2026-01-01T10:${minute + 9}:00.000Z`,
    runId: `000${minute / 10}-${phase}`,
    agent: "claude",
    output: "All checks pass. ".repeat(30),
    session: { provider: "claude", id: "5f3c1f0e-6d6c-4f0e-8b5e-0123456789ab" },
    head: "0123456789abcdef0123456789abcdef01234567",
    usage: { inputTokens: 12_000, outputTokens: 3_000, cacheReadTokens: 90_000, cacheWriteTokens: 8_000 },
    costUsd: 0.42,
  });
  return {
    currentPhase: "checks",
    enteredAt: "2026-01-01T10:30:00.000Z",
    phaseHistory: [entry("setup", 10), entry("implement", 20)],
    context: { worktree: "/tmp/worktree", summary: "Sessions are checked before the handler runs." },
    visits: { setup: 1, implement: 1, checks: 1 },
    runs: 2,
    baseSha: "0123456789abcdef0123456789abcdef01234567",
  };
}
