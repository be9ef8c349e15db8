import type { Logger } from "../lib/logger.ts";
import { type Journal, type JournalRecord, openJournal } from "../state/journal.ts";
import { journalFile } from "../state/layout.ts";

/** The journals of all plans, each opened with its first record. */
export function openJournals(
  stateDir: string,
  log: Logger,
): { append(planId: string, record: JournalRecord): void; flush(): Promise<void> } {
  const open = new Map<string, Journal>();
  return {
    append(planId, record) {
      try {
        const journal = open.get(planId) ?? openJournal(journalFile(stateDir, planId));
        open.set(planId, journal);
        journal.append(record);
      } catch (error) {
        // It informs people; the tickets themselves are what counts and are committed already.
        log.error({ err: error, plan: planId }, "the journal cannot be written");
      }
    },
    async flush() {
      for (const [planId, journal] of open) {
        await journal.flush().catch((error: unknown) => log.error({ err: error, plan: planId }, "the journal cannot be written"));
      }
    },
  };
}
