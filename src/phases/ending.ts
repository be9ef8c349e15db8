import { adapterFor } from "../agents/adapters.ts";
import type { TicketEvent } from "../domain/event.ts";
import type { ExitRecord } from "../domain/run.ts";
import type { PhaseContext } from "./phase.ts";

const excerptLimit = 4096;

/**
 * The ends that mean the same for every phase: stopped by us, timed out, silent, never started, killed from outside.
 * Undefined when the program ended by itself and its phase has to say what that means.
 */
export function commonEnding(context: PhaseContext, exit: ExitRecord): TicketEvent | undefined {
  const { runId } = context.ref;
  const at = context.now();
  const session = exit.agent?.session ? { session: exit.agent.session } : {};
  const nudge = exit.agent?.session ? { nudge: true } : {};
  const output = excerpt(exit.stderrTail || exit.stdoutTail);
  if (exit.survivors.length > 0) {
    return {
      type: "faulted",
      at,
      runId,
      reason: `Processes of the run would not die: ${exit.survivors.join(", ")}. End them, then retry.`,
    };
  }
  switch (exit.end) {
    case "stopped":
      return { type: "interrupted", at, runId, reason: "It was stopped.", ...session };
    case "timeout": {
      const reason = `It took longer than ${seconds(exit)} s.`;
      return { type: "failed", at, runId, category: "timeout", reason, output, ...session, ...nudge };
    }
    case "idle":
      return {
        type: "failed",
        at,
        runId,
        category: "stalled",
        reason: `It was silent for too long (${exit.message ?? "no output"}).`,
        output,
        ...session,
        ...nudge,
      };
    case "stuck":
      return {
        type: "failed",
        at,
        runId,
        category: "stuck",
        reason: `${exit.message ?? "It went in circles"}.`,
        output,
        ...session,
        ...nudge,
      };
    case "output_limit":
      return {
        type: "failed",
        at,
        runId,
        category: "stuck",
        reason: exit.message ?? "It wrote more output than allowed.",
        output,
        ...session,
      };
    case "spawn_failed": {
      const said = exit.message ?? "the program could not be started";
      if (context.phase.type !== "agent") return { type: "faulted", at, runId, reason: `${said}.` };
      const { agent, config } = context;
      // It was there a moment ago.
      const isMissing = /was not found on PATH|^\S+ does not exist$/.test(said);
      const install = adapterFor(config.agents[agent]?.command ?? "", agent).probing?.install;
      const fix = `${isMissing && install !== undefined ? `install it (${install}), or ` : ""}correct its command`;
      if (isMissing) return unusableProgram(context, { message: said, hint: fix });
      return { type: "faulted", at, runId, reason: `${said}. To go on: ${fix} (agents.${agent} in ${config.file}).` };
    }
    case "result":
    case "budget":
      return undefined;
    case "exited":
      break;
  }
  // A signal we did not send (the OOM killer's, say) is no verdict on the work.
  if (exit.signal !== null) return { type: "lost", at, runId, reason: `It was killed by ${exit.signal}.`, ...session };
  return undefined;
}

/** An agent's program that is missing or incompatible: nobody's work, and no ticket's fault. */
export function unusableProgram(
  { agent, config, ref, now }: Pick<PhaseContext, "agent" | "config" | "ref" | "now">,
  { message, hint }: { message: string; hint: string },
): Extract<TicketEvent, { type: "failed" }> {
  const reason = `Agent "${agent}": ${message}. To go on: ${hint} (agents.${agent} in ${config.file}).`;
  return { type: "failed", at: now(), runId: ref.runId, category: "incompatible", agent, reason, provider: { program: true } };
}

/** A failure with what the program said last as its reason and feedback. */
export function failedRun(context: PhaseContext, exit: ExitRecord, what: string): Extract<TicketEvent, { type: "failed" }> {
  const said = excerpt(exit.stderrTail.trim() || exit.stdoutTail.trim());
  const reason = said === "" ? what : `${what}: ${lastLine(said)}`;
  return {
    type: "failed",
    at: context.now(),
    runId: context.ref.runId,
    category: "unknown",
    reason,
    feedback: said || what,
    output: excerpt(exit.stdoutTail),
  };
}

/** At most 4 KiB of a text, its head and its tail, for the history. */
export function excerpt(text: string): string {
  if (text.length <= excerptLimit) return text;
  const half = excerptLimit / 2;
  return `${text.slice(0, half)}\n[… ${text.length - excerptLimit} characters …]\n${text.slice(-half)}`;
}

/** What was said last. Our own commands end with an error and the hint to it, which belong together. */
function lastLine(text: string): string {
  const lines = text.trimEnd().split("\n");
  const from = lines.at(-1)?.startsWith("hint: ") ? lines.findLastIndex((line) => line.startsWith("error: ")) : -1;
  return lines.slice(from).join(" ").slice(0, 500);
}

function seconds(exit: ExitRecord): number {
  return Math.round(exit.durationMs / 1000);
}
