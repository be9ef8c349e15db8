import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, globSync, openSync, readSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Adapter, AgentRequest } from "../agents/agent.ts";
import { type CliFacts, capabilitiesOf, cliName } from "../agents/cli-facts.ts";
import type { AgentEvent, Session } from "../domain/session.ts";
import type { HistoryEntry, Message } from "../domain/ticket.ts";
import { type PhaseOf, resumedPhase } from "../domain/workflow.ts";
import { readSpec, runFiles } from "../executors/run-files.ts";
import { processesNaming } from "../executors/session-users.ts";
import { type Choice, chooseConversation, conversationAt, type EarlierRun, lastHeard, promptOf } from "./conversation.ts";
import { digestOf } from "./digest.ts";
import { anewText, nudgeText } from "./nudge.ts";
import type { PhaseContext } from "./phase.ts";

/** That had begun; what came before them is of no use. */
const mostRuns = 20;
const headBytes = 512 * 1024;
const tailBytes = 1024 * 1024;

/** The conversation that a run works in, what it is told there, and what is to be noted. */
export interface Conversation {
  session: AgentRequest["session"];
  /** The prompt around the rendered task. */
  prompt(task: string): string;
  notes: string[];
}

/** Looks for the conversation that a run of the phase goes on with. `env` is what the agent's program will see. */
export function conversationOf(
  context: PhaseContext<PhaseOf<"agent">>,
  adapter: Adapter,
  cli: CliFacts | undefined,
  { env, cwd }: { env: Readonly<Record<string, string>>; cwd: string },
): Conversation {
  const { phase, ticket, agent } = context;
  const runs = earlierRuns(context);
  const begun = conversationAt(runs);
  const choice = chooseConversation({
    phase,
    agent,
    provider: adapter.provider,
    cwd,
    runs,
    isLatest: isLatest(ticket.phaseHistory, runs),
    stuck: ticket.stuck?.answer ?? null,
    reasks: (ticket.reasked[phase.id] ?? 0) > 0,
    transcript: begun?.entry.session === undefined ? "gone" : findTranscript(adapter, begun.entry.session, env),
    cannotResume: resumeProblem(adapter, cli),
  });
  const told = {
    nudge: nudgeText(ticket, phase.id),
    anew: anewText(ticket),
    digest: choice.do === "begin anew" ? digestIn(context, choice.earlier, cwd) : "",
    takenOverBy: takenOverBy(ticket.phaseHistory),
    messages: ticket.messages as readonly Message[],
    feedback: ticket.feedback[phase.id],
  };
  return { session: sessionOf(choice), prompt: (task) => promptOf(choice, task, told), notes: notesOf(choice) };
}

function sessionOf(choice: Choice): AgentRequest["session"] {
  return choice.do === "resume" ? { kind: "resume", session: choice.session } : { kind: "new", id: randomUUID() };
}

function notesOf(choice: Choice): string[] {
  // That some agents keep no conversation is no news.
  const isNews = choice.do === "begin anew" && choice.earlier.entry.session !== undefined;
  return isNews ? [`it begins a new conversation, with a digest: ${choice.why}`] : [];
}

function earlierRuns({ phase, ticket, runDir }: PhaseContext<PhaseOf<"agent">>): EarlierRun[] {
  const phases = [phase.id, resumedPhase(phase.session)];
  const entries = ticket.phaseHistory.filter((entry) => entry.runId !== undefined && phases.includes(entry.phase));
  const found: EarlierRun[] = [];
  // Runs that a provider turned away at once may be many, and cost nothing to look at.
  for (let left = mostRuns, entry = entries.pop(); entry !== undefined && left > 0; entry = entries.pop()) {
    const dir = join(dirname(runDir), entry.runId ?? "");
    const hadBegun = /^\{"type":"(tool_use|text)"/m.test(readPart(runFiles(dir).transcript, "head"));
    found.unshift({ entry, ...startOf(dir), hadBegun });
    if (hadBegun) left -= 1;
  }
  return found;
}

/** Who worked where; nothing is known of a run that was never started, or whose folder is gone. */
function startOf(dir: string): Pick<EarlierRun, "agent" | "cwd"> {
  try {
    const { data, cwd } = readSpec(dir);
    return { agent: typeof data.agent === "string" ? data.agent : undefined, cwd };
  } catch {
    return { agent: undefined, cwd: undefined };
  }
}

/** Whether no run of another phase came after the last of these that was heard. */
function isLatest(history: readonly HistoryEntry[], runs: readonly EarlierRun[]): boolean {
  const last = lastHeard(runs) ?? runs.at(-1);
  if (last === undefined) return false;
  const own = new Set(runs.map(({ entry }) => entry));
  return history.slice(history.lastIndexOf(last.entry)).every((entry) => entry.runId === undefined || own.has(entry));
}

/** Who worked in the worktree since the last run. */
function takenOverBy(history: readonly HistoryEntry[]): string | null {
  const since = history.slice(history.findLastIndex(({ runId }) => runId !== undefined) + 1);
  return since.findLast(({ status }) => status === "takeover")?.by ?? null;
}

function resumeProblem({ capabilities, probing, provider }: Adapter, cli: CliFacts | undefined): string | null {
  if (!capabilities.resume) return `${provider} keeps no conversation`;
  const canResume = !probing || capabilitiesOf(capabilities, probing, cli).resume;
  return canResume ? null : `${cliName(provider, cli)} cannot resume a session`;
}

function findTranscript(adapter: Adapter, session: Session, env: Readonly<Record<string, string>>): "there" | "gone" | "in use" {
  const place = adapter.transcript?.(session, env);
  if (place && !globSync(place.glob, { cwd: place.dir }).some((path) => isWritten(join(place.dir, path)))) return "gone";
  const names = [session.id, ...(session.path === undefined ? [] : [session.path])];
  return processesNaming(names).length > 0 ? "in use" : "there";
}

function isWritten(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

function digestIn({ runDir }: PhaseContext, { entry, agent }: EarlierRun, cwd: string): string {
  const lines = readPart(runFiles(join(dirname(runDir), entry.runId ?? "")).transcript, "tail").split("\n");
  return digestOf(entry, lines.flatMap(eventOf), { agent: agent ?? entry.agent, cwd });
}

/** The first or the last line of a part may be no whole one. */
function eventOf(line: string): AgentEvent[] {
  try {
    return line === "" ? [] : [JSON.parse(line) as AgentEvent];
  } catch {
    return [];
  }
}

/** The beginning or the end of a file, "" when there is none. */
function readPart(path: string, part: "head" | "tail"): string {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const length = Math.min(size, part === "head" ? headBytes : tailBytes);
    const buffer = Buffer.alloc(length);
    const read = readSync(fd, buffer, 0, length, part === "head" ? 0 : size - length);
    return buffer.toString("utf8", 0, read);
  } finally {
    closeSync(fd);
  }
}
