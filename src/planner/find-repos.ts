import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Config } from "../domain/config.ts";
import { readPlans } from "./read-plans.ts";

/** How far below a workspace a repository is looked for. */
const deepest = 3;
/** Folders that are looked into at most, so that a session in the home folder starts at once. */
const mostFolders = 2000;
const neverLookedInto = new Set(["node_modules", "vendor", "target", "dist", "build", "Library", "__pycache__"]);

/** A repository that a plan could be about. */
export interface FoundRepo {
  path: string;
  /** Ids of plans that name it. */
  plans: string[];
}

/** The repository that `cwd` lies in, those below it, and those of plans; nearest first. */
export function findRepos(cwd: string, config: Config): FoundRepo[] {
  const plansOf = new Map<string, string[]>();
  for (const { plan, tickets } of readPlans(config).plans.values()) {
    for (const repo of new Set([plan.repo, ...[...tickets.values()].map((ticket) => ticket.repo)])) {
      if (repo !== null) plansOf.set(repo, [...(plansOf.get(repo) ?? []), plan.id]);
    }
  }
  const own = repoAround(cwd);
  const paths = new Set([...(own === undefined ? [] : [own]), ...reposBelow(cwd), ...plansOf.keys()]);
  return [...paths].map((path) => ({ path, plans: plansOf.get(path) ?? [] }));
}

/** The repository that a folder lies in, for a worktree the one that it belongs to; undefined when it lies in none. */
export function repoAround(start: string): string | undefined {
  for (let dir = start; ; dir = dirname(dir)) {
    const repo = isRepo(dir) ? dir : repoOfWorktree(dir);
    if (repo !== undefined) return repo;
    if (dirname(dir) === dir) return undefined;
  }
}

/** The repositories at or below a folder. Breadth first, so that the nearest ones are found where there are too many folders. */
export function reposBelow(root: string): string[] {
  const found: string[] = [];
  const queue = [{ dir: root, depth: 0 }];
  let looked = 0;
  for (let next = queue.shift(); next !== undefined && looked < mostFolders; next = queue.shift()) {
    looked += 1;
    const { dir, depth } = next;
    if (isRepo(dir)) {
      found.push(dir);
      continue;
    }
    if (depth < deepest) queue.push(...foldersIn(dir).map((name) => ({ dir: join(dir, name), depth: depth + 1 })));
  }
  return found;
}

function foldersIn(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith(".") && !neverLookedInto.has(entry.name))
      .map(({ name }) => name)
      .sort();
  } catch {
    // What cannot be read holds nothing that could be planned for.
    return [];
  }
}

function isRepo(dir: string): boolean {
  return existsSync(join(dir, ".git", "HEAD"));
}

/** The repository that a linked worktree belongs to, if both say so: a `.git` file alone could name any. */
function repoOfWorktree(dir: string): string | undefined {
  try {
    const [, path = ""] = /^gitdir: (.+)$/m.exec(readFileSync(join(dir, ".git"), "utf8")) ?? [];
    const gitDir = resolve(dir, path);
    const [, repo] = /^(.+)\/\.git\/worktrees\/[^/]+$/.exec(gitDir) ?? [];
    return repo !== undefined && resolve(gitDir, readFileSync(join(gitDir, "gitdir"), "utf8").trim()) === join(dir, ".git")
      ? repo
      : undefined;
  } catch {
    // No worktree.
    return undefined;
  }
}
