import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Figure, informing, limited, median, quantile } from "./figure.ts";
import { type BenchHome, type Daemon, ticketId, withHome } from "./home.ts";

const tickets = 500;
/** Runs at once. */
export const agents = 20;

/** What a daemon costs that has 500 tickets and 20 runs, and how soon its successor is ready when it is killed. */
export async function load(): Promise<Figure[]> {
  return withHome({ pollInterval: 0.1 }, async (home) => {
    addTalkingWorkflow(home);
    home.addPlan("plan", { workflow: "talk", tickets });
    const debug = { ORCHESTRATOR_LOG_LEVEL: "debug" };
    const first = await home.startDaemon(["--concurrency", String(agents)], debug);
    await home.complete("plan", ticketId(100));
    const times = tickTimes(home);
    const memory = rssMiB(first);
    await first.stop("SIGKILL");
    const second = await home.startDaemon(["--concurrency", String(agents)], debug);
    await home.complete("plan", ticketId(140));
    await second.stop("SIGINT");
    return [
      limited(
        `A tick with ${tickets} tickets and ${agents} runs, p99`,
        quantile(times, 0.99),
        50,
        "ms",
        ` (median ${median(times).toFixed(1)} ms)`,
      ),
      limited("Ready again after kill -9", second.readyMs / 1000, 1, "s"),
      informing("Memory of the daemon", memory, "MiB"),
    ];
  });
}

/** A workflow whose two phases each print for two seconds. */
export function addTalkingWorkflow(home: BenchHome): void {
  const script = '#!/bin/bash\nfor i in {1..20}; do echo "line $i of what an agent says"; sleep 0.1; done\n';
  writeFileSync(join(home.dir, "home", "scripts", "talk.sh"), script, { mode: 0o700 });
  const phases = [
    { id: "first", type: "script", command: "talk.sh", onSuccess: "second" },
    { id: "second", type: "script", command: "talk.sh", onSuccess: "complete" },
    { id: "complete", type: "terminal" },
  ];
  writeFileSync(join(home.dir, "home", "workflows", "talk.yaml"), JSON.stringify({ name: "talk", phases }));
}

/** How long each look of the daemon took, in milliseconds. */
function tickTimes(home: BenchHome): number[] {
  return home.log().flatMap(({ msg, ms }) => (msg === "tick" && ms !== undefined ? [ms] : []));
}

/** Resident memory of a daemon. */
export function rssMiB({ pid }: Daemon): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

/** Open files of a daemon. */
export function openFiles({ pid }: Daemon): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
