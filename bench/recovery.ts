import { type Figure, informing } from "./figure.ts";
import { addNoopWorkflow, ticketId, withHome } from "./home.ts";

const tickets = 500;

/** How soon a daemon is ready again whose predecessor was killed in the middle of its work. */
export async function recovery(): Promise<Figure[]> {
  return withHome({}, async (home) => {
    addNoopWorkflow(home, "three", 3);
    home.addPlan("plan", { workflow: "three", tickets });
    const first = await home.startDaemon(["--concurrency", "16"]);
    await home.complete("plan", ticketId(100));
    await first.stop("SIGKILL");
    const second = await home.startDaemon(["--concurrency", "16"]);
    await home.complete("plan", ticketId(150));
    await second.stop();
    return [informing(`Ready again after kill -9 amid ${tickets} tickets, 16 of them running`, second.readyMs, "ms")];
  });
}
