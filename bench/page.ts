import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { type Figure, format, median } from "./figure.ts";

/** What was measured last of one benchmark. */
interface Measured {
  date: string;
  machine: string;
  command: string;
  figures: Figure[];
}

/** The titles of docs/benchmarks.md, by benchmark, in the order in which they appear, and how each is measured. */
const sections: Record<string, { title: string; method: string }> = {
  "start-time": { title: "Starting", method: "Median of 20 starts, interleaved with `node -e 0`." },
  interactive: {
    title: "Planning",
    method:
      "Median of 7 starts of `orchestrator interactive` in a terminal, until its prompt can be seen: without MCP servers, and with five that never answer.",
  },
  "phase-overhead": { title: "A phase", method: "Scripts that do nothing; what the script itself takes is not counted." },
  "agent-overhead": {
    title: "A phase of an agent",
    method:
      "Medians of 10 runs of the real CLIs against a model server on this machine, and of 10 of the same command lines alone. With a model that answers at once the limit is 150 ms; with one that takes as long as real ones do at least, also a tenth of the CLI's own time.",
  },
  commit: { title: "A commit", method: "Revisions of one ticket, one after the other, durably." },
  recovery: {
    title: "Recovery",
    method: "The daemon is killed amid its work; from the start of the next one until it has taken up everything.",
  },
  "checkout-guard": {
    title: "Watching over your checkout",
    method:
      "A checkout is looked at again and again; and a real daemon works plans beside a checkout that somebody is in the middle of changing, with agents that reset, switch, stash, commit, delete and configure in it.",
  },
  load: {
    title: "A busy daemon",
    method: "500 tickets, 20 runs at once, each of a program that prints for two seconds; looks every 100 ms, and after each change.",
  },
  worktrees: {
    title: "Worktrees",
    method: "20,000 files; medians of 3 rounds, in each of which a plain `git worktree add`, a new worktree and a reused one take turns.",
  },
  "idle-daemon": {
    title: "An idle daemon",
    method: "A daemon that looks every 100 ms at 10,000 tickets that cannot start; files opened are counted by strace.",
  },
  chaos: {
    title: "The fault campaign",
    method: "What is done, and what counts as a violation, is in [reliability.md](reliability.md). A row sums up all homes of a mode.",
  },
  "slow-agents": {
    title: "Slow agents",
    method:
      "Two daemons with 50 agents each, all at once, while a program per core computes without end. Each agent is silent for 20 s before its first word and for 20 s while a tool works; 5 s of silence are allowed.",
  },
  soak: {
    title: "Ten minutes of work",
    method: "As the busy daemon, for ten minutes; sampled every second from the end of the second minute.",
  },
};

const resultsFile = join(import.meta.dirname, "figures.json");
const pageFile = join(import.meta.dirname, "..", "docs", "benchmarks.md");

/** A Markdown table of figures. */
export function tableOf(figures: readonly Figure[]): string {
  const rows = figures.map(({ what, measured, limit, ok }) => [what, `${measured}${ok === false ? " **missed**" : ""}`, limit ?? ""]);
  return [["What", "Measured", "Limit"], ["---", "---", "---"], ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** This machine and how busy it is, in one line. */
export function describeMachine(): string {
  const [cpu] = cpus();
  return [
    `${cpus().length} × ${cpu?.model.trim() || process.arch}`,
    `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    `${process.platform} ${release()}`,
    `node ${process.version}`,
    execFileSync("git", ["--version"], { encoding: "utf8" }).trim(),
    `a synced write ${format(syncMs(), "ms")}`,
    `load ${(loadavg()[0] ?? 0).toFixed(1)}`,
  ].join(", ");
}

/** What the disk takes to keep one small file, on which every commit waits several times. */
function syncMs(): number {
  const folder = mkdtempSync(join(tmpdir(), "orch-bench-sync-"));
  try {
    const times = Array.from({ length: 30 }, (_, i) => {
      const began = performance.now();
      writeFileSync(join(folder, String(i)), "x".repeat(4000), { flush: true });
      return performance.now() - began;
    });
    return median(times);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Notes what a benchmark measured and how to measure it again, and writes docs/benchmarks.md anew. */
export function writeFigures(name: string, command: string, figures: Figure[]): void {
  const results: Record<string, Measured> = existsSync(resultsFile) ? JSON.parse(readFileSync(resultsFile, "utf8")) : {};
  results[name] = { date: new Date().toISOString().slice(0, 10), machine: describeMachine(), command, figures };
  writeFileSync(resultsFile, `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync(pageFile, pageOf(results));
}

function pageOf(results: Record<string, Measured>): string {
  const written = Object.entries(sections).flatMap(([name, { title, method }]) => {
    const parts = Object.entries(results).filter(([key]) => key === name || key.startsWith(`${name}-`));
    if (parts.length === 0) return [];
    const sources = parts.map(([, { date, machine, command }]) => `Measured ${date} by \`${command}\` on: ${machine}.`);
    return [`## ${title}\n\n${method}\n\n${tableOf(parts.flatMap(([, { figures }]) => figures))}\n\n${sources.join("\n\n")}`];
  });
  return `# Benchmarks

\`pnpm run bench --write [name…]\` measures these figures and writes this page. Each runs the built program in a home of its
own below the system's temporary folder, with durable writes on. The numbers are of one machine on one day; the limits hold
for a machine with two cores and a local disk. How each is measured is in \`bench/\`, one file each.

${written.join("\n\n")}
`;
}
