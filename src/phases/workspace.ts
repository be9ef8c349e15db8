import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { UserError } from "../domain/errors.ts";
import type { RunFacts } from "../domain/event.ts";
import { type Base, detectBase, startPoint } from "../git/base.ts";
import { commitOf, openRepo, type Repo } from "../git/git.ts";
import { mergeBase } from "../git/refs.ts";
import { ensureWorktree, type Worktree } from "../git/worktree.ts";
import type { PhaseContext } from "./phase.ts";

/** The repository a ticket belongs to. Throws a UserError that says which field to fill in or mend. */
export async function repositoryOf(context: PhaseContext): Promise<Repo> {
  return openRepo(repositoryPath(context));
}

/** The path of the ticket's repository; a UserError when neither ticket nor plan names one. */
function repositoryPath({ resolved, ref }: PhaseContext): string {
  if (resolved.repo) {
    if (isAbsolute(resolved.repo)) return resolved.repo;
    throw new UserError(`repo "${resolved.repo}" of ticket ${ref.planId}/${ref.ticketId} is not an absolute path.`, {
      hint: "write the whole path, from / on",
      exit: "invalid",
    });
  }
  throw new UserError(`Neither ticket ${ref.planId}/${ref.ticketId} nor its plan names a repository.`, {
    hint: 'set "repo" to an absolute path in plan.json or in the ticket',
    exit: "invalid",
  });
}

/** The branch that the ticket's work is for. */
export async function baseOf(context: PhaseContext, repo: Repo): Promise<Base> {
  return detectBase(repo, context.resolved.baseBranch ?? undefined);
}

/** The ticket's worktree, made where it is missing: a phase that needs one never depends on a setup phase having run. */
export async function worktreeOf(
  context: PhaseContext,
  repo: Repo,
  { base, ...options }: { leaveHead?: boolean; base?: Base | Promise<Base> } = {},
): Promise<Worktree> {
  const { worktree: path, branch } = context.resolved;
  const { planId, ticketId } = context.ref;
  const startSha = async () => startPoint(repo, await (base ?? baseOf(context, repo)));
  return ensureWorktree({
    repo,
    lockDir: context.lockDir,
    path,
    branch,
    startSha,
    recovery: { planId, ticketId },
    reuse: context.config.reuseWorktrees,
    ...options,
  });
}

/** Where the branch stands, for the history; empty when there is no branch yet. `open`: the repository, where it is open already. */
export async function branchFacts(context: PhaseContext, open?: Repo): Promise<Pick<RunFacts, "head" | "baseSha">> {
  if (!context.resolved.repo || !existsSync(join(context.resolved.worktree, ".git"))) return {};
  const repo = open ?? (await repositoryOf(context));
  const head = await commitOf(repo, `refs/heads/${context.resolved.branch}`);
  if (head === null) return {};
  if (context.ticket.baseSha !== null) return { head };
  const baseSha = await mergeBase(repo, head, await startPoint(repo, await baseOf(context, repo)));
  return baseSha === null ? { head } : { head, baseSha };
}

/** The folder a phase's programs run in when they need no worktree of their own making: the ticket's, else the repository. */
export function folderOf(context: PhaseContext): string {
  return existsSync(context.resolved.worktree) ? context.resolved.worktree : repositoryPath(context);
}

/** The ticket's title as the end of a commit's first line. */
export function commitSubject({ ticketId, title }: { ticketId: string; title: string }): string {
  return (
    title
      .replace(/[\s\p{Cc}]+/gu, " ")
      .trim()
      .slice(0, 60) || ticketId
  );
}

/** The lines by which a commit is known for ours. */
export function commitTrailers({ planId, ticketId, runId }: PhaseContext["ref"]): string {
  return `Ticket: ${planId}/${ticketId}\nOrchestrator-Attempt: ${runId}\n`;
}
