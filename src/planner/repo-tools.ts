import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join, matchesGlob, relative, resolve } from "node:path";
import * as z from "zod";
import { mayRead, type Readable, refusal } from "./readable.ts";
import type { PlanTool, ToolAnswer } from "./tool.ts";

/** Bounds of one search: it answers within a second or two, and within what a model can read. */
const mostEntries = 50_000;
const mostResults = 200;
const largestFile = 1024 * 1024;
const longestLine = 300;
const passedOver = new Set([".git", "node_modules"]);

const FindInput = z.strictObject({
  glob: z.string().min(1).max(500).describe("a glob, e.g. src/**/*.test.ts; matched against paths relative to the folder"),
  folder: z.string().optional().describe("where to look; the folder of this session when absent"),
});

const SearchInput = z.strictObject({
  text: z.string().min(1).max(500).describe("the text to look for, as it stands"),
  glob: z.string().min(1).max(500).optional().describe("only in files with such a path"),
  folder: z.string().optional().describe("where to look; the folder of this session when absent"),
  ignoreCase: z.boolean().default(false),
});

/**
 * Tools that look through files without any other program: PI's own need fd and ripgrep, and git would do what a repository's
 * configuration says. They stay within what the session may read.
 */
export function repoTools(readable: Readable): PlanTool[] {
  const find: PlanTool<z.infer<typeof FindInput>> = {
    name: "find_files",
    description: "Finds files by a glob. node_modules and .git are passed over.",
    input: FindInput,
    readOnly: true,
    async run({ glob, folder = "." }, { cwd, signal }) {
      const root = resolve(cwd, folder);
      if (!mayRead(readable, root)) return { ok: false, text: refusal(readable, root) };
      const { paths, cut } = walk(root, readable, signal);
      const found = paths.filter((path) => matchesGlob(path, glob) || matchesGlob(path, `**/${glob}`));
      return results(found, cut, "no file matches");
    },
  };
  const search: PlanTool<z.infer<typeof SearchInput>> = {
    name: "search_files",
    description: "Finds the lines that hold a text, as path:line: text. node_modules, .git, binary and very large files are passed over.",
    input: SearchInput,
    readOnly: true,
    async run({ text, glob, folder = ".", ignoreCase }, { cwd, signal }) {
      const root = resolve(cwd, folder);
      if (!mayRead(readable, root)) return { ok: false, text: refusal(readable, root) };
      const { paths, cut } = walk(root, readable, signal);
      const wanted = ignoreCase ? text.toLowerCase() : text;
      const found: string[] = [];
      for (const path of paths) {
        if (signal?.aborted || found.length > mostResults) break;
        if (glob !== undefined && !matchesGlob(path, glob) && !matchesGlob(path, `**/${glob}`)) continue;
        const lines = textOf(join(root, path))?.split("\n") ?? [];
        for (const [i, line] of lines.entries()) {
          if ((ignoreCase ? line.toLowerCase() : line).includes(wanted))
            found.push(`${path}:${i + 1}: ${line.trim().slice(0, longestLine)}`);
        }
      }
      return results(found, cut, "no line holds it");
    },
  };
  return [find as PlanTool, search as PlanTool];
}

function results(found: readonly string[], cut: boolean, nothing: string): ToolAnswer {
  const shown = found.slice(0, mostResults);
  const notes = [
    ...(found.length > shown.length ? [`(the first ${mostResults}; narrow it down for others)`] : []),
    ...(cut ? [`(only the first ${mostEntries} files were looked at; name a folder)`] : []),
  ];
  return { ok: true, text: [...(shown.length > 0 ? shown : [nothing]), ...notes].join("\n") };
}

/** Paths of the files below a folder, sorted, relative to it. Links are passed over: they may lead anywhere. */
function walk(root: string, readable: Readable, signal: AbortSignal | undefined): { paths: string[]; cut: boolean } {
  const paths: string[] = [];
  const folders = [root];
  for (let dir = folders.pop(); dir !== undefined; dir = folders.pop()) {
    if (signal?.aborted) break;
    for (const entry of entriesOf(dir)) {
      if (passedOver.has(entry.name)) continue;
      const path = join(dir, entry.name);
      if (entry.name.startsWith(".") && !mayRead(readable, path)) continue;
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) paths.push(relative(root, path));
      if (paths.length >= mostEntries) return { paths: paths.toSorted(), cut: true };
    }
  }
  return { paths: paths.toSorted(), cut: false };
}

function entriesOf(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch {
    return [];
  }
}

function textOf(file: string): string | undefined {
  try {
    if (statSync(file).size > largestFile) return undefined;
    const text = readFileSync(file, "utf8");
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}
