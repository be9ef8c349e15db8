import * as z from "zod";
import { Effort } from "./config.ts";
import { FailureCategory } from "./failure.ts";
import { maxSkills } from "./ticket.ts";
import { maxSeconds } from "./time.ts";

const Seconds = z.number().positive().max(maxSeconds);

export const PhaseId = z.string().regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/, {
  error: "a phase id starts with a letter and has at most 64 letters, digits, dots, dashes or underscores",
});

/**
 * What a phase leaves for later ones: `stdout` is its output, `{field: x}` a field of the JSON in its output,
 * a list a command run in the worktree, and any other string the same through `bash -c` (never with a template in it).
 */
export const Capture = z.union([z.strictObject({ field: z.string().min(1) }), z.array(z.string()).min(1), z.string().min(1)]);
export type Capture = z.infer<typeof Capture>;

const everyPhase = {
  id: PhaseId,
  description: z.string().optional(),
};

const everyStep = {
  ...everyPhase,
  onSuccess: z.string().nullish(),
  onFailure: z.string().nullish(),
  on: z.partialRecord(FailureCategory, z.string()).optional(),
  maxRetries: z.number().int().min(0).max(100).default(0),
  maxVisits: z.number().int().min(1).max(1000).optional(),
  timeoutSeconds: Seconds.optional(),
};

const everyRun = {
  ...everyStep,
  maxLost: z.number().int().min(0).max(100).default(3),
  idleTimeoutSeconds: Seconds.optional(),
  capture: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), Capture).optional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()).optional(),
};

const ScriptPhase = z.strictObject({
  ...everyRun,
  type: z.literal("script"),
  command: z.string().min(1),
  args: z.array(z.string()).default([]),
});

const AgentPhase = z.strictObject({
  ...everyRun,
  type: z.literal("agent"),
  promptTemplate: z.string().min(1),
  agent: z.string().nullish(),
  /** Who works in its place while it is parked; without it, those that the configuration names. */
  fallbackAgents: z.array(z.string().min(1)).optional(),
  model: z.string().nullish(),
  effort: Effort.nullish(),
  allowedTools: z.array(z.string()).optional(),
  maxTurns: z.number().int().positive().nullish(),
  /** The agent may look but not change: any difference it leaves fails the phase and is taken back. */
  readOnly: z.boolean().default(false),
  /** `required`: a run that leaves no new change fails. */
  changes: z.enum(["required", "allowed"]).default("allowed"),
  scope: z.strictObject({ allow: z.array(z.string()).optional(), deny: z.array(z.string()).optional() }).optional(),
  /** In which form the final message must hold a verdict; without it a bare PASS or FAIL is still heeded. */
  verdict: z.enum(["json", "passfail", "steps"]).optional(),
  /**
   * In which conversation it works: `resume:<phase>` goes on in that phase's, `new` begins one whenever an earlier run came to
   * its end. Absent: a new one at first, its own again when the phase runs again.
   */
  session: z
    .string()
    .regex(/^(new|resume:[A-Za-z][A-Za-z0-9_.-]{0,63})$/, { error: 'expected "new" or "resume:<phase>"' })
    .optional(),
  /** The JSON Schema that the final message has to satisfy, as JSON and nothing else. */
  outputSchema: z.record(z.string(), z.unknown()).optional(),
  /** Skills whose text its prompt holds, besides those of the ticket. */
  skills: z.array(z.string().min(1)).max(maxSkills).optional(),
  /** What one run may cost before it is stopped and fails, in USD. */
  budgetUsd: z.number().positive().optional(),
  /** The same in tokens: input, output, cache reads and cache writes together. */
  budgetTokens: z.number().int().positive().optional(),
});

const PollPhase = z.strictObject({
  ...everyRun,
  type: z.literal("poll"),
  command: z.string().min(1),
  args: z.array(z.string()).default([]),
  intervalSeconds: Seconds.optional(),
  /** How long one check may take; `timeoutSeconds` bounds the whole wait. */
  checkTimeoutSeconds: Seconds.default(60),
});

const CommandLine = z.union([z.string().min(1), z.array(z.string()).min(1)]);

const ChecksPhase = z.strictObject({
  ...everyRun,
  type: z.literal("checks"),
  /** Name → command. Without it: the plan's, the configuration's, else what the repository's package.json offers. */
  commands: z.record(z.string(), CommandLine).optional(),
});

const MergePhase = z.strictObject({
  ...everyRun,
  type: z.literal("merge"),
  commands: z.record(z.string(), CommandLine).optional(),
});

const GatePhase = z.strictObject({
  ...everyStep,
  type: z.literal("gate"),
  message: z.string().optional(),
  /** What happens when nobody answers within `timeoutSeconds`. */
  default: z.enum(["approve", "reject"]).default("reject"),
});

const WaitPhase = z.strictObject({
  ...everyPhase,
  type: z.literal("wait"),
  seconds: Seconds,
  onSuccess: z.string().nullish(),
  maxVisits: z.number().int().min(1).max(1000).optional(),
});

const WorkflowPhase = z.strictObject({
  ...everyPhase,
  type: z.literal("workflow"),
  workflow: z.string().min(1),
  with: z.record(z.string(), z.string()).default({}),
  onSuccess: z.string().nullish(),
  onFailure: z.string().nullish(),
});

const TerminalPhase = z.strictObject({
  ...everyPhase,
  type: z.literal("terminal"),
  /** false: the ticket is complete. true: it needs a person, who is notified. */
  notify: z.boolean().default(false),
});

export const Phase = z.discriminatedUnion("type", [
  ScriptPhase,
  AgentPhase,
  PollPhase,
  ChecksPhase,
  MergePhase,
  GatePhase,
  WaitPhase,
  WorkflowPhase,
  TerminalPhase,
]);
export type Phase = z.infer<typeof Phase>;
export type PhaseOf<T extends Phase["type"]> = Extract<Phase, { type: T }>;
/** A phase that starts a program. */
export type RunPhase = PhaseOf<"script" | "agent" | "poll" | "checks" | "merge">;

export const WorkflowFile = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
    error: "a workflow name has at most 64 letters, digits, dashes or underscores",
  }),
  description: z.string().default(""),
  tags: z.array(z.string()).default([]),
  /** Values that `with:` of an including phase may replace; templates read them as `params.<name>`. */
  params: z.record(z.string(), z.string()).default({}),
  phases: z.array(Phase).min(1),
});
export type WorkflowFile = z.infer<typeof WorkflowFile>;

/** The phases that are left once every `workflow` phase is replaced by the phases it names. */
export type FlatPhase = Exclude<Phase, { type: "workflow" }> & {
  /** What `params.<name>` means inside this phase. */
  params?: Record<string, string>;
};

/** A workflow as the engine walks it: its first phase is where a ticket starts. */
export interface Workflow {
  name: string;
  description: string;
  tags: string[];
  phases: FlatPhase[];
}

/** Reserved edge target: run the same phase again, as `maxRetries` allows. */
export const retryEdge = "retry";

/** How often a phase may be entered unless its `maxVisits` says otherwise. */
export const defaultMaxVisits = 5;

/** The phase in whose conversation an agent's phase goes on; undefined when it names none. */
export function resumedPhase(session: string | undefined): string | undefined {
  return session?.startsWith(resumePrefix) ? session.slice(resumePrefix.length) : undefined;
}

/** What stands before the phase's id in `session: resume:<phase>`. */
export const resumePrefix = "resume:";

/** The phase with this id, or undefined. */
export function phaseById(workflow: Workflow, id: string): FlatPhase | undefined {
  return workflow.phases.find((phase) => phase.id === id);
}
