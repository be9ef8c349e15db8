import * as z from "zod";

/** Where a ticket comes from. `kind` and `id` together find it again when the source is read once more. */
export const Source = z.object({
  /** The source: `github`, `linear`, `features`, `issue-files`, `backlog` or `text`. */
  kind: z.string().min(1),
  /** Unique within the kind: `owner/repo#12`, `ENG-12`, a path with an anchor. */
  id: z.string().min(1),
  url: z.string().optional(),
});
export type Source = z.infer<typeof Source>;

/** What sort of work a ticket is. */
export const ticketTypes = ["feature", "bug", "refactor", "test", "docs", "chore", "spike"] as const;
