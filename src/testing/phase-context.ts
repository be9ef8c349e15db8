import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import type { ExitRecord, RunSpec } from "../domain/run.ts";
import type { AgentReport } from "../domain/session.ts";
import { resolveTicket, type TicketFile } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import type { RunPhase, WorkflowFile } from "../domain/workflow.ts";
import { loadConfig } from "../inputs/config.ts";
import type { PhaseContext } from "../phases/phase.ts";
import { makePlan, makeTicket, makeWorkflow } from "./builders.ts";
import { builtPrograms, type TestHome } from "./home.ts";

/** What a phase of ticket "p/T1" gets, over the repository of a test home. */
export function phaseContext<P extends RunPhase>(
  home: TestHome,
  phase: z.input<typeof WorkflowFile>["phases"][number] & { type: P["type"] },
  fields: {
    ticket?: Partial<z.input<typeof TicketFile>>;
    plan?: Parameters<typeof makePlan>[0];
    runId?: string;
    daemonEnv?: Record<string, string>;
  } = {},
): PhaseContext<P> {
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const plan = makePlan({ id: "p", repo: home.repo, worktreeRoot: join(home.dir, "worktrees"), ...fields.plan });
  const ticket = makeTicket({ planId: "p", ticketId: "T1", title: "A title", ...fields.ticket });
  const ref = { planId: "p", ticketId: ticket.ticketId, runId: fields.runId ?? `0001-${phase.id}` };
  const runDir = join(home.home, "run", ref.planId, ref.ticketId, ref.runId);
  for (const dir of [runDir, join(home.home, "lock")]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const [flat] = makeWorkflow([phase]).phases;
  return {
    ref,
    phase: flat as P,
    ticket,
    plan,
    resolved: resolveTicket(ticket, plan, config.worktreeRoot),
    config,
    agent: ticket.agent ?? config.defaultAgent,
    runDir,
    lockDir: join(home.home, "lock"),
    isOwnBranch: (ref) => ref.startsWith("refs/heads/orch"),
    daemonEnv: { ...home.env, ...fields.daemonEnv },
    self: { ...builtPrograms(), program: "" },
    budget: () => ({ limits: [], reserved: {} }),
    now: () => instant(Date.now()),
  };
}

/** How a run ended: by itself, with exit code 0 and no output, unless `fields` say otherwise. */
export function exitRecord(fields: Partial<ExitRecord> = {}): ExitRecord {
  const at = instant(0);
  const silence = { stdoutTail: "", stderrTail: "", stdoutBytes: 0, stderrBytes: 0 };
  const ended = { end: "exited" as const, exitCode: 0, signal: null, message: null };
  return {
    schema: 1,
    runId: "0001",
    startedAt: at,
    endedAt: at,
    durationMs: 0,
    ...ended,
    ...silence,
    agent: null,
    survivors: [],
    ...fields,
  };
}

/** What the stream of an agent came to that said nothing but `finalText`. */
export function agentReport(finalText: string | null, fields: Partial<AgentReport> = {}): AgentReport {
  return { provider: "generic", session: null, finalText, usage: null, costUsd: null, turns: null, failure: null, warnings: [], ...fields };
}

/** The spec that a phase started with, as it comes back from spec.json. */
export function specOf(start: { kind: string; spec?: RunSpec }): RunSpec {
  if (!start.spec) throw new Error(`the phase started no program: ${JSON.stringify(start)}`);
  return JSON.parse(JSON.stringify(start.spec)) as RunSpec;
}
