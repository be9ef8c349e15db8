import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord } from "../domain/run.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { renderString } from "../inputs/prompts.ts";
import { requireInPath } from "../inputs/search-path.ts";
import { passedRun } from "./capture.ts";
import { commonEnding, excerpt, failedRun } from "./ending.ts";
import { childEnvironment } from "./environment.ts";
import type { PhaseContext, PhaseHandler, Start } from "./phase.ts";
import { programStart } from "./program-start.ts";
import { phaseVariables } from "./variables.ts";
import { baseOf, branchFacts, folderOf, repositoryOf } from "./workspace.ts";

/** Exit code by which a script says: not possible now, try again later (EX_TEMPFAIL). */
const tryLater = 75;

/** Runs a bash script of the search path with rendered arguments, never through a shell string. */
export const script: PhaseHandler<PhaseOf<"script">> = {
  start: startScript,

  async settle(context, _spec, exit): Promise<TicketEvent> {
    const common = commonEnding(context, exit);
    if (common) return common;
    if (exit.exitCode === tryLater) return pending(context, exit, lastLine(exit));
    if (exit.exitCode !== 0)
      return {
        ...failedRun(context, exit, `${context.phase.command} ended with exit code ${exit.exitCode}`),
        ...(await branchFacts(context)),
      };
    return passedScript(context, exit);
  },
};

/** Runs a script until it says that what it waits for has come: 0 done, 1 not yet, 75 not now, anything else failed. */
export const poll: PhaseHandler<PhaseOf<"poll">> = {
  start: startScript,

  async settle(context, _spec, exit): Promise<TicketEvent> {
    // A check that hangs is not an answer: look again, the phase's own window bounds it.
    if ((exit.end === "timeout" || exit.end === "idle") && exit.survivors.length === 0) {
      return pending(context, exit, `the check did not end within ${context.phase.checkTimeoutSeconds} s`);
    }
    const common = commonEnding(context, exit);
    if (common) return common;
    if (exit.exitCode === 1 || exit.exitCode === tryLater) return pending(context, exit, lastLine(exit));
    if (exit.exitCode !== 0)
      return {
        ...failedRun(context, exit, `${context.phase.command} ended with exit code ${exit.exitCode}`),
        ...(await branchFacts(context)),
      };
    return passedScript(context, exit);
  },
};

async function startScript(context: PhaseContext<PhaseOf<"script" | "poll">>): Promise<Start> {
  const { phase, config, resolved } = context;
  const needsBase = [...phase.args, ...Object.values(phase.env ?? {})].some((text) => /\bbase\b/.test(text));
  const base = needsBase ? (await baseOf(context, await repositoryOf(context))).name : (resolved.baseBranch ?? "");
  const variables = phaseVariables(context, { base });
  const args = phase.args.map((arg, i) => renderString(arg, variables, `args[${i}] of phase "${phase.id}"`));
  const env = childEnvironment(context, variables, { kind: "script" });
  const argv = ["/bin/bash", requireInPath(config.scriptDirs, phase.command, "script"), ...args];
  return programStart(context, env, { argv, cwd: folderOf(context) });
}

function pending({ now, ref }: PhaseContext, { durationMs }: ExitRecord, reason: string | undefined): TicketEvent {
  return { type: "pending", at: now(), runId: ref.runId, durationMs, ...(reason ? { reason } : {}) };
}

function lastLine(exit: ExitRecord): string | undefined {
  return (exit.stdoutTail || exit.stderrTail).trim().split("\n").at(-1)?.slice(0, 200);
}

async function passedScript(context: PhaseContext, exit: ExitRecord): Promise<TicketEvent> {
  return passedRun(context, { output: excerpt(exit.stdoutTail), ...(await branchFacts(context)) }, exit.stdoutTail, folderOf(context));
}
