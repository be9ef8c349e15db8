import { createHash } from "node:crypto";
import * as z from "zod";
import { UserError } from "../domain/errors.ts";
import { askLinear, type LinearAccess } from "./linear-client.ts";
import { insist, type Outcome } from "./patience.ts";
import { progressText } from "./progress-text.ts";
import type { Progress } from "./tracker.ts";

const State = z.object({ id: z.string(), type: z.string(), position: z.number() });
const Looked = z.object({
  issue: z.object({
    id: z.string(),
    state: z.object({ type: z.string() }),
    team: z.object({ states: z.object({ nodes: z.array(State) }) }),
    comments: z.object({ nodes: z.array(z.object({ id: z.string() })) }),
  }),
});
const Done = z.record(z.string(), z.object({ success: z.literal(true) }));

const lookQuery = `query Look($id: String!, $comment: CommentFilter) {
  issue(id: $id) {
    id state { type } team { states(first: 100) { nodes { id type position } } } comments(first: 1, filter: $comment) { nodes { id } }
  }
}`;
const moveQuery = "mutation Move($id: String!, $input: IssueUpdateInput!) { issueUpdate(id: $id, input: $input) { success } }";
const sayQuery = "mutation Say($input: CommentCreateInput!) { commentCreate(input: $input) { success } }";

/**
 * Moves each issue to the first state of the type that its progress means, never backwards and never out of a state that ends it,
 * and says so in a comment. What is said already is not said again: then an issue that a person has moved stays where it is.
 * UserError at the end for issues that do not exist (any more).
 */
export async function writeLinearProgress(access: LinearAccess, progress: readonly Progress[], signal?: AbortSignal): Promise<void> {
  const missing: string[] = [];
  for (const one of progress) {
    if (one.source.kind !== "linear") continue;
    try {
      await insist(() => say(access, one, progressText(one), signal), access.patience, signal);
    } catch (error) {
      if (!(error instanceof UserError) || error.exit !== "notFound") throw error;
      missing.push(one.source.id);
    }
  }
  if (missing.length === 0) return;
  throw new UserError(`Linear does not show ${missing.join(", ")}, so nothing was written there.`, {
    hint: "they were deleted, or the key's owner may not see them",
    exit: "notFound",
  });
}

/** The comment comes last: where it is already, all before it was done. */
async function say(access: LinearAccess, { source, status }: Progress, body: string, signal?: AbortSignal): Promise<Outcome<undefined>> {
  const ask = <T>(schema: z.ZodType<T>, query: string, variables: Record<string, unknown>) =>
    askLinear(access, schema, query, variables, signal);
  const commentId = idOfComment(source.id, body);
  const looked = await ask(Looked, lookQuery, { id: source.id, comment: { id: { eq: commentId } } });
  if ("again" in looked) return looked;
  const { id, state, team, comments } = looked.value.issue;
  if (comments.nodes.length > 0) return { value: undefined };
  const stateId = nextState(status, state.type, team.states.nodes);
  if (stateId) {
    const moved = await ask(Done, moveQuery, { id, input: { stateId } });
    if ("again" in moved) return moved;
  }
  const said = await ask(Done, sayQuery, { input: { id: commentId, issueId: id, body } });
  return "again" in said ? said : { value: undefined };
}

const movesFrom: Record<Progress["status"], { to: string; from: readonly string[] } | undefined> = {
  in_progress: { to: "started", from: ["triage", "backlog", "unstarted"] },
  done: { to: "completed", from: ["triage", "backlog", "unstarted", "started"] },
  failed: undefined,
};

/** Names of states differ per team and are changed; their types are not. */
function nextState(status: Progress["status"], now: string, states: readonly z.infer<typeof State>[]): string | undefined {
  const move = movesFrom[status];
  if (!move?.from.includes(now)) return undefined;
  const fitting = states.filter(({ type }) => type === move.to).sort((a, b) => a.position - b.position);
  return fitting[0]?.id;
}

/** The same for the same words on the same issue, in the form that Linear wants (UUID, version 4): a repeated comment is found by it. */
function idOfComment(issue: string, body: string): string {
  const hash = createHash("sha256").update(`orchestrator\0${issue}\0${body}`).digest("hex");
  const variant = "89ab"[Number.parseInt(hash.slice(16, 17), 16) % 4];
  return [hash.slice(0, 8), hash.slice(8, 12), `4${hash.slice(13, 16)}`, `${variant}${hash.slice(17, 20)}`, hash.slice(20, 32)].join("-");
}
