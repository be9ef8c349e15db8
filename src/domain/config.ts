import * as z from "zod";
import { FailureCategory } from "./failure.ts";
import { reactionNames } from "./reaction.ts";
import { Price } from "./session.ts";
import { ticketTypes } from "./source.ts";
import { priorities } from "./ticket.ts";
import { dayHoursPattern, maxSeconds } from "./time.ts";

/** How hard an agent is to think, in the words that most CLIs share. */
export const Effort = z.enum(["minimal", "low", "medium", "high", "xhigh", "max"]);
export type Effort = z.infer<typeof Effort>;

const CommandLine = z.union([z.string().min(1), z.array(z.string()).min(1)]);

export const AgentConfig = z.looseObject({
  command: z.string().min(1),
  defaultArgs: z.array(z.string()).default([]),
  model: z.string().optional(),
  effort: Effort.optional(),
  /** Whether a repository may have the agent's CLI run what it names (hooks, MCP servers, plugins), before anybody has read it. */
  trustRepository: z.boolean().default(false),
  /** Added to the agent's environment. `${NAME}` takes the value of NAME from the daemon's own environment. */
  env: z.record(z.string(), z.string()).default({}),
  /** Runs of this agent at once; bounded by the global maxConcurrency all the same. */
  maxConcurrency: z.number().int().min(1).max(64).optional(),
  /** Agents of one account share its limits: what parks one of them parks all. Without it the agent stands alone. */
  account: z.string().min(1).optional(),
  /** Who works in its place, the first that may, while it is parked. */
  fallbackAgents: z.array(z.string().min(1)).default([]),
});
export type AgentConfig = z.infer<typeof AgentConfig>;

/** A program that is spoken to by its stdin and stdout (`command`), or a server that is reached over HTTP (`url`). */
export const McpServerConfig = z.looseObject({
  command: z.string().min(1).optional(),
  args: z.array(z.string()).default([]),
  /** The program's variables. `${NAME}` takes the value of NAME from the daemon's own environment. */
  env: z.record(z.string(), z.string()).optional(),
  url: z.string().min(1).optional(),
  /** Sent with each request to `url`; `${NAME}` as in `env`. */
  headers: z.record(z.string(), z.string()).optional(),
});
export type McpServerConfig = z.infer<typeof McpServerConfig>;

/** What a label of imported work means for the tickets that come of it. */
const LabelRule = z.looseObject({
  type: z.enum(ticketTypes).optional(),
  priority: z.enum(priorities).optional(),
  /** A name of a workflow. */
  workflow: z.string().min(1).optional(),
});
export type LabelRule = z.infer<typeof LabelRule>;

const IsolateProcesses = z.enum(["auto", "namespace", "off"]);
export type IsolateProcesses = z.infer<typeof IsolateProcesses>;

/** config.yaml. Unknown keys are kept and reported, never fatal: a file may be older or newer than the program. */
export const ConfigFile = z.looseObject({
  defaultAgent: z.string().min(1),
  agents: z.record(z.string(), AgentConfig),
  stateDir: z.string().optional(),
  logDir: z.string().optional(),
  workflowDir: z.string().optional(),
  promptDir: z.string().optional(),
  scriptDir: z.string().optional(),
  skillsDir: z.string().optional(),
  blueprintDir: z.string().optional(),
  /** Where ticket worktrees are made for plans that name no worktreeRoot. */
  worktreeRoot: z.string().optional(),
  /** Seconds between two looks at the state directory. */
  pollInterval: z.number().min(0.05).max(3600).default(10),
  /** Runs at once over all plans. */
  maxConcurrency: z.number().int().min(1).max(64).default(3),
  /** MiB that must be free below stateDir and worktreeRoot for anything new to start; 0 asks for none. */
  minFreeMiB: z.number().int().min(0).default(512),
  /** Whether the worktree of a ticket that is done with serves later tickets of its plan. */
  reuseWorktrees: z.boolean().default(true),
  /** Days for which `gc` keeps runs and logs of plans that have ended, and worktrees of tickets that ended badly. */
  keepRunsDays: z.number().min(0).max(3650).default(30),
  /** First pause before a failed phase runs again, in seconds; it doubles with every further try. */
  retryBackoffSeconds: z.number().min(0).max(3600).default(2),
  /** What follows which kind of failure; an edge that a phase has in `on` comes first. */
  reactions: z.partialRecord(FailureCategory, z.enum(reactionNames)).default({}),
  /** Time limit of phases that name none, in seconds. */
  phaseTimeoutSeconds: z.number().positive().max(maxSeconds).default(3600),
  /** Silence limit of agent phases that name none, in seconds. */
  agentIdleTimeoutSeconds: z.number().positive().max(maxSeconds).default(1800),
  /**
   * How the processes of a run are held together. `auto`: by a pid namespace for root, by a parent that adopts orphans for
   * others. `namespace`: by a pid namespace for others, too, within a user namespace. `off`: never by a namespace.
   */
  isolateProcesses: IsolateProcesses.default("auto"),
  /** The GitHub CLI that scripts call, given to them as ORCH_GH. */
  ghCommand: z.string().default("gh"),
  /** Name → command; what `checks` and `merge` phases run when neither phase nor plan says. */
  checks: z.record(z.string(), CommandLine).optional(),
  /** What all agents may cost together from midnight to midnight (UTC), in USD. */
  budgetUsdPerDay: z.number().min(0).optional(),
  /** What a run without a budgetUsd of its phase is taken to cost before it starts, in USD; absent: the mean of earlier runs. */
  runEstimateUsd: z.number().min(0).optional(),
  /** Model → price, for models that the program does not know or that cost you something else. */
  prices: z.record(z.string(), Price).default({}),
  /** Program that is told when a ticket needs a person: JSON on stdin. */
  notifyCommand: CommandLine.optional(),
  /** Whether agents that go in circles are stopped, and those that get nowhere are nudged, begun anew and then given up. */
  progressWatch: z.enum(["on", "off"]).default("on"),
  /** How agents that wait for their provider come back: by themselves when their time has come, or by a person's command alone. */
  resumeAgents: z.enum(["auto", "manual"]).default("auto"),
  /** Hours of the day in which none of them comes back by itself, e.g. 22:00-07:00 by the clock of the machine. */
  quietHours: z.string().regex(dayHoursPattern, 'is written as "22:00-07:00"').optional(),
  /** What follows when the user's own checkout differs after an agent ran: the ticket stops, the user is told, or nobody looks. */
  checkoutGuard: z.enum(["stop", "warn", "off"]).default("stop"),
  /** Author of the runner's commits; the repository's own identity is used otherwise. */
  git: z.looseObject({ name: z.string(), email: z.string() }).optional(),
  mcpServers: z.record(z.string(), McpServerConfig).default({}),
  /** Label → what it means when work is imported, before what the program itself knows of labels. */
  importLabels: z.record(z.string(), LabelRule).default({}),
});
export type ConfigFile = z.infer<typeof ConfigFile>;

/** The named keys of a loose object: `Omit` alone would lose them in its index signature. */
type Named<T> = { [K in keyof T as string extends K ? never : K]: T[K] };

/** A configuration as the program uses it: all folders absolute, search paths in order of precedence. */
export interface Config
  extends Omit<
    Named<ConfigFile>,
    "stateDir" | "logDir" | "workflowDir" | "promptDir" | "scriptDir" | "skillsDir" | "blueprintDir" | "worktreeRoot"
  > {
  /** The file it was read from. */
  file: string;
  home: string;
  stateDir: string;
  logDir: string;
  worktreeRoot: string;
  workflowDirs: string[];
  promptDirs: string[];
  scriptDirs: string[];
  skillsDirs: string[];
  blueprintDirs: string[];
}
