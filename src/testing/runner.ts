import { readFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Opened, openRunner } from "../daemon/open.ts";
import type { Ticket, TicketStatus } from "../domain/ticket.ts";
import { loadConfig } from "../inputs/config.ts";
import { createLogger } from "../lib/logger.ts";
import { builtPrograms, type TestHome } from "./home.ts";
import { until } from "./until.ts";

/** Opens a runner over a test home, in this process; it is closed with the test. */
export async function testRunner(
  home: TestHome,
): Promise<Opened & { settle(planId: string, statuses: Partial<Record<string, TicketStatus>>, timeoutMs?: number): Promise<void> }> {
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const log = createLogger({
    file: `${config.logDir}/orchestrator.log`,
    console: process.env.TEST_LOG === "1",
    level: "debug",
    secrets: [],
  });
  const opened = await openRunner({
    config,
    log,
    env: home.env,
    version: "0.0.0-test",
    housekeepingDelayMs: 500,
    self: builtPrograms(),
  });
  onTestFinished(async () => {
    opened.runner.setDispatching(false);
    await opened.runner.stopRuns();
    await opened.runner.quiet();
    await opened.close();
  });
  return {
    ...opened,
    /** Ticks until the tickets have these statuses; says what they have when they never do. */
    async settle(planId, statuses, timeoutMs = 50_000) {
      // Undefined while it is being replaced: by this very process, so that waiting for it here would last for ever.
      const ticketOf = (id: string): Ticket | undefined => {
        try {
          return JSON.parse(readFileSync(join(home.home, "state", "plans", planId, "tickets", `${id}.json`), "utf8"));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
          throw error;
        }
      };
      const now = () => Object.fromEntries(Object.keys(statuses).map((id) => [id, ticketOf(id)?.status]));
      const ended = ["complete", "failed", "needs_attention", "skipped", "cancelled"];
      const reached = async () => {
        await opened.runner.tick();
        const found = Object.entries(now());
        return found.every(([id, status]) => status === statuses[id]) || found.every(([, status]) => ended.includes(status ?? ""));
      };
      await until(reached, timeoutMs).catch(() => undefined);
      if (Object.entries(now()).some(([id, status]) => status !== statuses[id])) {
        const shown = Object.keys(statuses).map((ticketId) => {
          const { status, currentPhase, error } = ticketOf(ticketId) ?? {};
          return { ticketId, status, currentPhase, error };
        });
        throw new Error(`expected ${JSON.stringify(statuses)}, found ${JSON.stringify(shown, null, 1)}`);
      }
    },
  };
}
