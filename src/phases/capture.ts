import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { execa } from "execa";
import type { RunFacts, TicketEvent } from "../domain/event.ts";
import type { Capture } from "../domain/workflow.ts";
import { killTree } from "../executors/process-tree.ts";
import { renderString } from "../inputs/prompts.ts";
import { createRedactor, secretValues } from "../lib/redact.ts";
import { childEnvironment } from "./environment.ts";
import type { PhaseContext } from "./phase.ts";
import { phaseVariables } from "./variables.ts";

const valueLimit = 32 * 1024;

/** The captured values, or what kept one from being captured. */
type Captured = { values: Record<string, string> } | { problem: string };

/** The event of a run that did its work: passed, once its captures are taken too; a capture that fails, fails the phase. */
export async function passedRun(context: PhaseContext, facts: RunFacts, output: string, cwd: string): Promise<TicketEvent> {
  const news = { at: context.now(), runId: context.ref.runId, ...facts };
  const taken = await capture(context, output, cwd);
  if ("problem" in taken) return { type: "failed", category: "environment", reason: taken.problem, ...news };
  return { type: "passed", ...news, captured: { ...facts.captured, ...taken.values } };
}

/**
 * Takes a phase's captures. `output` is what `stdout` means: a script's standard output, an agent's final message.
 * A command runs in `cwd` and must exit 0 within a minute; a value longer than 32 KiB is refused, not cut.
 */
async function capture(context: PhaseContext, output: string, cwd: string): Promise<Captured> {
  const values: Record<string, string> = {};
  for (const [name, rule] of Object.entries(context.phase.capture ?? {})) {
    const taken = await take(context, rule, output, cwd);
    if ("problem" in taken) return { problem: `capture "${name}": ${taken.problem}` };
    if (taken.value.length > valueLimit)
      return { problem: `capture "${name}": ${taken.value.length} characters are more than the ${valueLimit} allowed` };
    values[name] = taken.value;
  }
  return { values };
}

/** Only what the output itself holds: what a failed phase can still hand on. */
export function captureOutput(context: PhaseContext, output: string): Record<string, string> {
  const names = Object.entries(context.phase.capture ?? {}).filter(([, rule]) => rule === "stdout");
  return Object.fromEntries(names.map(([name]) => [name, output.trim().slice(0, valueLimit)]));
}

async function take(context: PhaseContext, rule: Capture, output: string, cwd: string): Promise<{ value: string } | { problem: string }> {
  if (rule === "stdout") return { value: output.trim() };
  if (typeof rule === "object" && !Array.isArray(rule)) return fieldOf(output, rule.field);
  const variables = phaseVariables(context, { base: context.resolved.baseBranch ?? "" });
  const env = childEnvironment(context, variables, {
    kind: context.phase.type === "script" || context.phase.type === "poll" ? "script" : "checks",
  });
  // A shell line gets the ticket's values from ORCH_* variables only; a list may name them, since nothing parses its items again.
  const [program, ...args] =
    typeof rule === "string"
      ? ["bash", "-c", rule]
      : rule.map((item) => renderString(item, variables, `capture of phase "${context.phase.id}"`));
  // Unique on this machine, so that the sweep afterwards meets nobody else's processes.
  const mark = join(context.runDir, randomUUID());
  const result = await execa(program ?? "", args, {
    cwd,
    env: { ...env, ORCH_CAPTURE: mark },
    extendEnv: false,
    reject: false,
    timeout: 60_000,
    stdin: "ignore",
    maxBuffer: 4 * valueLimit,
  });
  await killTree({ variable: `ORCH_CAPTURE=${mark}`, leader: null });
  const redact = redactor(env);
  if (result.failed) return { problem: redact(`${result.shortMessage}${result.stderr ? `: ${result.stderr.slice(-500)}` : ""}`) };
  return { value: redact(result.stdout.trim()) };
}

/** Takes secrets out of a text: what a run prints went through its shim, what a capture prints did not. */
function redactor(env: Record<string, string>): (text: string) => string {
  const redact = createRedactor(secretValues(env));
  return (text) => text.split("\n").map(redact).join("\n");
}

/** A field of the last JSON object in a text: a fenced block, or the whole text. */
function fieldOf(output: string, field: string): { value: string } | { problem: string } {
  const blocks = [...output.matchAll(/```(?:json)?\s*\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  for (const text of [output, ...blocks].reverse()) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      continue;
    }
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, field)) continue;
    const found = (value as Record<string, unknown>)[field];
    return { value: typeof found === "string" ? found : JSON.stringify(found) };
  }
  return { problem: `the output has no JSON with a field "${field}"` };
}
