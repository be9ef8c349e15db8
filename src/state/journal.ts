import type { Instant } from "../domain/time.ts";
import { appendDurable, disk, hasCode } from "./atomic-write.ts";

/** One line of journal.jsonl. `seq` grows by one from line to line and is never used twice. */
export interface JournalEntry {
  seq: number;
  at: Instant;
  type: string;
  [field: string]: unknown;
}

/** What a caller records; the journal numbers it. */
export type JournalRecord = Omit<JournalEntry, "seq"> & { at: Instant; type: string };

export interface Journal {
  /** Queues a record and gives its number. Records queued together are written together. */
  append(record: JournalRecord): number;
  /** Resolves once everything queued so far is on disk; throws the system error when it could not be written. */
  flush(): Promise<void>;
}

const blockBytes = 64 * 1024;

/** Opens a journal to append to, creating it with its first record. A torn last line stays behind as a line of its own. */
export function openJournal(file: string): Journal {
  const { entries, torn } = readBack(file, () => true);
  let seq = entries.at(-1)?.seq ?? 0;
  let queued = torn ? "\n" : "";
  let writing: Promise<void> | undefined;

  async function write(): Promise<void> {
    // One turn of the event loop gathers the records of one tick into one write.
    await new Promise((resolve) => setImmediate(resolve));
    const text = queued;
    queued = "";
    try {
      await appendDurable(file, text);
    } catch (error) {
      // The part that did reach the disk is cut off by the newline; the records are written whole by the next try.
      queued = `\n${text}${queued}`;
      throw error;
    }
  }

  function start(): Promise<void> {
    writing ??= write().finally(() => {
      writing = undefined;
    });
    return writing;
  }

  return {
    append(record) {
      seq += 1;
      queued += `${JSON.stringify({ seq, ...record })}\n`;
      // Failures show in flush() and are tried again with the next record.
      start().catch(() => undefined);
      return seq;
    },
    async flush() {
      while (writing || queued.trim() !== "") await start();
    },
  };
}

/** The entries from number `fromSeq` on, in order; empty when there is no journal. Reads only as much of the end as it needs. */
export function readJournal(file: string, fromSeq: number): JournalEntry[] {
  return readBack(file, (seq) => seq <= fromSeq).entries.filter((entry) => entry.seq >= fromSeq);
}

/** Reads whole lines from the end of the file back to one whose number satisfies `enough`, or to the beginning. */
function readBack(file: string, enough: (seq: number) => boolean): { entries: JournalEntry[]; torn: boolean } {
  let fd: number;
  try {
    fd = disk.openSync(file, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { entries: [], torn: false };
    throw error;
  }
  try {
    const { size } = disk.fstatSync(fd);
    for (let length = blockBytes; ; length *= 4) {
      const start = Math.max(0, size - length);
      const bytes = Buffer.alloc(size - start);
      const read = disk.readSync(fd, bytes, 0, bytes.length, start);
      const lines = bytes.toString("utf8", 0, read).split("\n");
      // What precedes the first newline may be the rest of a longer line.
      const entries = (start === 0 ? lines : lines.slice(1)).flatMap(parseLine);
      const first = entries[0];
      if (start === 0 || (first && enough(first.seq))) return { entries: sequence(entries), torn: read > 0 && lines.at(-1) !== "" };
    }
  } finally {
    disk.closeSync(fd);
  }
}

function parseLine(line: string): JournalEntry[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "seq" in value && Number.isInteger(value.seq) ? [value as JournalEntry] : [];
  } catch {
    return [];
  }
}

/** A write that failed halfway was repeated: each number counts once. */
function sequence(entries: JournalEntry[]): JournalEntry[] {
  return [...new Map(entries.map((entry) => [entry.seq, entry])).values()];
}
