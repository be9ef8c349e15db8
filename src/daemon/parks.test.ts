import { expect, it } from "vitest";
import type { Park } from "../domain/park.ts";
import { loadConfig } from "../inputs/config.ts";
import { createLogger } from "../lib/logger.ts";
import { writeParks } from "../state/parks.ts";
import { makeTicket } from "../testing/builders.ts";
import { testHome } from "../testing/home.ts";
import { openParks } from "./parks.ts";

const at = "2026-11-21T12:00:00.000Z";
const later = "2026-11-21T12:10:00.000Z";

it("a run that was served counts once, whatever keeps its news from being committed the first time", async () => {
  const home = testHome();
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const park: Park = {
    category: "rate_limit",
    reason: "slow down",
    agent: "none",
    ticket: "p/t1",
    since: at,
    at,
    until: at,
    times: 1,
    limit: 1,
  };
  await writeParks(config.stateDir, new Map([["none", park]]));
  const log = createLogger({ file: `${home.dir}/log`, console: false, level: "error", secrets: [] });
  const open = () => openParks({ log, config: () => config, now: () => later, env: {} });
  const run = makeTicket({ activity: { state: "running", runId: "0001-work", since: later } });
  const passed = { type: "passed" as const, at: later, runId: "0001-work", agent: "none" };
  const parks = open();
  await parks.heed(run, passed);
  await parks.heed(run, passed);
  // A daemon that took over from one that died before the commit.
  const next = open();
  await next.heed(run, passed);
  expect(next.all()).toEqual(new Map([["none", { ...park, limit: 2, served: ["plan/t1/0001-work"] }]]));
  await next.heed({ ...run, ticketId: "t2" }, passed);
  expect(next.all().get("none")?.limit).toBe(4);
});
