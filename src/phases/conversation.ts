import { isAboutSession } from "../agents/classify.ts";
import { isProviderTrouble } from "../domain/park.ts";
import type { AgentReport, Session } from "../domain/session.ts";
import type { HistoryEntry, Message, Stuck } from "../domain/ticket.ts";
import { fenced } from "../inputs/prompts.ts";

/** A run whose conversation might be gone on with: of this phase, or of the one that it resumes. */
export interface EarlierRun {
  entry: HistoryEntry;
  /** Who worked, and where, as far as that is known. */
  agent: string | undefined;
  cwd: string | undefined;
  /** The agent had said or done something: before that there is nothing to remember. */
  hadBegun: boolean;
}

/** What the choice of a conversation depends on. */
export interface ConversationFacts {
  phase: { id: string; session?: string | undefined };
  agent: string;
  provider: string;
  cwd: string;
  /** Oldest first. */
  runs: readonly EarlierRun[];
  /** No run of another phase came after the last of them that was heard. */
  isLatest: boolean;
  /** How an agent that got nowhere is answered; null where it did not. */
  stuck: Stuck["answer"] | null;
  /** The missing verdict of the last run is to be asked for. */
  reasks: boolean;
  /** What is found of the conversation that would be gone on with. */
  transcript: "there" | "gone" | "in use";
  /** Why the agent's program cannot go on with a conversation; null when it can. */
  cannotResume: string | null;
}

/** Why a conversation is gone on with: decides what is said there. */
type Cause = "verdict" | "nudge" | "provider" | "budget" | "cut off" | "failed" | "again" | "other phase";

/** In which conversation a run works. */
export type Choice =
  /** There is nothing to go on with; `isCutOff`: a run of this phase had started all the same. */
  | { do: "begin"; isCutOff: boolean }
  | { do: "resume"; session: Session; cause: Cause; last: HistoryEntry }
  /** There is an earlier conversation, which the new one is told about. */
  | { do: "begin anew"; earlier: EarlierRun; why: string };

/** The reason of a failure for which the verdict alone is asked for again begins so. */
export const noVerdict = "Its final message holds no verdict";

/** The reason of a run that its program would not begin in the conversation it was to go on with. */
export const notResumed = "Its conversation could not be gone on with";

/**
 * The ladder: a phase that runs again goes on in the conversation of its last run that had begun, where that can be found again
 * by the same agent in the same place; else it begins a new one that is told what happened.
 */
export function chooseConversation(facts: ConversationFacts): Choice {
  const { phase, runs } = facts;
  const latest = runs.at(-1);
  const last = lastHeard(runs);
  const base = conversationAt(runs);
  if (last === undefined || base === undefined)
    return { do: "begin", isCutOff: latest !== undefined && isCutOff(latest.entry) && facts.isLatest };
  const cause = causeOf(facts, last.entry);
  const isSameWork = cause === "verdict" || cause === "nudge" || cause === "provider" || cause === "budget" || cause === "cut off";
  if (phase.session === "new" && !isSameWork) return { do: "begin", isCutOff: false };
  const why = obstacle(facts, base, cause);
  if (why !== null || base.entry.session === undefined) return { do: "begin anew", earlier: base, why: why ?? "it has no session" };
  return { do: "resume", session: base.entry.session, cause, last: last.entry };
}

/** The run whose conversation would be gone on with; undefined when none had begun. */
export function conversationAt(runs: readonly EarlierRun[]): EarlierRun | undefined {
  return runs.findLast(({ hadBegun }) => hadBegun);
}

/** The run whose end says how things stand: one that was cut off before it had begun was told nothing of its task, and did nothing. */
export function lastHeard(runs: readonly EarlierRun[]): EarlierRun | undefined {
  return runs.findLast(({ entry, hadBegun }) => hadBegun || !isCutOff(entry));
}

function causeOf({ phase, isLatest, reasks, runs, stuck }: ConversationFacts, last: HistoryEntry): Cause {
  if (last.phase !== phase.id) return "other phase";
  if (isLatest && reasks && forgetsOnce(runs)) return "verdict";
  if (stuck === "nudge") return "nudge";
  if (!isCutOff(last)) return last.status === "failure" && isLatest ? "failed" : "again";
  if (!isLatest) return "again";
  if (last.status === "interrupted" && last.category === "budget") return "budget";
  return last.status === "interrupted" && last.category !== undefined && isProviderTrouble(last.category) ? "provider" : "cut off";
}

function isCutOff({ status }: HistoryEntry): boolean {
  return status === "lost" || status === "interrupted";
}

/** Whether the last run that came to its end gave no verdict, and the one before it did. */
function forgetsOnce(runs: readonly EarlierRun[]): boolean {
  const settled = runs.filter(({ entry }) => !isCutOff(entry));
  return forgot(settled.at(-1)) && !forgot(settled.at(-2));
}

function forgot(run: EarlierRun | undefined): boolean {
  return run?.entry.status === "failure" && run.entry.reason?.startsWith(noVerdict) === true;
}

/** Why the conversation of `base` cannot be gone on with, in words for people; null when it can. */
function obstacle(facts: ConversationFacts, base: EarlierRun, cause: Cause): string | null {
  const { agent, provider, cwd, runs, transcript, cannotResume } = facts;
  if ((base.agent ?? base.entry.agent ?? agent) !== agent) return `the earlier one is agent ${base.agent ?? base.entry.agent}'s`;
  if (base.entry.session === undefined) return "the earlier one has no session";
  if (base.entry.session.provider !== provider) return `the earlier one is of ${base.entry.session.provider}`;
  if (cannotResume !== null) return cannotResume;
  const since = runs.slice(runs.lastIndexOf(base)).map(({ entry }) => entry);
  if (facts.stuck === "anew") return "the earlier one got nowhere";
  if (cause !== "nudge" && since.some(({ category }) => category === "stuck")) return "the earlier one led nowhere, or outgrew the model";
  if (since.some(({ category }) => category === "blocker")) return "the model refused to go on with the earlier one";
  if (since.some(({ reason }) => reason?.startsWith(notResumed))) return "its program did not find the earlier one, or it was in use";
  const settled = runs.filter(({ entry }) => !isCutOff(entry));
  if (forgot(settled.at(-1)) && forgot(settled.at(-2))) return "the earlier one gave no verdict when it was asked again";
  if (base.cwd !== undefined && base.cwd !== cwd) return `the earlier one worked in ${base.cwd}`;
  if (transcript === "gone") return "the transcript of the earlier one is gone";
  return transcript === "in use" ? "the earlier one is open in another process" : null;
}

/** What the agent is told: the task, what came of its earlier work, and what people say. */
export function promptOf(
  choice: Choice,
  task: string,
  told: {
    nudge: string;
    anew: string;
    digest: string;
    takenOverBy: string | null;
    messages: readonly Message[];
    feedback: string | undefined;
  },
): string {
  const person = told.takenOverBy === null ? "" : takeoverNote(told.takenOverBy);
  const says = messagesText(told.messages);
  switch (choice.do) {
    case "begin":
      return `${told.anew}${choice.isCutOff ? interruptionNote : ""}${person}${says}${task}`;
    case "begin anew":
      return `${told.anew}${told.digest}\n\n${person}${says}## The task\n\n${task}`;
    case "resume":
      switch (choice.cause) {
        case "verdict":
          return `${verdictReminder}${says}`;
        case "nudge":
          return `${told.nudge}${person}${says}`;
        case "provider":
          return `${goOn}${person}${says}`;
        case "budget":
          return `${goOnPaid}${person}${says}`;
        default:
          return `${outcomeNote(choice, told.feedback, task)}${told.nudge}${person}${says}The task, as it stands now:\n\n${task}`;
      }
  }
}

const goOn =
  "The provider ended your last run before you were done; nothing is wrong with your work. Go on where you stopped: look at `git status` first, and finish the task as it was given.\n\n";

const verdictReminder =
  "Your last message ended without the verdict in the form that was asked for. Do not repeat the work. Answer with the verdict alone, in exactly that form.\n\n";

const goOnPaid =
  "You were stopped in the middle of your work because the budget was used up. There is room again. Look at `git status` and `git log`, then go on from where you stopped until the task is done.\n\n";

const interruptionNote =
  "An earlier run of this task was interrupted. The worktree may hold part of its work: look at `git status` and `git log` first and go on from there.\n\n";

const look = "The worktree holds your work as far as it got: look at `git status` and `git log` first.";

function takeoverNote(by: string): string {
  return `A person (${by}) worked here since your last run, perhaps in this conversation. Keep what that person did.\n\n`;
}

function outcomeNote({ cause, last }: Extract<Choice, { do: "resume" }>, feedback: string | undefined, task: string): string {
  const reason = last.reason?.trim() ?? "";
  const found = feedback?.trim() ?? "";
  // Most templates show feedback themselves.
  const why = [found.includes(reason) ? "" : reason, found].filter((text) => text !== "" && !task.includes(text)).join("\n\n");
  const quoted = why === "" ? "" : `What came of it, quoted:\n\n${fenced(why)}\n\n`;
  switch (cause) {
    case "cut off":
      return `You were interrupted in the middle of your work on this task. ${look} Then go on where you stopped, and do nothing twice.\n\n`;
    case "failed":
      return `You worked on this task in this conversation, and what you did was not accepted (${last.category ?? "unknown"}). ${quoted}${look} Repair what is wrong and keep what is right.\n\n`;
    case "other phase":
      return `You did phase \`${last.phase}\` of this ticket in this conversation. Now another task follows on the same work.\n\n`;
    default:
      return `You worked on this task in this conversation before. Since then the ticket has been elsewhere and has come back. ${look} Begin with what is new.\n\n`;
  }
}

function messagesText(messages: readonly Message[]): string {
  return messages.map(({ by, text }) => `The person in charge of this ticket (${by}) says:\n\n${text.trim()}\n\n`).join("");
}

/**
 * Why a run counts for nothing that was to go on with a conversation and was not let in; undefined for all other runs. `resumed`
 * is what its spec notes.
 */
export function refusedResume(resumed: unknown, report: AgentReport | null): string | undefined {
  const message = report?.failure?.message;
  if (typeof resumed !== "string" || message === undefined || !isAboutSession(message)) return undefined;
  return `${notResumed}: ${message.slice(0, 500)}`;
}
