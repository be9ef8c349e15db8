/** Measures what docs/benchmarks.md promises: `node bench/run.ts [--write] [name…]`. Needs a built dist/. */
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { commit } from "./commit.ts";
import type { Figure } from "./figure.ts";
import { root } from "./home.ts";
import { idleDaemon } from "./idle-daemon.ts";
import { phaseOverhead } from "./phase-overhead.ts";
import { recovery } from "./recovery.ts";
import { startTime } from "./start-time.ts";

const benchmarks: Record<string, () => Promise<Figure[]>> = {
  "start-time": startTime,
  "phase-overhead": phaseOverhead,
  commit,
  recovery,
  // Last: the disk is busy for a while with its 20,000 files.
  "idle-daemon": idleDaemon,
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: "boolean", default: false } } });
const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
const unknown = names.filter((name) => !(name in benchmarks));
if (unknown.length > 0) throw new Error(`there is no ${unknown.join(", ")}; there are ${Object.keys(benchmarks).join(", ")}`);
if (values.write && positionals.length > 0) throw new Error("docs/benchmarks.md is written whole: leave the names out");
if (!existsSync(join(root, "dist", "cli.js"))) throw new Error("dist/ is missing: node tools/build.ts makes it");

const loadBefore = loadavg();
const rows: [string, string, string][] = [];
let failed = false;
for (const name of names) {
  process.stderr.write(`${name}…\n`);
  for (const { what, measured, limit, ok } of (await benchmarks[name]?.()) ?? []) {
    const mark = ok === undefined ? "" : ok ? "" : " **missed**";
    failed ||= ok === false;
    rows.push([what, measured + mark, limit ?? ""]);
  }
}
const table = [["What", "Measured", "Limit"], ["---", "---", "---"], ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
console.log(`${machine()}\n\n${table}`);
if (values.write) writeFileSync(join(root, "docs", "benchmarks.md"), page());
process.exitCode = failed ? 1 : 0;

function machine(): string {
  const [cpu] = cpus();
  const load = [loadBefore, loadavg()].map(([minute = 0]) => minute.toFixed(1)).join(" before, ");
  return [
    `${cpus().length} × ${cpu?.model.trim() || process.arch}`,
    `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    `${process.platform} ${release()}`,
    `node ${process.version}`,
    execFileSync("git", ["--version"], { encoding: "utf8" }).trim(),
    `load ${load} after`,
  ].join(", ");
}

function page(): string {
  return `# Benchmarks

\`pnpm run bench --write\` measures these figures and writes this page. Each runs the built program in a home of its own
below the system's temporary folder, with durable writes on. The numbers are of one machine on one day; the limits hold for
a machine with two cores and a local disk.

Measured ${new Date().toISOString().slice(0, 10)} on: ${machine()}.

${table}

How they are measured is in \`bench/\`, one file each: \`start-time\` (median of 20, interleaved with \`node -e 0\`),
\`idle-daemon\` (a real daemon that looks every 100 ms; files opened are counted by strace), \`phase-overhead\` (scripts that do
nothing; what the script itself takes is not counted), \`commit\` and \`recovery\`.
`;
}
