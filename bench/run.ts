/** Measures what docs/benchmarks.md tells: `node bench/run.ts [--write] [name…]`. Needs a built dist/. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { agentOverhead } from "./agent-overhead.ts";
import { checkoutGuard } from "./checkout-guard.ts";
import { commit } from "./commit.ts";
import type { Figure } from "./figure.ts";
import { root } from "./home.ts";
import { idleDaemon } from "./idle-daemon.ts";
import { interactive } from "./interactive.ts";
import { load } from "./load.ts";
import { describeMachine, tableOf, writeFigures } from "./page.ts";
import { phaseOverhead } from "./phase-overhead.ts";
import { recovery } from "./recovery.ts";
import { slowAgents } from "./slow-agents.ts";
import { soak } from "./soak.ts";
import { startTime } from "./start-time.ts";
import { worktrees } from "./worktrees.ts";

const benchmarks: Record<string, () => Promise<Figure[]>> = {
  "start-time": startTime,
  interactive,
  "phase-overhead": phaseOverhead,
  "agent-overhead": agentOverhead,
  commit,
  recovery,
  "checkout-guard": checkoutGuard,
  load,
  // Last of the short ones: the disk is busy for a while with their 20,000 files.
  worktrees,
  "idle-daemon": idleDaemon,
  "slow-agents": slowAgents,
  soak,
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: "boolean", default: false } } });
const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
const unknown = names.filter((name) => !(name in benchmarks));
if (unknown.length > 0) throw new Error(`there is no ${unknown.join(", ")}; there are ${Object.keys(benchmarks).join(", ")}`);
if (!existsSync(join(root, "dist", "cli.js"))) throw new Error("dist/ is missing: node tools/build.ts makes it");

console.log(describeMachine());
for (const name of names) {
  process.stderr.write(`${name}…\n`);
  const figures = (await benchmarks[name]?.()) ?? [];
  console.log(`\n${tableOf(figures)}`);
  if (values.write) writeFigures(name, `pnpm run bench ${name}`, figures);
  if (figures.some(({ ok }) => ok === false)) process.exitCode = 1;
}
