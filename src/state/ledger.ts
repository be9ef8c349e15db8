import { readFileSync } from "node:fs";
import { LedgerEntry } from "../domain/ledger.ts";
import { appendDurable, hasCode } from "./atomic-write.ts";

/** What a ledger says. */
export interface Ledger {
  /** One per run: a line that a crash let happen twice counts once, as it was written first. */
  entries: LedgerEntry[];
  /** Lines that hold no entry, other than the torn one that a crash leaves at the end. */
  unreadable: number;
  /** Whether the last line lacks its end. */
  torn: boolean;
}

/** Reads a ledger; empty when there is none. Throws system errors. */
export function readLedger(file: string): Ledger {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { entries: [], unreadable: 0, torn: false };
    throw error;
  }
  const lines = text.split("\n");
  const torn = lines.at(-1) !== "";
  const entries = new Map<string, LedgerEntry>();
  let unreadable = 0;
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const entry = parse(line);
    if (entry === undefined) unreadable += torn && i === lines.length - 1 ? 0 : 1;
    else if (!entries.has(ledgerKey(entry))) entries.set(ledgerKey(entry), entry);
  }
  return { entries: [...entries.values()], unreadable, torn };
}

/** Adds an entry, durably. `torn`: the line before it lacks its end. Throws system errors; what was written then is a torn line. */
export async function appendLedger(file: string, entry: LedgerEntry, torn: boolean): Promise<void> {
  await appendDurable(file, `${torn ? "\n" : ""}${JSON.stringify(entry)}\n`);
}

/** What tells runs of one plan apart. */
export function ledgerKey({ ticketId, runId }: { ticketId: string; runId: string }): string {
  return `${ticketId}/${runId}`;
}

function parse(line: string): LedgerEntry | undefined {
  try {
    return LedgerEntry.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
