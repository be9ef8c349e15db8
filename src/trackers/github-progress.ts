import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import { UserError } from "../domain/errors.ts";
import { dataOf, dataOfSome, type Gh, ghGraphql, issuesQuery } from "./gh.ts";
import { insist, type Outcome } from "./patience.ts";
import { progressText } from "./progress-text.ts";
import type { Progress } from "./tracker.ts";

/** Marks the one comment that is ours. It shows nowhere. */
const marker = "<!-- orchestrator:progress -->";

/** Issues that are looked at in one request. */
const batchSize = 20;

const Comment = z.object({ id: z.string(), body: z.string(), viewerDidAuthor: z.boolean() });
const Looked = z.object({
  id: z.string(),
  state: z.string(),
  comments: z.object({
    pageInfo: z.object({ hasNextPage: z.boolean(), endCursor: z.string().nullable() }),
    nodes: z.array(Comment.nullable()),
  }),
});
const Answer = z.record(z.string(), z.object({ issue: Looked.nullable() }).nullable());

/** An issue before it is written to. */
interface Seen {
  id: string;
  open: boolean;
  /** What we said there before. */
  comment?: { id: string; body: string };
}

/**
 * Says on each issue, in one comment of ours, what became of it, and closes it when it is done and `closeDone` asks for that. What is
 * said already is not said again: then an issue that a person has opened once more stays open. UserError at the end for issues
 * that do not exist (any more).
 */
export async function writeProgress(gh: Gh, progress: readonly Progress[], closeDone: boolean, signal?: AbortSignal): Promise<void> {
  // Of several things about one issue, the last one is what became of it.
  const latest = new Map(progress.map((one) => [one.source.id, one]));
  const ours = [...latest.values()].filter(({ source }) => source.kind === "github");
  const missing: string[] = [];
  const pause = writePause(gh, signal);
  for (let at = 0; at < ours.length; at += batchSize) {
    const some = ours.slice(at, at + batchSize);
    const seen = await look(
      gh,
      some.map(({ source }) => source.id),
      signal,
    );
    for (const one of some) {
      const issue = seen.get(one.source.id);
      if (issue) await say(gh, one, issue, closeDone, pause, signal);
      else missing.push(one.source.id);
    }
  }
  if (missing.length === 0) return;
  throw new UserError(`GitHub does not show ${missing.join(", ")}, so nothing was written there.`, {
    hint: "they were deleted or moved, or the account of gh may not see them",
    exit: "notFound",
  });
}

/** Reads state and our comment of issues, with as many pages of comments as it takes to find it. */
async function look(gh: Gh, ids: readonly string[], signal: AbortSignal | undefined): Promise<Map<string, Seen>> {
  const seen = new Map<string, Seen>();
  let pending = ids.map((id) => ({ id, after: "null" }));
  while (pending.length > 0) {
    const [query, variables] = issuesQuery(
      pending.map(({ id }) => id),
      (i) => {
        const comments = `comments(first: 100, after: ${pending[i]?.after}) { pageInfo { hasNextPage endCursor } nodes { id body viewerDidAuthor } }`;
        return `id state ${comments}`;
      },
    );
    const answer = await insist(() => ghGraphql(gh, query, variables, signal), gh.patience, signal);
    const found = dataOfSome(Answer, answer, "the issues to write to");
    pending = pending.flatMap(({ id }, i) => {
      const issue = found[`r${i}`]?.issue;
      if (!issue) return [];
      const comment = issue.comments.nodes.find((one) => one?.viewerDidAuthor && one.body.includes(marker));
      seen.set(id, { id: issue.id, open: issue.state === "OPEN", ...(comment ? { comment } : {}) });
      const { hasNextPage, endCursor } = issue.comments.pageInfo;
      return !comment && hasNextPage ? [{ id, after: JSON.stringify(endCursor) }] : [];
    });
  }
  return seen;
}

/** Writes what is missing. After a write whose end is not known, looks again first: nothing is said twice. */
async function say(
  gh: Gh,
  progress: Progress,
  before: Seen,
  closeDone: boolean,
  pause: () => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  let seen: Seen | undefined = before;
  const attempt = async (): Promise<Outcome<undefined>> => {
    seen ??= (await look(gh, [progress.source.id], signal)).get(progress.source.id);
    if (!seen) return { value: undefined };
    const steps = mutations(seen, `${marker}\n${progressText(progress)}`, closeDone && progress.status === "done");
    seen = undefined;
    for (const { query, input } of steps) {
      await pause();
      const outcome = await ghGraphql(gh, query, { input }, signal);
      if ("again" in outcome) return outcome;
      dataOf(z.unknown(), outcome.value, progress.source.id);
    }
    return { value: undefined };
  };
  await insist(attempt, gh.patience, signal);
}

interface Mutation {
  query: string;
  input: Record<string, string>;
}

/** The comment comes last: where it says so already, all before it was done. */
function mutations({ id, open, comment }: Seen, body: string, close: boolean): Mutation[] {
  if (comment?.body === body) return [];
  const closing = { query: closeIssue, input: { issueId: id, stateReason: "COMPLETED" } };
  const telling = comment
    ? { query: updateComment, input: { id: comment.id, body } }
    : { query: addComment, input: { subjectId: id, body } };
  return [...(close && open ? [closing] : []), telling];
}

const closeIssue = "mutation Close($input: CloseIssueInput!) { closeIssue(input: $input) { issue { state } } }";
const addComment = "mutation Say($input: AddCommentInput!) { addComment(input: $input) { commentEdge { node { id } } } }";
const updateComment = "mutation Mend($input: UpdateIssueCommentInput!) { updateIssueComment(input: $input) { issueComment { id } } }";

/** Keeps writes apart, as GitHub's limit on new content demands. The first one need not wait. */
function writePause({ patience }: Gh, signal: AbortSignal | undefined): () => Promise<void> {
  let first = true;
  return async () => {
    if (!first) await delay(patience.writePauseMs, undefined, { signal });
    first = false;
  };
}
