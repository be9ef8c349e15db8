import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord, RunSpec } from "../domain/run.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { openRepo } from "../git/git.ts";
import { removeIntegrationWorktree } from "../git/worktree-removal.ts";
import { passedRun } from "./capture.ts";
import { checkCommands } from "./check-commands.ts";
import { type CheckOrder, type CheckReport, couldNotRun } from "./check-report.ts";
import { commonEnding, excerpt, failedRun } from "./ending.ts";
import { childEnvironment } from "./environment.ts";
import type { PhaseContext, PhaseHandler, Start } from "./phase.ts";
import { programStart } from "./program-start.ts";
import { phaseVariables } from "./variables.ts";
import { baseOf, branchFacts, repositoryOf, worktreeOf } from "./workspace.ts";

/** Runs the project's own checks on the ticket's worktree. What fails now and passed before the change fails the phase. */
export const checks: PhaseHandler<PhaseOf<"checks">> = {
  async start(context): Promise<Start> {
    const repo = await repositoryOf(context);
    const base = await baseOf(context, repo);
    const worktree = await worktreeOf(context, repo, { base });
    const commands = await checkCommands(context.phase, context.plan, context.config, repo, worktree.head);
    if (commands.length === 0) {
      const output = "There are no checks: neither the phase, the plan, the configuration nor a package.json names any.";
      return { kind: "news", event: await passedRun(context, { output, ...(await branchFacts(context)) }, output, worktree.path) };
    }
    const sha = context.ticket.baseSha ?? base.sha;
    return checkRun(context, { commands, baseline: baselineAt(context, repo.path, sha) }, worktree.path, base.name, {});
  },

  async settle(context, spec, exit): Promise<TicketEvent> {
    const common = commonEnding(context, exit);
    if (common) return common;
    const facts = await branchFacts(context);
    const outcome = await checkOutcome(context, spec, exit);
    if (outcome) return { ...outcome, ...facts };
    return passedRun(context, { output: excerpt(exit.stdoutTail), ...facts }, exit.stdoutTail, spec.cwd);
  },
};

/** The run of a set of checks in a folder. */
export function checkRun(
  context: PhaseContext<PhaseOf<"checks" | "merge">>,
  order: CheckOrder,
  cwd: string,
  base: string,
  data: Record<string, unknown>,
): Start {
  const env = childEnvironment(context, phaseVariables(context, { base }), { kind: "checks" });
  const argv = [context.self.node, context.self.checksRunner, context.runDir];
  return programStart(context, env, { argv, cwd, data: { ...data, checks: order } });
}

/** Where failing checks are tried on the commit before the change; beside the ticket's worktree, so that relative paths still lead somewhere. */
export function baselineAt(context: PhaseContext, repo: string, sha: string): CheckOrder["baseline"] {
  const { resolved, lockDir, config } = context;
  return {
    repo,
    sha,
    worktree: `${resolved.worktree}.before`,
    lockDir,
    cacheDir: join(config.home, "cache", "checks"),
    dependenciesOf: resolved.worktree,
  };
}

/** The failure that the checks amount to; undefined when they passed. Clears away where they were tried before the change. */
export async function checkOutcome(
  context: PhaseContext,
  spec: RunSpec,
  exit: ExitRecord,
): Promise<Extract<TicketEvent, { type: "failed" }> | undefined> {
  const { baseline } = spec.data.checks as CheckOrder;
  if (baseline) {
    await removeIntegrationWorktree({ repo: await openRepo(baseline.repo), lockDir: baseline.lockDir, path: baseline.worktree });
  }
  if (exit.exitCode === 0) return undefined;
  if (exit.exitCode !== 1) return { ...failedRun(context, exit, "The checks could not be run"), category: "environment" };
  const report = JSON.parse(readFileSync(join(context.runDir, "checks.json"), "utf8")) as CheckReport;
  const failing = report.checks.filter((check) => report.newFailures.includes(check.name));
  const feedback = failing
    .map((check) => `${check.name} fails (${check.command.join(" ")}, exit code ${check.exitCode ?? check.signal}):\n${check.tail.trim()}`)
    .join("\n\n");
  return {
    type: "failed",
    at: context.now(),
    runId: context.ref.runId,
    // Nothing that an agent changes makes a program appear that is not installed.
    category: failing.every(couldNotRun) ? "environment" : "test",
    reason: `New failures in ${report.newFailures.join(", ")}.`,
    feedback,
    output: excerpt(exit.stdoutTail),
  };
}
