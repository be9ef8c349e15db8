import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A git command that a program ran, as git's own trace tells it. */
export interface TracedCommand {
  argv: string[];
  /** The work tree of the repository it worked on; null when it found none. */
  worktree: string | null;
}

/** More commands than this are not recorded: git stops by itself and the run goes on. */
const mostCommands = 1000;

/** The environment that makes git note every command in a folder, one file each; where it cannot write, it goes on in silence. */
export function traceVariables(dir: string): Record<string, string> {
  return { GIT_TRACE2_EVENT: dir, GIT_TRACE2_MAX_FILES: String(mostCommands), GIT_TRACE2_EVENT_NESTING: "1", GIT_TRACE2_EVENT_BRIEF: "1" };
}

/** The commands noted in a folder that may have changed something, in their order; those that other git commands started are left out. */
export async function writingCommands(dir: string): Promise<TracedCommand[]> {
  const found: TracedCommand[] = [];
  // A file is called after its process and the time it started.
  for (const name of (await readdir(dir).catch(() => [])).sort()) {
    const command = commandOf(await readFile(join(dir, name), "utf8").catch(() => ""));
    if (command && !readers.has(verbOf(command.argv))) found.push(command);
  }
  return found;
}

/** The verb of a git command line, e.g. "reset". */
export function verbOf(argv: readonly string[]): string {
  for (let i = 1; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env"].includes(word)) i++;
    else if (!word.startsWith("-")) return word;
  }
  return "";
}

function commandOf(text: string): TracedCommand | undefined {
  let argv: string[] | undefined;
  let worktree: string | null = null;
  for (const line of text.split("\n")) {
    if (!/"event":"(start|def_repo)"/.test(line)) continue;
    let event: { event?: string; sid?: string; argv?: unknown; worktree?: unknown };
    try {
      event = JSON.parse(line);
    } catch {
      continue;
    }
    // A session id with a slash is that of a command which another one started.
    if (event.event === "start" && Array.isArray(event.argv) && !event.sid?.includes("/")) argv = event.argv.map(String);
    if (event.event === "def_repo" && typeof event.worktree === "string") worktree ??= event.worktree;
  }
  return argv && { argv, worktree };
}

/** Commands that change nothing in whatever form. */
const readers = new Set([
  "",
  "status",
  "log",
  "diff",
  "show",
  "rev-parse",
  "rev-list",
  "ls-files",
  "ls-tree",
  "ls-remote",
  "cat-file",
  "blame",
  "grep",
  "describe",
  "shortlog",
  "for-each-ref",
  "show-ref",
  "merge-base",
  "diff-tree",
  "diff-index",
  "diff-files",
  "name-rev",
  "version",
  "help",
  "check-ignore",
  "check-attr",
  "hash-object",
  "var",
]);
