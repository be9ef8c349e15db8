import { openIndex } from "../src/state/index.ts";
import { type Figure, informing, quantile } from "./figure.ts";
import { ticketId, withHistory, withHome } from "./home.ts";

const commits = 500;

/** How long it takes until a ticket's new state is on disk for good and its public file shows it. */
export async function commit(): Promise<Figure[]> {
  return withHome({}, async ({ addPlan, stateDir }) => {
    addPlan("plan", { workflow: "local", tickets: 1 });
    const index = openIndex(stateDir, { writer: true });
    const times: number[] = [];
    for (let n = 0; n < commits; n++) {
      const ticket = index.plans.get("plan")?.tickets.get(ticketId(0))?.ticket;
      if (!ticket) throw new Error("the ticket is gone");
      const began = performance.now();
      await index.commit("plan", { ...ticket, ...withHistory() });
      times.push(performance.now() - began);
    }
    index.close();
    return [
      informing("Commit of a ticket, median", quantile(times, 0.5), "ms"),
      informing("Commit of a ticket, p99", quantile(times, 0.99), "ms"),
    ];
  });
}
