import { expect, it } from "vitest";
import { loadConfig } from "../inputs/config.ts";
import { createLogger } from "../lib/logger.ts";
import { readDaemonRecord, writeDaemonRecord } from "../state/daemon-record.ts";
import { testHome } from "../testing/home.ts";
import { openRunner } from "./open.ts";

it("P5 a daemon that ends removes its own daemon.json, never that of one which took over", async () => {
  const home = testHome();
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const log = createLogger({ file: `${config.logDir}/orchestrator.log`, console: false, level: "debug", secrets: [] });
  const open = () => openRunner({ config, log, env: home.env, version: "0" });
  const first = await open();
  expect(readDaemonRecord(config.home)?.pid).toBe(process.pid);
  await first.close();
  expect(readDaemonRecord(config.home)).toBeUndefined();
  const second = await open();
  const other = { pid: 1, start: "1", bootId: "b", version: "0", since: "2026-11-21T12:00:00.000Z" };
  await writeDaemonRecord(config.home, other);
  await second.close();
  expect(readDaemonRecord(config.home)).toEqual(other);
  await (await open()).close();
});
