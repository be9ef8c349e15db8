import { join } from "node:path";
import type { TicketEvent } from "../domain/event.ts";
import type { RunSpec } from "../domain/run.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { type Base, integrationRef } from "../git/base.ts";
import { commitOf, type Repo } from "../git/git.ts";
import { advanceBase, buildCandidate, ensureIntegration, landCandidate } from "../git/integrate.ts";
import { isAncestor, treeOf } from "../git/refs.ts";
import { integrationWorktree } from "../git/worktree.ts";
import { removeIntegrationWorktree } from "../git/worktree-removal.ts";
import { passedRun } from "./capture.ts";
import { checkCommands } from "./check-commands.ts";
import { baselineAt, checkOutcome, checkRun } from "./checks.ts";
import { commonEnding } from "./ending.ts";
import { lendDependencies } from "./lend-dependencies.ts";
import type { PhaseContext, PhaseHandler, Start } from "./phase.ts";
import { baseOf, branchFacts, commitSubject, commitTrailers, folderOf, repositoryOf } from "./workspace.ts";

type Context = PhaseContext<PhaseOf<"merge">>;

/** What the checks of a candidate are for; travels in spec.json, so that a restarted daemon lands the very commit that was checked. */
interface Candidate {
  base: Base;
  /** Where the integration branch stood. */
  from: string;
  sha: string;
}

/**
 * Integrates the ticket's branch: a merge commit is built without touching any work tree, checked in a worktree of its
 * own, and only then does `orchestrator/<base>` move to it, by compare-and-swap. The base branch itself follows only
 * where nobody has it checked out.
 */
export const merge: PhaseHandler<PhaseOf<"merge">> = {
  async start(context): Promise<Start> {
    const { config, resolved, ticket, ref, lockDir } = context;
    const repo = await repositoryOf(context);
    const base = await baseOf(context, repo);
    const branchSha = await commitOf(repo, `refs/heads/${resolved.branch}`);
    if (branchSha === null)
      return news(failed(context, "implementation", `Branch ${resolved.branch} does not exist: there is nothing to merge.`));
    const author = config.git ? { author: { name: config.git.name, email: config.git.email } } : {};
    const integration = await ensureIntegration(repo, base);
    if (integration.kind === "conflict") {
      return news(
        failed(
          context,
          "conflict",
          `${base.name} and orchestrator/${base.name} have gone apart and conflict in ${integration.files.join(", ")}.`,
        ),
      );
    }
    const message = `Merge ${ref.ticketId}: ${commitSubject(ticket)}\n\n${commitTrailers(ref)}`;
    const built = await buildCandidate(repo, { onto: integration.sha, branchSha, message, ...author });
    if (built.kind === "conflict") {
      return news(failed(context, "conflict", `${resolved.branch} conflicts with orchestrator/${base.name} in ${built.files.join(", ")}.`));
    }
    if (built.kind === "up-to-date") {
      if (await hasNoWork(repo, branchSha, ticket.baseSha))
        return news(failed(context, "implementation", `Branch ${resolved.branch} has no change of its own: there is nothing to merge.`));
      if (integration.kind === "ready") return news(await landed(context, repo, base, integration.sha));
    }
    const candidate: Candidate = {
      base,
      from: integration.kind === "candidate" ? integration.from : integration.sha,
      sha: built.kind === "candidate" ? built.sha : integration.sha,
    };
    const commands = await checkCommands(context.phase, context.plan, config, repo, candidate.sha);
    if (commands.length === 0) return news(await land(context, repo, candidate));
    const path = join(config.worktreeRoot, ".integration", `${ref.planId}-${ref.ticketId}`);
    const { path: cwd } = await integrationWorktree({ repo, lockDir, path, sha: candidate.sha });
    lendDependencies(resolved.worktree, cwd);
    return checkRun(context, { commands, baseline: baselineAt(context, repo.path, integration.sha) }, cwd, base.name, { candidate });
  },

  async settle(context, spec: RunSpec, exit): Promise<TicketEvent> {
    const common = commonEnding(context, exit);
    if (common) return common;
    const repo = await repositoryOf(context);
    await removeIntegrationWorktree({ repo, lockDir: context.lockDir, path: spec.cwd });
    const outcome = await checkOutcome(context, spec, exit);
    if (outcome) return { ...outcome, reason: `Merged with orchestrator/${candidateOf(spec).base.name}: ${outcome.reason}` };
    return land(context, repo, candidateOf(spec));
  },
};

function candidateOf(spec: RunSpec): Candidate {
  return spec.data.candidate as Candidate;
}

async function land(context: Context, repo: Repo, { base, from, sha }: Candidate): Promise<TicketEvent> {
  const outcome = await landCandidate(repo, { ref: integrationRef(base), from, to: sha });
  if (outcome === "moved") {
    // Somebody else moved the branch: what was checked is no longer what would land.
    return {
      type: "interrupted",
      at: context.now(),
      runId: context.ref.runId,
      reason: `orchestrator/${base.name} moved meanwhile; the merge is built again.`,
    };
  }
  return landed(context, repo, base, sha);
}

async function landed(context: Context, repo: Repo, base: Base, sha: string): Promise<TicketEvent> {
  const advanced = await advanceBase(repo, base);
  const where = advanced.moved
    ? base.name
    : `orchestrator/${base.name} (${advanced.reason}; "orchestrator land" brings it to ${base.name})`;
  const output = `Merged as ${sha.slice(0, 10)} on ${where}.`;
  return passedRun(context, { output, captured: { merged_sha: sha }, ...(await branchFacts(context)) }, output, folderOf(context));
}

/** Whether a branch that is merged already never had anything to merge. After a crash between landing and its record it had. */
async function hasNoWork(repo: Repo, branchSha: string, baseSha: string | null): Promise<boolean> {
  if (baseSha === null || (await commitOf(repo, baseSha)) === null) return false;
  return (await isAncestor(repo, branchSha, baseSha)) || (await treeOf(repo, branchSha)) === (await treeOf(repo, baseSha));
}

function failed(context: Context, category: "conflict" | "implementation", reason: string): TicketEvent {
  return { type: "failed", at: context.now(), runId: context.ref.runId, category, reason };
}

function news(event: TicketEvent): Start {
  return { kind: "news", event };
}
