import { readdirSync } from "node:fs";
import { join } from "node:path";
import { suggestion, UserError } from "../domain/errors.ts";
import { renderPrompt } from "./prompts.ts";

/** What `planner.md` can read. Absent values are empty in the template, so that it can test them. */
export interface PlannerFacts {
  /** Where the session was started. */
  cwd: string;
  repo?: string | undefined;
  workflow?: string | undefined;
  worktreeRoot?: string | undefined;
  /** A person is at the other end. */
  interactive: boolean;
  /** Somebody has said yes beforehand: what is written is no draft. */
  approved: boolean;
  maxConcurrency: number;
  phaseTimeoutSeconds: number;
  budgetUsdPerDay?: number | undefined;
  /** How many tickets this round may plan. */
  maxTickets?: number | undefined;
  /** What is planned, done and failed, as bounded text. */
  state?: string | undefined;
  /** The index of skills, for agents that take none by themselves. */
  skills?: string | undefined;
  /** A persona: a file of `personas/` without its ending. */
  role?: string | undefined;
}

/** The system prompt of a planner: `planner.md` of the search path. An unknown role, and errors of a template, are a UserError. */
export function plannerPrompt(promptDirs: readonly string[], facts: PlannerFacts): string {
  const { role, ...rest } = facts;
  const variables = { repo: "", workflow: "", worktreeRoot: "", budgetUsdPerDay: "", maxTickets: 0, state: "", skills: "", ...given(rest) };
  const persona = role === undefined ? "" : renderPrompt(promptDirs, personaFile(promptDirs, role), variables).trim();
  return renderPrompt(promptDirs, "planner.md", { ...variables, persona });
}

/** The roles that a planner can take: the files of `personas/` in the search path. */
export function plannerRoles(promptDirs: readonly string[]): string[] {
  const names = promptDirs.flatMap((dir) => {
    try {
      return readdirSync(join(dir, "personas")).filter((name) => name.endsWith(".md") && !name.startsWith("."));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  });
  return [...new Set(names)].map((name) => name.slice(0, -".md".length)).toSorted();
}

function personaFile(promptDirs: readonly string[], role: string): string {
  const roles = plannerRoles(promptDirs);
  if (roles.includes(role)) return `personas/${role}.md`;
  throw new UserError(`There is no role "${role}"${suggestion(role, roles)}.`, {
    exit: "notFound",
    hint: roles.length === 0 ? `make one: ${join(promptDirs[0] ?? "", "personas", `${role}.md`)}` : `known: ${roles.join(", ")}`,
  });
}

function given(facts: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}
