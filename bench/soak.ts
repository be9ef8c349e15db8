import { setTimeout as delay } from "node:timers/promises";
import { type Figure, informing, limited, median } from "./figure.ts";
import { withHome } from "./home.ts";
import { addTalkingWorkflow, agents, openFiles, rssMiB } from "./load.ts";

const minutes = 10;
const warmUpMinutes = 2;

/** Whether a daemon that works for ten minutes holds on to memory or files. */
export async function soak(): Promise<Figure[]> {
  return withHome({ pollInterval: 0.1 }, async (home) => {
    addTalkingWorkflow(home);
    home.addPlan("plan", { workflow: "talk", tickets: 3000 });
    const daemon = await home.startDaemon(["--concurrency", String(agents)]);
    await delay(warmUpMinutes * 60_000);
    const memory: number[] = [];
    const files: number[] = [];
    for (let second = warmUpMinutes * 60; second < minutes * 60; second++) {
      memory.push(rssMiB(daemon));
      files.push(openFiles(daemon));
      await delay(1000);
    }
    await daemon.stop("SIGINT");
    const [firstMiB, lastMiB] = [median(memory.slice(0, 60)), median(memory.slice(-60))];
    const [firstFiles, lastFiles] = [median(files.slice(0, 60)), median(files.slice(-60))];
    const done = home.log().filter(({ msg }) => msg.startsWith("passed second")).length;
    return [
      informing("Tickets completed", done, "tickets"),
      limited(
        "Memory: the last minute's median above the third's",
        Math.max(0, lastMiB - firstMiB),
        30,
        "MiB",
        ` (${firstMiB.toFixed(0)} → ${lastMiB.toFixed(0)} MiB)`,
      ),
      limited(
        "Open files: the last minute's median above the third's",
        Math.max(0, lastFiles - firstFiles),
        5,
        "files",
        ` (${firstFiles} → ${lastFiles})`,
      ),
    ];
  });
}
