import { join } from "node:path";
import { idProblem } from "../domain/ids.ts";
import type { Plan } from "../domain/plan.ts";
import type { Ticket } from "../domain/ticket.ts";
import { instant } from "../domain/time.ts";
import { disk, namesIn, signatureOf, sweep, systemCode } from "./atomic-write.ts";
import { type Problem, readTextFile, systemProblem, Unreadable } from "./json.ts";
import { allRevsDir, pinnedWorkflowsDir, planDir, planFile, plansDir, revsDir, ticketFile, ticketsDir } from "./layout.ts";
import { listProblems, ticketNames, ticketTwins } from "./plan-list.ts";
import { readPlan } from "./plans.ts";
import { digestOf, parseTicket, readTruth, type TicketRef, type Truth } from "./tickets.ts";
import { toTicket } from "./to-ticket.ts";

/** A ticket as it is known, and what is wrong with its files. With a problem, `ticket` is the last good one. */
export interface TicketEntry {
  ticket: Ticket | null;
  problem: Problem | null;
}

/** A plan as it is known. With problems, `plan` is the last good one. */
export interface PlanEntry {
  plan: Plan | null;
  problems: Problem[];
  tickets: ReadonlyMap<string, TicketEntry>;
  /** Why nothing of the plan may start although its files can be used: another plan's id differs from its own in case only. */
  twin: Problem | null;
  /** The same of single tickets, by id; each is among `problems`, too. */
  ticketTwins: ReadonlyMap<string, Problem>;
}

/** Shared, so that whoever compares sees at once that nothing has changed. */
const noTwins: ReadonlyMap<string, Problem> = new Map();

export interface TrackedTicket extends TicketEntry {
  ref: TicketRef;
  file: string;
  /** Of the file as last looked at; undefined when it has to be looked at whatever it is. */
  signature: string | undefined;
  truth: Truth | undefined;
  /** Only the plan's list knows it. */
  absent: boolean;
  /** A revision that cannot be read; a good file does not heal it. */
  truthProblem: Problem | null;
  /** Highest revision that the runner itself made, so that a result computed from an older one is noticed. */
  runnerRev: number;
  /** `truth.pending` was not handed out yet. */
  undelivered: boolean;
  /** The last step on this ticket; the next one begins after it. */
  tail: Promise<unknown> | undefined;
}

export interface TrackedPlan extends PlanEntry {
  id: string;
  tickets: Map<string, TrackedTicket>;
  planSignature: string | undefined;
  ticketsSignature: string | undefined;
  /** What is wrong with plan.json itself, or with the plan's folders. */
  ownProblem: Problem | null;
  /** The last step on plan.json; the next one begins after it. */
  tail: Promise<unknown> | undefined;
}

/** A version this young may change again without its time or size telling, so it is read once more. */
const settleMs = 50;

/** The signature to remember for a file or folder that was last changed at `mtimeMs`. */
export function settled(signature: string, mtimeMs: number, now: number): string | undefined {
  return Math.abs(now - mtimeMs) < settleMs ? undefined : signature;
}

/** Signature of a file or folder; "none" when there is nothing of this name, undefined when it has only just changed. */
export function signatureAt(path: string, now: number): string | undefined {
  const stat = disk.lstatSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "none" : settled(signatureOf(stat), stat.mtimeMs, now);
}

/** Reads one ticket: its highest revision, else its file. Never throws for what the files hold. */
export function loadTicket(ref: TicketRef, now: number, hasRevisions: boolean): TrackedTicket {
  const entry: TrackedTicket = {
    ticket: null,
    problem: null,
    ref,
    file: ticketFile(ref.stateDir, ref.planId, ref.ticketId),
    signature: undefined,
    truth: undefined,
    absent: false,
    truthProblem: null,
    runnerRev: 0,
    undelivered: false,
    tail: undefined,
  };
  try {
    const found = hasRevisions ? readTruth(ref, instant(now)) : undefined;
    if (found) {
      entry.truth = found.truth;
      entry.truthProblem = found.problem?.problem ?? null;
      entry.undelivered = found.truth.pending.length > 0;
    }
  } catch (error) {
    entry.truthProblem = problemOf(error, revsDir(ref.stateDir, ref.planId, ref.ticketId));
  }
  if (entry.truthProblem === null || entry.truth) readProjection(entry, now);
  entry.problem = entry.truthProblem ?? entry.problem;
  entry.ticket = entry.truth?.ticket ?? null;
  entry.runnerRev = entry.truth?.ticket.rev ?? 0;
  return entry;
}

function readProjection(entry: TrackedTicket, now: number): void {
  const { ref, file, truth } = entry;
  try {
    const read = readTextFile(file);
    if (read === undefined) {
      entry.absent = !truth;
      if (!truth) entry.problem = missing(file);
      return;
    }
    const digest = digestOf(read.text);
    if (truth) {
      // Anything but the present projection is for the first poll: to be folded or written anew.
      if (digest === truth.known.at(-1)) entry.signature = settled(read.signature, read.mtimeMs, now);
      else parseTicket(read.text, file, ref);
      return;
    }
    const parsed = parseTicket(read.text, file, ref);
    entry.truth = {
      ticket: toTicket(parsed.ticket, 0, instant(now)),
      highest: -1,
      known: [digest],
      applied: [],
      pending: [],
      fileStatus: parsed.ticket.status,
    };
    entry.signature = settled(read.signature, read.mtimeMs, now);
  } catch (error) {
    entry.problem = problemOf(error, file);
  }
}

function problemOf(error: unknown, file: string): Problem {
  if (error instanceof Unreadable) return error.problem;
  const code = systemCode(error);
  if (code === undefined) throw error;
  return systemProblem(file, code);
}

/** The problem of a ticket that is listed or was read before, but has no file any more. */
export function missing(file: string): Problem {
  return { file, message: "there is no such file", hint: "write it again, or take the ticket off the plan's list" };
}

/** Reads a plan and all its tickets. Never throws for what the files hold. */
export function loadPlan(stateDir: string, id: string, now: number, writer: boolean): TrackedPlan {
  const plan: TrackedPlan = {
    plan: null,
    problems: [],
    tickets: new Map(),
    twin: null,
    ticketTwins: noTwins,
    id,
    planSignature: undefined,
    ticketsSignature: undefined,
    ownProblem: null,
    tail: undefined,
  };
  try {
    plan.ownProblem = folderProblem(stateDir, id) ?? null;
    if (plan.ownProblem === null) readFolder(plan, stateDir, now, writer);
    else plan.problems = [plan.ownProblem];
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    failPlan(plan, stateDir, code);
  }
  return plan;
}

/** Marks a plan whose folders the system refuses; the next poll tries again. */
export function failPlan(plan: TrackedPlan, stateDir: string, code: string): void {
  plan.ownProblem = systemProblem(planFile(stateDir, plan.id), code);
  plan.problems = [plan.ownProblem];
  plan.planSignature = undefined;
  plan.ticketsSignature = undefined;
}

function readFolder(plan: TrackedPlan, stateDir: string, now: number, writer: boolean): void {
  const { id } = plan;
  if (writer) for (const dir of [planDir(stateDir, id), ticketsDir(stateDir, id), pinnedWorkflowsDir(stateDir, id)]) sweep(dir);
  plan.ticketsSignature = signatureAt(ticketsDir(stateDir, id), now);
  readPlanFile(plan, stateDir, now);
  const { ids, bad } = ticketNames(stateDir, id);
  const committed = new Set(namesIn(allRevsDir(stateDir, id)).filter((name) => idProblem(name) === undefined));
  for (const ticketId of new Set([...(plan.plan?.tickets ?? []).map((ticket) => ticket.ticketId), ...ids, ...committed])) {
    const ref = { stateDir, planId: id, ticketId };
    if (writer && committed.has(ticketId)) sweep(revsDir(stateDir, id, ticketId));
    plan.tickets.set(ticketId, loadTicket(ref, now, committed.has(ticketId)));
  }
  judgePlan(plan, stateDir, bad);
}

function folderProblem(stateDir: string, id: string): Problem | undefined {
  const file = join(plansDir(stateDir), id);
  const problem = idProblem(id);
  if (problem) return { file, message: "this name cannot be a plan id", hint: problem };
  if (disk.lstatSync(planDir(stateDir, id), { throwIfNoEntry: false })?.isSymbolicLink()) {
    return { file, message: "this is a symbolic link", hint: "move the real folder here" };
  }
  return undefined;
}

/** Reads plan.json again; a bad one leaves the last good plan and a problem. */
export function readPlanFile(plan: TrackedPlan, stateDir: string, now: number): void {
  const file = planFile(stateDir, plan.id);
  plan.planSignature = signatureAt(file, now);
  try {
    const read = readPlan(stateDir, plan.id);
    plan.ownProblem = read ? null : { file, message: "there is no such file", hint: "write plan.json, or remove the folder" };
    if (read) plan.plan = read;
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    plan.ownProblem = error.problem;
  }
}

/** Sets a plan's problems from its file, its list and its tickets. `bad` are file names that can be no id. */
export function judgePlan(plan: TrackedPlan, stateDir: string, bad: string[]): void {
  const file = planFile(stateDir, plan.id);
  const present = [...plan.tickets.values()].filter((entry) => !entry.absent).map((entry) => entry.ref.ticketId);
  const twins = plan.plan ? ticketTwins(file, plan.plan, present) : noTwins;
  plan.ticketTwins = twins.size === 0 ? noTwins : twins;
  plan.problems = [
    ...(plan.ownProblem ? [plan.ownProblem] : []),
    ...(plan.plan ? listProblems(file, plan.plan, present) : []),
    ...bad.map((name) => ({
      file: join(ticketsDir(stateDir, plan.id), `${name}.json`),
      message: "this name cannot be a ticket id",
      hint: idProblem(name) ?? "rename it",
    })),
  ];
}
