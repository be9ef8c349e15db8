import { spawnSync } from "node:child_process";
import { openIndex } from "../src/state/index.ts";
import { type Figure, format, limited, median } from "./figure.ts";
import { type BenchHome, program, ticketId, withHistory, withHome } from "./home.ts";

const tickets = 100;
const rounds = 20;

/** How long the commands that people wait for take, as multiples of a Node process that does nothing. */
export async function startTime(): Promise<Figure[]> {
  return withHome({}, async (home) => {
    home.addPlan("auth", { workflow: "local", tickets });
    await giveHistory(home);
    const commands = { node: ["-e", "0"], version: [program, "--version"], status: [program, "status"] };
    const times: Record<string, number[]> = { node: [], version: [], status: [] };
    // Interleaved, so that a busy moment of the machine slows all of them; the first round fills caches and does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const [name, argv] of Object.entries(commands)) {
        const began = performance.now();
        const { status, stderr } = spawnSync(process.execPath, argv, { env: home.env, encoding: "utf8" });
        if (status !== 0) throw new Error(`${argv.join(" ")} ended with ${status}: ${stderr}`);
        if (round > 0) times[name]?.push(performance.now() - began);
      }
    }
    const [node, version, status] = ["node", "version", "status"].map((name) => median(times[name] ?? [])) as [number, number, number];
    const against = (value: number) => ` (${format(value, "ms")} against ${format(node, "ms")} of \`node -e 0\`)`;
    return [
      limited("`orchestrator --version`", version / node, 2, "×", against(version)),
      limited(`\`orchestrator status\` of ${tickets} tickets`, status / node, 3.5, "×", against(status)),
    ];
  });
}

/** Most tickets of a plan under way have been committed some times. */
async function giveHistory({ stateDir }: BenchHome): Promise<void> {
  const index = openIndex(stateDir, { writer: true });
  for (let position = 0; position < tickets; position++) {
    const activity =
      position < tickets / 2
        ? { state: "finished" as const, outcome: "complete" as const, at: "2026-01-01T11:00:00.000Z" }
        : { state: "ready" as const, cause: "next" as const };
    for (let revision = 0; revision < 8; revision++) {
      const ticket = index.plans.get("auth")?.tickets.get(ticketId(position))?.ticket;
      if (ticket) await index.commit("auth", { ...ticket, ...withHistory(), activity });
    }
  }
  index.close();
}
