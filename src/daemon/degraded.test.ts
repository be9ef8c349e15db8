import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli } from "../testing/daemon.ts";
import { testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";

it("P11 starts nothing on a full disk, says so everywhere, and goes on by itself", async () => {
  const tooMuch = 1e9;
  const home = testHome({ config: { minFreeMiB: tooMuch } });
  home.writeWorkflow("one.yaml", "name: one\nphases:\n  - { id: work, type: script, command: work.sh }\n");
  home.writeScript("work.sh", "true\n");
  home.writePlan({ id: "p", workflow: "one" }, [{ ticketId: "T1" }]);
  const runner = await testRunner(home);
  await runner.runner.tick();
  await runner.runner.tick();
  expect(home.ticket("p", "T1").status).toBe("queued");
  const reason = /only \d+ MiB are free below .*state \(minFreeMiB is 1000000000\)/;
  expect((await runCli(home, "status")).stdout).toMatch(new RegExp(`Nothing new starts: ${reason.source}`));
  expect((await runCli(home, "why", "p", "T1")).stdout).toMatch(reason);
  expect((await runCli(home, "doctor")).stdout).toMatch(reason);
  const told = readFileSync(join(home.home, "logs", "orchestrator.log"), "utf8").split("\n");
  expect(told.filter((line) => line.includes("Nothing new starts"))).toHaveLength(1);

  const file = join(home.home, "config.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace(String(tooMuch), "0"));
  runner.reloadConfig();
  await runner.settle("p", { T1: "complete" });
});
