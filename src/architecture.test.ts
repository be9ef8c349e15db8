import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "./testing/temp.ts";

const root = dirname(import.meta.dirname);

/** A file of one line, and what Biome has to say about it: nothing, or the rule and the words of ours that come with it. */
interface Line {
  path: string;
  text: string;
  rule?: string;
  message?: string;
}

const facts = "Facts come in the event, actions leave as effects.";
const domainOnly = "domain/ is vocabulary; it imports zod only.";
const belowOnly = "may import what lies below it; never commands/, app.ts, cli.ts or testing/.";

/** Who may import what, and what each folder is told that imports more. */
const mayImport: Record<string, { good: string[]; bad: Record<string, string> }> = {
  domain: {
    good: ["zod", "./ticket.ts"],
    bad: { "../lib/a.ts": domainOnly, "../engine/a.ts": domainOnly, "../app.ts": domainOnly, "node:fs": domainOnly, yaml: domainOnly },
  },
  lib: {
    good: ["node:fs/promises", "pino", "./a.ts"],
    bad: { "../domain/a.ts": "lib/ knows nothing of ours.", "../app.ts": "lib/ knows nothing of ours." },
  },
  engine: {
    good: ["../domain/ticket.ts", "./schedule.ts"],
    bad: {
      ...refused(["lib", "views", "state", "inputs", "git", "agents", "daemon", "testing"], "engine/ decides; it may import domain/ only."),
      "../domain/../daemon/a.ts": "engine/ decides; it may import domain/ only.",
      "./../daemon/a.ts": "engine/ decides; it may import domain/ only.",
      "node:fs": facts,
      "node:fs/promises": facts,
      zod: facts,
      execa: facts,
    },
  },
  views: {
    good: ["../domain/ticket.ts", "../engine/explain.ts", "./a.ts"],
    bad: {
      ...refused(["lib", "state", "inputs", "daemon"], "views/ turn facts into rows; they may import domain/ and engine/ only."),
      "node:fs/promises": facts,
      yaml: facts,
    },
  },
  state: aboveLib("state", ["engine", "views", "inputs", "git", "agents", "phases", "daemon"]),
  inputs: aboveLib("inputs", ["engine", "views", "state", "git", "agents", "executors", "daemon"]),
  git: aboveLib("git", ["engine", "views", "state", "inputs", "agents", "phases", "daemon"]),
  agents: aboveLib("agents", ["engine", "views", "state", "inputs", "git", "executors", "daemon"]),
  trackers: aboveLib("trackers", ["engine", "views", "state", "inputs", "git", "agents", "planner", "daemon"]),
  phases: aboveAll("phases", ["executors", "daemon"]),
  executors: aboveAll("executors", ["phases", "daemon"]),
  daemon: aboveAll("daemon", ["phases", "executors"]),
  planner: aboveAll("planner", ["forge", "trackers", "phases", "executors", "daemon"]),
};

function refused(folders: string[], message: string): Record<string, string> {
  return Object.fromEntries(folders.map((folder) => [`../${folder}/a.ts`, message]));
}

function aboveLib(folder: string, others: string[]) {
  const message = `${folder}/ may import domain/ and lib/ only.`;
  return {
    good: ["../domain/a.ts", "../lib/a.ts", "./a.ts", "node:fs/promises", "zod"],
    bad: { ...refused([...others, "commands", "testing"], message), "../app.ts": message, "../cli.ts": message },
  };
}

function aboveAll(folder: string, peers: string[]) {
  const below = ["domain", "lib", "engine", "views", "state", "inputs", "git", "agents"];
  const message = `${folder}/ ${belowOnly}`;
  return {
    good: [...[...below, ...peers].map((other) => `../${other}/a.ts`), "./a.ts", "node:child_process", "execa"],
    bad: { ...refused(["commands", "testing"], message), "../app.ts": message, "../cli.ts": message },
  };
}

const importLines: Line[] = Object.entries(mayImport).flatMap(([folder, { good, bad }]) => [
  ...good.map((from, i) => ({ path: `src/${folder}/good-${i}.ts`, text: `export { x } from "${from}";` })),
  ...Object.entries(bad).map(([from, message], i) => ({
    path: `src/${folder}/bad-${i}.ts`,
    text: `export { x } from "${from}";`,
    rule: "style/noRestrictedImports",
    message,
  })),
]);

const engineGlobals: Record<string, string> = {
  "Date.now()": "Carry the time in event.at.",
  "new Date()": "Carry the time in event.at.",
  "performance.now()": "Carry the time in event.at.",
  "process.env": "Pass it in.",
  "crypto.randomUUID()": "Ids are made at the edge.",
  "setTimeout(() => {}, 1)": "Waiting is the daemon's business.",
  'fetch("http://127.0.0.1/")': "Facts come in the event.",
  globalThis: "Name the global itself, so that this list can judge it.",
};

const otherLines: Line[] = [
  ...Object.entries(engineGlobals).map(([text, message], i) => ({
    path: `src/engine/global-${i}.ts`,
    text: `export const x = () => ${text};`,
    rule: "style/noRestrictedGlobals",
    message,
  })),
  { path: "src/engine/lazy.ts", text: 'export const x = () => import("../daemon/a.ts");', rule: "style/noRestrictedImports" },
  { path: "src/engine/types.ts", text: 'export type { X } from "../daemon/a.ts";', rule: "style/noRestrictedImports" },
  { path: "src/engine/nested/deep.ts", text: 'export { x } from "../../daemon/a.ts";', rule: "style/noRestrictedImports" },
  { path: "src/engine/exempt.test.ts", text: 'export { x } from "../daemon/a.ts";' },
  { path: "src/daemon/clock.ts", text: "export const x = () => Date.now();" },
  { path: "src/commands/anything.ts", text: 'export { x } from "../testing/a.ts";' },
  { path: "src/app.ts", text: 'export { x } from "./commands/a.ts";' },
  ...["cli.ts", "commands/a.ts", "engine/says.ts", "lib/says.ts", "daemon/says.ts"].map((path) => ({
    path: `src/${path}`,
    text: 'console.error("x");',
    rule: "suspicious/noConsole",
  })),
  { path: "tools/says.ts", text: 'console.error("x");' },
  { path: "src/lib/default.ts", text: "export default 1;", rule: "style/noDefaultExport" },
  { path: "src/lib/protocol.ts", text: 'export { readFileSync } from "fs";', rule: "style/useNodejsImportProtocol" },
  {
    path: "src/lib/kind.ts",
    text: 'import { Stats } from "node:fs"; export function x(stats: Stats): Stats { return stats; }',
    rule: "style/useImportType",
  },
  { path: "src/lib/assertion.ts", text: "export const x = (y: string | null) => y!.length;", rule: "style/noNonNullAssertion" },
  {
    path: "src/daemon/chicken.ts",
    text: 'import { egg } from "../phases/egg.ts"; export const chicken = () => egg;',
    rule: "suspicious/noImportCycles",
  },
  {
    path: "src/phases/egg.ts",
    text: 'import { chicken } from "../daemon/chicken.ts"; export const egg = () => chicken;',
    rule: "suspicious/noImportCycles",
  },
];

/** What Biome, with the configuration of this project, reports about files with these contents: path → rule and text. */
function lint(lines: Line[]): Map<string, { rule: string; text: string }[]> {
  const dir = tempDir();
  for (const file of ["biome.json", ".gitignore"]) copyFileSync(join(root, file), join(dir, file));
  for (const { path, text } of lines) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), `${text}\n`);
  }
  const biome = spawnSync(join(root, "node_modules/.bin/biome"), ["lint", "--max-diagnostics=none", "--diagnostic-level=error", "."], {
    cwd: dir,
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: dir, NO_COLOR: "1" },
    maxBuffer: 64 * 1024 * 1024,
  });
  const found = new Map<string, { rule: string; text: string }[]>();
  for (const block of `${biome.stdout}\n${biome.stderr}`.split(/^(?=\S+:\d+:\d+ lint\/)/m)) {
    const header = /^(\S+?):\d+:\d+ lint\/(\S+)/.exec(block);
    if (header?.[1] && header[2]) found.set(header[1], [...(found.get(header[1]) ?? []), { rule: header[2], text: block }]);
  }
  return found;
}

describe("import and language rules", () => {
  it("fire on every bad line, with our words, and on no good one", () => {
    const lines = [...importLines, ...otherLines];
    const found = lint(lines);
    const verdict = ({ path, text, rule, message }: Line) => {
      const reports = found.get(path) ?? [];
      if (rule === undefined) return reports.length === 0 ? [] : [`${path}: ${text} is fine, but Biome says ${reports[0]?.text}`];
      const report = reports.find((one) => one.rule === rule);
      if (!report) return [`${path}: ${text} should be caught by ${rule}`];
      return message === undefined || report.text.includes(message) ? [] : [`${path}: ${rule} says ${report.text} instead of "${message}"`];
    };
    expect(lines.flatMap(verdict)).toEqual([]);
  });

  it("cover every folder of src", () => {
    const free = ["commands", "testing"];
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
    expect(folders.filter((folder) => !free.includes(folder) && !(folder in mayImport))).toEqual([]);
  });
});

/** Source files of the program itself, relative to the project: no tests, nothing that only tests use. */
function programSources(): string[] {
  return globSync("src/**/*.ts", { cwd: root })
    .filter((file) => !file.endsWith(".test.ts") && !file.startsWith("src/testing/"))
    .sort();
}

/** `file:line  text` of each line of these files that matches. */
function linesMatching(files: string[], pattern: RegExp): string[] {
  return files.flatMap((file) =>
    readFileSync(join(root, file), "utf8")
      .split("\n")
      .flatMap((line, i) => (pattern.test(line) ? [`${file}:${i + 1}  ${line.trim()}`] : [])),
  );
}

describe("the sources", () => {
  it("P3 run git in src/git/ alone, where its environment is made safe", () => {
    const elsewhere = programSources().filter((file) => !file.startsWith("src/git/"));
    const spawnsGit = /\b(?:execa\w*|spawn(?:Sync)?|exec(?:File)?(?:Sync)?)\(\s*["'`]git\b|\$(?:\([^)]*\))?`git\b/;
    expect(["execa('git', [])", 'spawn("git")', "$`git status`", 'execFileSync("git", a)'].every((line) => spawnsGit.test(line))).toBe(
      true,
    );
    expect(linesMatching(elsewhere, spawnsGit)).toEqual([]);
  });

  it("P4 take files, branches and saved work away in few places", () => {
    // The last one brings back the checkout of a person, at that person's request.
    const owners = ["src/git/discard.ts", "src/git/worktree-removal.ts", "src/git/checkout-restore.ts"];
    const destructive =
      /"reset",|"clean",|"read-tree", "--reset"|"(?:checkout|switch)", .*"(?:-f|--force|-B)"|"worktree", "(?:remove|prune|move)"|"branch", "-[dDfM]|"update-ref",.* "-d"|\["stash"|"push", .*"--(?:force|delete)/;
    const samples = [
      'git(wt, ["reset", "--hard"])',
      'git(wt, ["clean", "-fd"])',
      'git(wt, ["checkout", "--quiet", "-B", b])',
      'git(repo, ["worktree", "remove", p])',
      'git(repo, ["branch", "-D", b])',
      'git(repo, ["update-ref", "-d", ref])',
    ];
    expect(samples.filter((line) => !destructive.test(line))).toEqual([]);
    const others = programSources().filter((file) => !owners.includes(file));
    expect(linesMatching(others, destructive)).toEqual([]);
    // Beside trash: temporary folders, the trace that a run of an agent leaves, the secrets that its program was given, plans
    // that were not written to their end, and what a planning session lays out for its program.
    const treeOwners = [
      ...["src/git/trash.ts", "src/lib/temp-dir.ts", "src/phases/checkout-guard.ts", "src/phases/private-files.ts"],
      ...["src/state/new-plan.ts", "src/planner/session.ts", "src/commands/interactive.ts"],
    ];
    const trees = others.filter((file) => !treeOwners.includes(file));
    expect(linesMatching(trees, /\brm(?:Sync)?\(.*recursive|\brimraf\b|"rm", "-|\["-rf/)).toEqual([]);
    const callers = programSources().filter((file) => readFileSync(join(root, file), "utf8").includes('/discard.ts"'));
    expect(callers).toEqual(["commit", "worktree-pool", "worktree-removal", "worktree"].map((name) => `src/git/${name}.ts`));
  });

  it("P2 hold no randomness in the engine", () => {
    const engine = programSources().filter((file) => file.startsWith("src/engine/"));
    expect(linesMatching(engine, /Math\.random|\beval\(|new Function\(/)).toEqual([]);
  });

  it("import from the file that defines a thing, not from an index", () => {
    const indexes = globSync("src/**/index.ts", { cwd: root }).filter((file) => file !== "src/commands/index.ts");
    expect(linesMatching(indexes, /^export .* from "/)).toEqual([]);
    expect(linesMatching(programSources(), /^export \* from/)).toEqual([]);
  });

  it("mention no path of the machine they were written on", () => {
    const written = ["src", "bin", "tools", "bench", "scripts", "prompts", "workflows", "docs", ".ci"];
    const files = written
      .flatMap((folder) => globSync(`${folder}/**/*.{ts,js,mjs,json,yaml,yml,md,sh}`, { cwd: root }))
      .filter((file) => !file.includes("/fixtures/"));
    const machinePath = /(?<![\w.}\])*])\/(?:work|root)\/[\w.-]|\/(?:home|Users)\/(?!you\b|me\b|user\b|dev\b)[a-z][\w-]*\//;
    const samples = ["work/x", "root/.config", "home/alex/x", "Users/alex/x"].map((path) => `cd /${path}`);
    expect(samples.every((line) => machinePath.test(line))).toBe(true);
    expect(linesMatching(files, machinePath)).toEqual([]);
  });

  it("keep build results out of the repository", () => {
    const tracked = existsSync(join(root, ".git"))
      ? execFileSync("git", ["ls-files", "dist", "node_modules"], { cwd: root, encoding: "utf8" })
      : "";
    expect(tracked).toBe("");
  });
});
