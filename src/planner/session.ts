import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Config } from "../domain/config.ts";
import { suggestion, UserError } from "../domain/errors.ts";
import { plannerPrompt } from "../inputs/planner-prompt.ts";
import { plannerSkills, type Skill, skillIndex } from "../inputs/skills.ts";
import { listWorkflows } from "../inputs/workflows.ts";
import { repoAround, reposBelow } from "./find-repos.ts";
import type { Readable } from "./readable.ts";
import type { Bench, PlanTool } from "./tool.ts";
import { planTools } from "./tools.ts";

/** How many repositories of a workspace a prompt names. */
const mostListed = 50;

/** What a person or a script asked for. */
export interface SessionChoice {
  repo?: string | undefined;
  workflow?: string | undefined;
  worktreeRoot?: string | undefined;
  /** A persona of the prompts. */
  role?: string | undefined;
  isInteractive: boolean;
  isApproved: boolean;
  /** Whether the agent has to be told of the skills in the prompt, because it takes none by itself. */
  listsSkills: boolean;
  /** What is planned and done, for a prompt that nobody can ask about. */
  state?: string | undefined;
  maxTickets?: number | undefined;
}

/** A planning session before it has an agent: the same prompt, skills and tools whoever plans. */
export interface PlannerSession {
  bench: Bench;
  prompt: string;
  skills: readonly Skill[];
  tools: readonly PlanTool[];
  readable: Readable;
  repositories: readonly string[];
  /** What programs of the session find in their environment. */
  env: Record<string, string>;
  /** Removes the files that were made for the session. */
  dispose(): void;
}

/** Makes a session ready. UserError for a repository, workflow or role that does not exist, and for a missing prompt. */
export function openSession(choice: SessionChoice, world: Omit<Bench, "person" | "approved" | "signal">): PlannerSession {
  const { config } = world;
  const cwd = sessionFolder(choice, world.cwd);
  checkWorkflowName(choice.workflow, config);
  const worktreeRoot = choice.worktreeRoot === undefined ? undefined : resolve(world.cwd, choice.worktreeRoot);
  const repo = choice.repo === undefined ? repoAround(cwd) : cwd;
  const repositories = repo === undefined ? reposBelow(cwd) : [repo];
  const skills = plannerSkills(config.skillsDirs);
  const text = plannerPrompt(config.promptDirs, {
    cwd,
    repo,
    workflow: choice.workflow,
    worktreeRoot,
    interactive: choice.isInteractive,
    approved: choice.isApproved,
    maxConcurrency: config.maxConcurrency,
    phaseTimeoutSeconds: config.phaseTimeoutSeconds,
    budgetUsdPerDay: config.budgetUsdPerDay,
    maxTickets: choice.maxTickets,
    state: choice.state,
    role: choice.role,
    ...(choice.listsSkills && skills.length > 0 ? { skills: skillIndex(skills) } : {}),
  });
  const made = temporaryFolder();
  const folderOf = (kind: string, dirs: readonly string[]) => oneFolder(dirs, () => join(made.path(), kind));
  const env: Record<string, string> = {
    ORCHESTRATOR_MODE: "plan",
    ORCHESTRATOR_STATE_DIR: config.stateDir,
    ORCHESTRATOR_WORKFLOW_DIR: folderOf("workflows", config.workflowDirs),
    ORCHESTRATOR_SKILLS_DIR: folderOf("skills", config.skillsDirs),
    ORCHESTRATOR_PROMPT_DIR: folderOf("prompts", config.promptDirs),
    ORCHESTRATOR_SCRIPT_DIR: folderOf("scripts", config.scriptDirs),
    ORCHESTRATOR_CONFIG_PATH: config.file,
    ORCHESTRATOR_REPO: repo ?? cwd,
    ...(choice.workflow === undefined ? {} : { ORCHESTRATOR_WORKFLOW: choice.workflow }),
    ...(worktreeRoot === undefined ? {} : { ORCHESTRATOR_WORKTREE_ROOT: worktreeRoot }),
  };
  return {
    bench: { ...world, cwd, ...(choice.isApproved ? { approved: true as const } : {}) },
    prompt: `${text.trimEnd()}\n${repositoriesText(repositories, repo)}`,
    skills,
    tools: planTools,
    readable: {
      folders: [...new Set([...(repo === undefined ? [] : [cwd]), ...repositories, ...readableInputs(config), config.stateDir])],
      ...(repo === undefined ? { workspace: cwd } : {}),
    },
    repositories,
    env,
    dispose: made.dispose,
  };
}

function sessionFolder({ repo }: SessionChoice, cwd: string): string {
  if (repo === undefined) return cwd;
  const folder = resolve(cwd, repo);
  const around = existsSync(folder) ? repoAround(folder) : undefined;
  if (around !== undefined) return around;
  throw new UserError(`${folder} is not in a git repository.`, {
    exit: "notFound",
    hint: "name the folder of a repository, or leave --repo out to plan for a whole workspace",
  });
}

function checkWorkflowName(name: string | undefined, config: Config): void {
  if (name === undefined) return;
  const names = listWorkflows(config.workflowDirs, { check: () => [] }).map((each) => each.name);
  if (names.includes(name)) return;
  throw new UserError(`There is no workflow "${name}"${suggestion(name, names)}.`, {
    exit: "notFound",
    hint: `known: ${names.join(", ")}`,
  });
}

function readableInputs({ skillsDirs, promptDirs, workflowDirs, scriptDirs }: Config): string[] {
  return [...skillsDirs, ...promptDirs, ...workflowDirs, ...scriptDirs].filter((dir) => existsSync(dir));
}

function repositoriesText(repositories: readonly string[], repo: string | undefined): string {
  if (repo !== undefined || repositories.length === 0) return "";
  const lines = repositories.slice(0, mostListed).map((path) => `- \`${path}\``);
  const left = repositories.length - lines.length;
  if (left > 0) lines.push(`- and ${left} more, which \`list_repositories\` names`);
  return `\n## Repositories of this workspace\n\n${lines.join("\n")}\n`;
}

/** The one folder of a search path that holds anything, else one in which the files of all are linked, by precedence. */
function oneFolder(dirs: readonly string[], place: () => string): string {
  const filled = dirs.filter((dir) => namesIn(dir).length > 0);
  const [only, ...more] = filled;
  if (only === undefined || more.length === 0) return only ?? dirs[0] ?? "";
  const merged = place();
  mkdirSync(merged, { recursive: true });
  const taken = new Set<string>();
  for (const dir of filled) {
    for (const name of namesIn(dir)) {
      if (taken.has(name)) continue;
      taken.add(name);
      symlinkSync(join(dir, name), join(merged, name));
    }
  }
  return merged;
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).filter((name) => !name.startsWith("."));
  } catch {
    return [];
  }
}

/** A folder of the session's own, made when it is first needed. */
function temporaryFolder() {
  let path: string | undefined;
  return {
    path(): string {
      path ??= mkdtempSync(join(tmpdir(), "orchestrator-plan-"));
      return path;
    },
    dispose(): void {
      if (path !== undefined) rmSync(path, { recursive: true, force: true });
    },
  };
}
