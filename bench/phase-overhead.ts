import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { epochMs } from "../src/domain/time.ts";
import { type Figure, format, limited, median } from "./figure.ts";
import { addNoopWorkflow, type BenchHome, ticketId, withHome } from "./home.ts";

const phases = 20;
const walkers = 6;

/** What the runner adds to a phase: everything from the end of one script to the start of the next. */
export async function phaseOverhead(): Promise<Figure[]> {
  return [await oneByOne(), await hundredTickets()];
}

async function oneByOne(): Promise<Figure> {
  return withHome({}, async (home) => {
    addNoopWorkflow(home, "walk", phases);
    home.addPlan("walk", { workflow: "walk", tickets: walkers });
    const daemon = await home.startDaemon(["--concurrency", "1"]);
    await home.complete("walk");
    await daemon.stop();
    const walks = Array.from({ length: walkers }, (_, position) => {
      const { phaseHistory, activity } = home.ticket("walk", ticketId(position));
      const from = epochMs(phaseHistory[0]?.startedAt ?? "");
      return (epochMs(activity.state === "finished" ? activity.at : "") - from) / phases;
    });
    const bare = median(Array.from({ length: 20 }, () => timeOfScript(home)));
    const note = ` (${format(median(walks), "ms")} a phase, of which ${format(bare, "ms")} for bash itself)`;
    return limited("Overhead of a phase, one ticket at a time", median(walks) - bare, 60, "ms", note);
  });
}

function timeOfScript({ dir }: BenchHome): number {
  const began = performance.now();
  spawnSync("/bin/bash", [join(dir, "home", "scripts", "noop.sh")]);
  return performance.now() - began;
}

async function hundredTickets(): Promise<Figure> {
  const tickets = 100;
  return withHome({}, async (home) => {
    addNoopWorkflow(home, "three", 3);
    home.addPlan("many", { workflow: "three", tickets });
    const began = performance.now();
    const daemon = await home.startDaemon(["--concurrency", "4"]);
    await home.complete("many");
    const took = (performance.now() - began) / 1000;
    await daemon.stop();
    return limited(`${tickets} tickets of 3 phases, 4 at once, from the daemon's start to the end of the last`, took, 12, "s");
  });
}
