import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openIndex } from "../src/state/index.ts";
import { type Figure, limited, median, quantile } from "./figure.ts";
import { type BenchHome, ticketId, until, withHistory, withHome } from "./home.ts";
import { rssMiB } from "./load.ts";

const total = 10_000;
const ticksWanted = 100;

/** What a daemon costs that has 10,000 tickets and nothing to do. */
export async function idleDaemon(): Promise<Figure[]> {
  return [...(await idle("in one plan", 1)), ...(await idle("in 100 plans", 100))];
}

async function idle(where: string, plans: number): Promise<Figure[]> {
  return withHome({ pollInterval: 0.1 }, async (home) => {
    await fill(home, plans);
    const began = Date.now();
    const daemon = await home.startDaemon([], { ORCHESTRATOR_LOG_LEVEL: "debug" });
    const ticks = () => home.log().filter(({ msg }) => msg === "tick");
    await until(() => ticks().length > 0);
    const startMs = Date.parse(ticks()[0]?.time ?? "") - began;
    // The first poll after a start looks at what is younger than its own files' times can tell.
    await until(() => ticks().length > 30);
    const before = ticks().length;
    await until(() => ticks().length >= before + ticksWanted);
    const times = ticks()
      .slice(before)
      .map(({ ms }) => ms ?? Number.NaN);
    const rss = rssMiB(daemon);
    await daemon.stop();
    const opened = await filesOpened(home);
    const name = `10,000 idle tickets ${where}:`;
    return [
      limited(`${name} a tick`, median(times), 5, "ms", ` (p99 ${quantile(times, 0.99).toFixed(1)} ms)`),
      opened === undefined
        ? { what: `${name} files read by 50 ticks`, measured: "not measured, strace is missing" }
        : limited(`${name} state files opened by 50 ticks`, opened, 0, "files"),
      limited(`${name} start until the first tick is over`, startMs / 1000, 2, "s"),
      limited(`${name} memory of the daemon`, rss, 250, "MiB"),
    ];
  });
}

/** A held ticket blocks the others of its plan; every fourth plan, or ticket where there is one plan, has been worked before. */
async function fill(home: BenchHome, plans: number): Promise<void> {
  const perPlan = total / plans;
  for (let plan = 0; plan < plans; plan++) {
    const hold = { by: "bench", at: "2026-01-01T00:00:00.000Z", reason: "an idle world" };
    home.addPlan(`plan-${plan}`, {
      workflow: "local",
      tickets: perPlan,
      blockedBy: (position) => (position === 0 ? [] : [ticketId(0)]),
      ticket: (position) => (position === 0 ? { activity: { state: "queued" }, status: "paused", hold } : {}),
    });
  }
  const index = openIndex(home.stateDir, { writer: true });
  for (const [planId, { tickets }] of index.plans) {
    let position = 0;
    for (const { ticket } of tickets.values()) {
      if (ticket && ticket.hold === null && position++ % 4 === 0) await index.commit(planId, { ...ticket, ...withHistory() });
    }
  }
  index.close();
}

/** How many files of the state a daemon opens while it looks 50 times at a world that does not change. */
async function filesOpened(home: BenchHome): Promise<number | undefined> {
  if (spawnSync("strace", ["-V"]).status !== 0) return undefined;
  const trace = join(home.dir, "trace");
  const daemon = await home.startDaemon([], { ORCHESTRATOR_LOG_LEVEL: "debug" }, [
    "strace",
    "-f",
    "-tt",
    "-e",
    "trace=openat,open",
    "-o",
    trace,
  ]);
  const ticks = () => home.log().filter(({ msg }) => msg === "tick").length;
  const first = ticks();
  await until(() => ticks() >= first + 40);
  await delay(100);
  const skip = readFileSync(trace, "utf8").length;
  const from = ticks();
  await until(() => ticks() >= from + 50);
  const lines = readFileSync(trace, "utf8").slice(skip).split("\n");
  await daemon.stop();
  rmSync(trace);
  return lines.filter((line) => line.includes(`${home.stateDir}/plans/`) && !line.includes("O_DIRECTORY")).length;
}
