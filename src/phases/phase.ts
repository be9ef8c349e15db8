import type { Config } from "../domain/config.ts";
import type { TicketEvent } from "../domain/event.ts";
import type { Plan } from "../domain/plan.ts";
import type { ExitRecord, RunRef, RunSpec } from "../domain/run.ts";
import type { Resolved, Ticket } from "../domain/ticket.ts";
import type { Instant } from "../domain/time.ts";
import type { FlatPhase, RunPhase } from "../domain/workflow.ts";

/** Everything a phase may know when it starts and when its result is read. */
export interface PhaseContext<P extends RunPhase = RunPhase> {
  ref: RunRef;
  phase: P & Pick<FlatPhase, "params">;
  ticket: Ticket;
  plan: Plan;
  resolved: Resolved;
  config: Config;
  /** The configured name of the agent that works for this ticket. */
  agent: string;
  /** The run's folder, absolute. */
  runDir: string;
  /** Folder of the locks that keep two git commands of ours from one repository. */
  lockDir: string;
  /** Whether a branch, as a full ref, belongs to a ticket or to the program itself. */
  isOwnBranch(ref: string): boolean;
  /** The daemon's own environment. */
  daemonEnv: Readonly<Record<string, string | undefined>>;
  /** How to start this program again: Node's path and the script's. Bundled scripts need it. */
  self: { node: string; program: string; checksRunner: string };
  /** What a run that starts now may use before it is stopped, tightest limit first, and what is kept back for it. */
  budget(): Required<Pick<RunSpec, "limits" | "reserved">>;
  now(): Instant;
}

/** What starting a phase comes to: a program to run, or news at once when there is nothing to run. `notes` are for the log. */
export type Start =
  | { kind: "run"; spec: RunSpec; env: Record<string, string>; prompt: string | null; notes?: string[] }
  | { kind: "news"; event: TicketEvent };

/** One phase type. Both halves may run again after a crash and then find what the first time left. */
export interface PhaseHandler<P extends RunPhase = RunPhase> {
  /** What to run. Throws a UserError when the phase cannot start as things are: that costs no attempt and needs a person. */
  start(context: PhaseContext<P>): Promise<Start>;
  /** What the ended run means. */
  settle(context: PhaseContext<P>, spec: RunSpec, exit: ExitRecord): Promise<TicketEvent>;
}
