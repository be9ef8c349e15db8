import { disk, systemCode } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import { graceMs, type IndexState, judgeTicket } from "./index-state.ts";
import { type Problem, readTextFile, statFile, Unreadable } from "./json.ts";
import { judgePlan, loadTicket, missing, settled, signatureAt, type TrackedPlan, type TrackedTicket } from "./load.ts";
import { planGone } from "./look-at-plans.ts";
import { ticketNames } from "./plan-list.ts";
import { foldText, showTicket } from "./ticket-steps.ts";
import { digestOf, listRevisions } from "./tickets.ts";

/** Whether a look would find nothing: by far the most common case, kept free of promises. */
export function unmoved(entry: TrackedTicket): boolean {
  try {
    return entry.signature !== undefined && signatureAt(entry.file, 0) === entry.signature;
  } catch {
    return false;
  }
}

/**
 * Looks at one ticket's file, and brings file and memory together when they differ; a step on the ticket. What goes
 * wrong with its files becomes its problem and is tried again by the next poll. Throws Fenced.
 */
export async function lookAtTicket(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Promise<Change[]> {
  try {
    return await look(state, plan, entry);
  } catch (error) {
    if (error instanceof Unreadable) return judgeUnreadable(state, entry, error.problem);
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (code === "ENOENT") {
      planGone(state, plan.id, error);
      return [];
    }
    // The disk that refused one ticket may well serve the others.
    lookAgain(state, entry);
    const problem = {
      file: entry.file,
      message: `cannot be brought up to date (${code})`,
      hint: "check the disk, and the owner of its folder",
    };
    return judgeTicket(entry, problem) ? [changeOf(entry, "unreadable")] : [];
  }
}

async function look(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Promise<Change[]> {
  const stat = statFile(entry.file);
  if (stat && stat.signature === entry.signature) return [];
  if (!state.writer) return reload(state, plan, entry);
  const read = stat && readTextFile(entry.file);
  if (!read) return await lookAtMissing(state, plan, entry);
  if (!entry.truth) return reload(state, plan, entry);
  const digest = digestOf(read.text);
  entry.signature = settled(read.signature, read.mtimeMs, state.now());
  if (entry.signature === undefined) state.hintedTickets.add(entry);
  if (entry.absent) {
    entry.absent = false;
    judgePlan(plan, state.stateDir, ticketNames(state.stateDir, plan.id).bad);
  }
  const { known } = entry.truth;
  let folded: Change | undefined;
  if (!known.includes(digest)) folded = await foldText(state, entry, read.text, entry.file);
  else if (digest !== known.at(-1)) await showTicket(state, entry);
  const healed = judgeTicket(entry, null);
  return folded ? [folded] : healed ? [changeOf(entry, "changed")] : [];
}

function changeOf({ ref }: TrackedTicket, kind: Change["kind"]): Change {
  return { planId: ref.planId, ticketId: ref.ticketId, kind };
}

function lookAgain(state: IndexState, entry: TrackedTicket): void {
  entry.signature = undefined;
  state.hintedTickets.add(entry);
}

function judgeUnreadable(state: IndexState, entry: TrackedTicket, problem: Problem): Change[] {
  const stat = disk.lstatSync(entry.file, { throwIfNoEntry: false });
  if (stat && Math.abs(state.now() - stat.mtimeMs) < graceMs && entry.truth) {
    lookAgain(state, entry);
    return [];
  }
  entry.signature = signatureAt(entry.file, state.now());
  if (entry.signature === undefined) state.hintedTickets.add(entry);
  return judgeTicket(entry, problem) ? [changeOf(entry, "unreadable")] : [];
}

async function lookAtMissing(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Promise<Change[]> {
  if (entry.truth && entry.truth.highest >= 0) {
    await showTicket(state, entry);
    return judgeTicket(entry, null) ? [changeOf(entry, "changed")] : [];
  }
  entry.signature = "none";
  if (entry.absent) return [];
  entry.absent = true;
  if (!isListed(plan, entry)) return forget(state, plan, entry);
  judgeTicket(entry, missing(entry.file));
  judgePlan(plan, state.stateDir, ticketNames(state.stateDir, plan.id).bad);
  return [changeOf(entry, "unreadable")];
}

function isListed(plan: TrackedPlan, { ref }: TrackedTicket): boolean {
  return plan.plan?.tickets.some(({ ticketId }) => ticketId === ref.ticketId) ?? false;
}

/** Takes a ticket off the index of which nothing is left. */
function forget(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Change[] {
  plan.tickets.delete(entry.ref.ticketId);
  state.ticketRing = undefined;
  judgePlan(plan, state.stateDir, ticketNames(state.stateDir, plan.id).bad);
  return [changeOf(entry, "removed")];
}

/** Reads a ticket anew in place of what is known of it. A ticket that was good once stays so. */
function reload(state: IndexState, plan: TrackedPlan, entry: TrackedTicket): Change[] {
  const fresh = loadTicket(entry.ref, state.now(), listRevisions(entry.ref).length > 0);
  const known = { ticket: entry.ticket, truth: entry.truth };
  const was = { rev: entry.ticket?.rev, problem: entry.problem?.message, digest: entry.truth?.known.at(-1), absent: entry.absent };
  Object.assign(entry, fresh, { tail: entry.tail }, fresh.truth ? {} : known);
  if (!state.writer && entry.signature === undefined) entry.signature = signatureAt(entry.file, state.now());
  if (entry.signature === undefined) state.hintedTickets.add(entry);
  if (fresh.absent && !isListed(plan, entry)) return forget(state, plan, entry);
  if (entry.absent !== was.absent) judgePlan(plan, state.stateDir, ticketNames(state.stateDir, plan.id).bad);
  const same = was.rev === entry.ticket?.rev && was.problem === entry.problem?.message && was.digest === entry.truth?.known.at(-1);
  if (same && was.absent === entry.absent) return [];
  return [changeOf(entry, entry.problem ? "unreadable" : "changed")];
}

/** Tells what a ticket's edits ask for, once, with the change of its that is told anyway where there is one. */
export function deliverIntents(state: IndexState, entry: TrackedTicket): void {
  const { planId, ticketId } = entry.ref;
  entry.undelivered = false;
  const intents = entry.truth?.pending ?? [];
  if (!state.writer || intents.length === 0) return;
  const change = state.changes.find(
    (candidate) => candidate.planId === planId && candidate.ticketId === ticketId && candidate.kind === "changed",
  );
  if (change) change.intents = intents;
  else state.changes.push({ planId, ticketId, kind: "changed", intents });
}
