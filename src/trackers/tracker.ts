import type { Source } from "../domain/draft.ts";
import type { Finding } from "../domain/errors.ts";

/** A piece of work as its source has it, before it is a ticket. */
export interface SourceItem {
  source: Source;
  title: string;
  /** Markdown. */
  body: string;
  /** `done` items become no tickets; what they block counts as unblocked. */
  state: "open" | "done" | "dropped";
  labels: readonly string[];
  /** `source.id` of the items that have to be done first; they need not be among those that were read. */
  blockedBy: readonly string[];
  /** Acceptance criteria, where the source has a place for them; those of the body are found later. */
  criteria?: readonly string[];
  priority?: "P0" | "P1" | "P2" | "P3";
  /** Milestone, project, cycle or category: a group of items. */
  group?: string;
  /** Position within the source, where its order means something. */
  order?: number;
  /** In a numbered list: what `#3` means in the texts beside it. */
  number?: number;
}

/** What was read. Findings say what was left out or guessed, with its place. */
export interface SourceRead {
  /** A name for the plan, when the source has one. */
  name?: string;
  items: readonly SourceItem[];
  findings: readonly Finding[];
}

/** What became of an item, to be written back. */
export interface Progress {
  source: Source;
  status: "in_progress" | "done" | "failed";
  /** For people: which ticket, what came of it. Whoever says it has left secrets out. */
  note?: string;
}

/** A place where work is written down. */
export interface Tracker {
  /** Reads everything that was asked for. UserError when it cannot be reached or understood. */
  read(signal?: AbortSignal): Promise<SourceRead>;
  /** Tells the source, where it can be told. Saying the same thing twice changes nothing. */
  writeBack?(progress: readonly Progress[], signal?: AbortSignal): Promise<void>;
}
