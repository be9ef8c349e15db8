import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import type { TicketEvent } from "../domain/event.ts";
import { createLocalExecutor } from "../executors/local.ts";
import { createLogger } from "../lib/logger.ts";
import { makeTicket } from "../testing/builders.ts";
import { tempDir } from "../testing/temp.ts";
import { createRuns } from "./runs.ts";

it("P12 what a daemon that died had written for a run that it never submitted goes before the run is called over", async () => {
  const dir = tempDir();
  const at = "2026-11-21T12:00:00.000Z";
  const ref = { planId: "plan", ticketId: "t1", runId: "0001-work" };
  const secrets = join(dir, "private");
  mkdirSync(secrets);
  writeFileSync(join(secrets, "mcp-0.sh"), "export TOKEN='secret'\n");
  const executor = createLocalExecutor(() => dir);
  onTestFinished(() => executor.close());
  const heard: { event: TicketEvent; secretsAreThere: boolean }[] = [];
  const runs = createRuns({
    executor,
    log: createLogger({ file: join(dir, "log"), console: false, level: "error", secrets: [] }),
    now: () => at,
    ticketOf: () => makeTicket({ activity: { state: "running", runId: ref.runId, since: at } }),
    contextOf: () => {
      throw new Error("nothing of this run is started or settled");
    },
    runDirOf: () => dir,
    report: async (_ref, event) => {
      heard.push({ event, secretsAreThere: existsSync(secrets) });
    },
    onSettled: () => {},
  });
  await runs.takeUp(ref);
  const event = { type: "interrupted", at, runId: ref.runId, reason: "It was never started." };
  expect(heard).toEqual([{ event, secretsAreThere: false }]);
});
