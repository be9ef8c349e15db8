import { createHash } from "node:crypto";
import { join } from "node:path";
import * as z from "zod";
import type { Intent } from "../domain/event.ts";
import { plannerOwned, runnerOwned, type Ticket, TicketFile, type TicketStatus } from "../domain/ticket.ts";
import { statusOf } from "../domain/ticket-status.ts";
import { disk, dropTemporary, hasCode, linkExclusive, makeDirBelow } from "./atomic-write.ts";
import { parseJson, readTextFile, Unreadable, validate } from "./json.ts";
import { placeOf } from "./json-places.ts";
import { planDir, quarantineDir, revFile, revsDir } from "./layout.ts";
import type { TicketEdit } from "./merge-edit.ts";
import { migrate, ticketMigrations } from "./migrate.ts";
import { longestText, toTicket } from "./to-ticket.ts";

/** Another writer commits to the same state: this process has to end. */
export class Fenced extends Error {
  constructor(file: string) {
    super(`${file} was committed by another process`);
    this.name = "Fenced";
  }
}

/** An intent and the name under which it is applied once. */
export interface PendingIntent {
  id: string;
  intent: Intent;
}

/** Which ticket, and where its plan lies. */
export interface TicketRef {
  stateDir: string;
  planId: string;
  ticketId: string;
}

/** What is known of a ticket from its highest revision, or from its file when it was never committed. */
export interface Truth {
  ticket: Ticket;
  /** Number of the highest revision file, readable or not; -1 when the ticket was never committed. */
  highest: number;
  /** Digests of the file contents that need no folding any more; the last one is the present projection's. */
  known: string[];
  /** Ids of the intents applied lately. */
  applied: string[];
  /** Intents read from edits that nobody has applied or refused yet. */
  pending: PendingIntent[];
  /** The status that a never committed file carries, which statusOf() may put in other words. */
  fileStatus?: TicketStatus;
}

const keepRevisions = 40;
const keepDigests = 20;
const keepApplied = 32;

const Revision = z.object({
  ticket: z.unknown(),
  known: z.array(z.string()),
  applied: z.array(z.string()),
  pending: z.array(z.object({ id: z.string(), intent: z.custom<Intent>() })),
});

/** Names the content of a file. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** The text of tickets/<id>.json for a ticket. */
export function projectionText(ticket: Ticket): string {
  return `${JSON.stringify(ticket, undefined, 2)}\n`;
}

/**
 * Parses and validates the text of a ticket file. Throws Unreadable, also when the ids inside are not those of its place.
 * `file` is only named in errors.
 */
export function parseTicket(text: string, file: string, ref: TicketRef): { ticket: TicketFile; edit: TicketEdit } {
  const raw = migrate(parseJson(text, file), file, ticketMigrations);
  const ticket = validate(TicketFile, raw, file, text);
  if (ticket.ticketId !== ref.ticketId) {
    throw new Unreadable({
      file,
      ...placeOf(text, ["ticketId"]),
      message: `ticketId: is ${ticket.ticketId}`,
      hint: `the file's name says ${ref.ticketId}; make them equal`,
    });
  }
  if (ticket.planId !== ref.planId) {
    throw new Unreadable({
      file,
      ...placeOf(text, ["planId"]),
      message: `planId: is ${ticket.planId}`,
      hint: `the folder's name says ${ref.planId}; make them equal`,
    });
  }
  checkTexts(ticket, text, file);
  const edit: TicketEdit = { ...ticket };
  for (const key of runnerOwned) if (!Object.hasOwn(raw, key)) delete edit[key];
  return { ticket, edit };
}

/** What people write goes into arguments, environments and prompts, which take neither NUL nor any amount of text. */
function checkTexts(ticket: TicketFile, text: string, file: string): void {
  for (const key of plannerOwned) {
    const words = [ticket[key] ?? ""].flat().join("");
    const place = () => ({ file, ...placeOf(text, [key]) });
    if (words.includes("\0")) {
      throw new Unreadable({ ...place(), message: `${key}: holds a NUL character`, hint: "remove it: no program can be given one" });
    }
    if (words.length > longestText) {
      throw new Unreadable({
        ...place(),
        message: `${key}: ${words.length} characters are more than the ${longestText} allowed`,
        hint: "keep it in a file of the repository, and name that file here",
      });
    }
  }
}

/** Numbers of a ticket's revision files, ascending; empty when it was never committed. */
export function listRevisions(ref: TicketRef): number[] {
  let names: string[];
  try {
    names = disk.readdirSync(revsDir(ref.stateDir, ref.planId, ref.ticketId));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
  return names
    .filter((name) => /^\d{1,9}\.json$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
}

/** One revision; undefined when it is not kept. Throws Unreadable. */
function readRevision(ref: TicketRef, rev: number): (Omit<Truth, "highest" | "ticket"> & { file: TicketFile }) | undefined {
  const path = revFile(ref.stateDir, ref.planId, ref.ticketId, rev);
  const read = readTextFile(path);
  if (read === undefined) return undefined;
  const record = validate(Revision, parseJson(read.text, path), path);
  return { ...record, file: validate(TicketFile, migrate(record.ticket, path, ticketMigrations), path) };
}

/**
 * The truth by a ticket's revisions: the highest readable one. `problem` names an unreadable higher one.
 * Undefined when the ticket was never committed. Throws Unreadable when none of its revisions can be read.
 */
export function readTruth(ref: TicketRef, at: string): { truth: Truth; problem: Unreadable | undefined } | undefined {
  const numbers = listRevisions(ref);
  const highest = numbers.at(-1);
  if (highest === undefined) return undefined;
  let problem: Unreadable | undefined;
  for (const rev of numbers.reverse()) {
    try {
      const revision = readRevision(ref, rev);
      if (revision === undefined) continue;
      const { file, ...rest } = revision;
      return { truth: { ...rest, ticket: toTicket(file, rev, at), highest }, problem };
    } catch (error) {
      // One that the system refuses to read for now must not be taken for lost.
      if (!(error instanceof Unreadable) || error.refused) throw error;
      problem ??= error;
    }
  }
  // A reader beside a writer may find all of them pruned between the listing and the reading.
  if (problem === undefined) return readTruth(ref, at);
  throw problem;
}

/** The revision that an edited file was made from, or the oldest one kept. */
export function readBase(ref: TicketRef, rev: number): Ticket | undefined {
  for (const candidate of new Set([rev, ...listRevisions(ref).filter((kept) => kept > 0)])) {
    const revision = readRevision(ref, candidate);
    // The status stays as the file had it, for that is what its author saw.
    if (revision) return { ...toTicket(revision.file, candidate, ""), status: revision.file.status };
  }
  return undefined;
}

/**
 * Commits `ticket` as the next revision after `before`, durably; gives the new truth. `ticket.rev` and `status` are set
 * here. `folded` is the digest of an edit that `ticket` contains, `pending` what it asks for; `settled` names an intent
 * that this commit applies. Throws Fenced when somebody else has committed, and system errors with nothing committed.
 */
export async function commitRevision(
  ref: TicketRef,
  before: Truth,
  ticket: Ticket,
  more: { folded?: string; pending?: PendingIntent[]; settled?: string } = {},
): Promise<Truth> {
  const rev = before.highest < 0 ? 1 : before.highest + 1;
  const next: Ticket = { ...ticket, rev, status: statusOf(ticket) };
  const truth: Truth = {
    ticket: next,
    highest: rev,
    known: [...before.known, ...(more.folded ? [more.folded] : []), digestOf(projectionText(next))].slice(-keepDigests),
    applied: [...before.applied, ...(more.settled ? [more.settled] : [])].slice(-keepApplied),
    pending: [...before.pending, ...(more.pending ?? [])].filter((pending) => pending.id !== more.settled),
  };
  if (before.highest < 0) {
    await makeDirBelow(planDir(ref.stateDir, ref.planId), revsDir(ref.stateDir, ref.planId, ref.ticketId));
    // What the planner wrote stays for good: files without a number are read as edits of it.
    const original = { ...before.ticket, rev: 0, status: before.fileStatus ?? before.ticket.status };
    const created = await writeRevision(ref, 0, { ...before, ticket: original });
    // A commit that the disk refused halfway has left it. Who is the writer, the next revision decides.
    if (!created && listRevisions(ref).at(-1) !== 0) throw new Fenced(revFile(ref.stateDir, ref.planId, ref.ticketId, 0));
  }
  if (!(await writeRevision(ref, rev, truth))) throw new Fenced(revFile(ref.stateDir, ref.planId, ref.ticketId, rev));
  const old = rev - keepRevisions;
  if (old > 0) await dropTemporary(revFile(ref.stateDir, ref.planId, ref.ticketId, old));
  return truth;
}

/** False when somebody else has made the revision of this number. */
function writeRevision(ref: TicketRef, rev: number, truth: Truth): Promise<boolean> {
  const { ticket, known, applied, pending } = truth;
  const file = revFile(ref.stateDir, ref.planId, ref.ticketId, rev);
  return linkExclusive(file, JSON.stringify({ ticket, known, applied, pending }));
}

/** Moves a file that cannot be read into the plan's quarantine, with the reason beside it; gives its new path. */
export async function quarantine(ref: Pick<TicketRef, "stateDir" | "planId">, file: string, name: string, reason: string): Promise<string> {
  const dir = quarantineDir(ref.stateDir, ref.planId);
  await makeDirBelow(planDir(ref.stateDir, ref.planId), dir);
  const path = join(dir, `${Date.now()}-${name}`);
  await linkExclusive(`${path}.reason`, `${reason}\n`);
  await disk.rename(file, path);
  return path;
}
