import { dirname, join } from "node:path";
import { disk, dropTemporary, hasCode, linkUnlessThere, makeDirBelow, removeIfThere, writeTemporary } from "./atomic-write.ts";
import { readTextFile, Unreadable } from "./json.ts";
import { planDir, ticketFile, trashDir } from "./layout.ts";
import { digestOf, projectionText, type TicketRef, type Truth } from "./tickets.ts";

/** What project() did. `trash` is where the replaced file lies, to be looked at once more a little later. */
export type Projected =
  | { result: "written"; signature: string; trash: string | undefined }
  /** Somebody else's content is in the public place, untouched; `trash` holds another one when two saved at once. */
  | { result: "foreign"; trash: string | undefined };

let taken = 0;

/** A fresh name in the plan's trash for a file of this ticket, whose content has this digest. */
function trashPath(ref: TicketRef, digest: string): string {
  taken += 1;
  return join(trashDir(ref.stateDir, ref.planId), `ticket~${ref.ticketId}~${digest}~${process.pid}-${taken}-${Date.now()}.json`);
}

/** Whose file lies in the trash under this name, and the digest it had when it was taken. */
export function ticketOfTrash(name: string): { ticketId: string; digest: string } | undefined {
  const [kind, ticketId, digest] = name.split("~");
  return kind === "ticket" && ticketId !== undefined && digest !== undefined ? { ticketId, digest } : undefined;
}

/**
 * Makes tickets/<id>.json show the truth, unless it holds content that nobody has folded yet: that is never replaced.
 * Throws system errors; the public file may be missing then until the next call.
 */
export async function project(ref: TicketRef, truth: Truth): Promise<Projected> {
  const file = ticketFile(ref.stateDir, ref.planId, ref.ticketId);
  const present = digestAt(file);
  if (present !== undefined && !truth.known.includes(present)) return { result: "foreign", trash: undefined };
  const root = planDir(ref.stateDir, ref.planId);
  if (!isThere(dirname(file))) await makeDirBelow(root, dirname(file));
  const temp = await writeTemporary(dirname(file), projectionText(truth.ticket));
  try {
    const trash = present === undefined ? undefined : await take(file, trashPath(ref, present), root);
    // Somebody may have saved between the look and the taking.
    if (trash !== undefined && digestAt(trash) !== present) {
      const back = await linkUnlessThere(trash, file);
      if (back) await removeIfThere(trash);
      return { result: "foreign", trash: back ? undefined : trash };
    }
    if (!(await linkUnlessThere(temp.path, file))) return { result: "foreign", trash };
    return { result: "written", signature: temp.signature, trash };
  } finally {
    await dropTemporary(temp.path);
  }
}

async function take(file: string, trash: string, root: string): Promise<string | undefined> {
  for (;;) {
    try {
      await disk.rename(file, trash);
      return trash;
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      if (!isThere(file)) return undefined;
      await makeDirBelow(root, dirname(trash));
    }
  }
}

function isThere(path: string): boolean {
  return disk.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The digest of a file's content, "" for what cannot be read; undefined when there is nothing of this name. */
function digestAt(file: string): string | undefined {
  try {
    const read = readTextFile(file);
    return read && digestOf(read.text);
  } catch (error) {
    if (error instanceof Unreadable) return "";
    throw error;
  }
}
