import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { runCli } from "../testing/daemon.ts";
import { builtPrograms, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";

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

// Beside each other: what could not be started for lack of files is given up after half a minute.
it("P5 with 26 or 38 open files at most it loses nothing, runs nothing twice, and never ends by a bug", { timeout: 120_000 }, async () => {
  await Promise.all([26, 38].map(workPoorly));
});

async function workPoorly(files: number): Promise<void> {
  const home = testHome({ config: { maxConcurrency: 12 } });
  home.writeWorkflow("one.yaml", "name: one\nphases:\n  - { id: work, type: script, command: work.sh }\n");
  const ledger = join(home.dir, "ledger");
  writeFileSync(ledger, "");
  home.writeScript("work.sh", `echo "$ORCH_TICKET" >> "${ledger}"\nsleep 0.3\n`);
  const ids = Array.from({ length: 12 }, (_, i) => `T${i}`);
  home.writePlan(
    { id: "p", workflow: "one" },
    ids.map((ticketId) => ({ ticketId })),
  );
  const started = () => readFileSync(ledger, "utf8").trim().split("\n").filter(Boolean).sort();
  const poor = spawn("bash", ["-c", `ulimit -n ${files}; exec "$0" "$1" daemon`, process.execPath, builtPrograms().program], {
    env: home.env,
    stdio: "ignore",
  });
  const ended = new Promise<number | null>((resolve) => poor.once("exit", resolve));
  onTestFinished(() => void poor.kill("SIGKILL"));
  // What it could not start waits for a minute, or it could not even start itself.
  const quiet = () => ids.every((id) => ["complete", "waiting"].includes(home.ticket("p", id).status));
  await Promise.race([until(quiet, 8000).catch(() => undefined), ended]);
  poor.kill("SIGTERM");
  expect([0, 1, 130, 143], `with ${files} open files`).toContain(await ended);

  const runner = await testRunner(home);
  for (const id of ids) await runner.runner.intend({ type: "retry", planId: "p", ticketId: id, by: "test" });
  await runner.settle("p", Object.fromEntries(ids.map((id) => [id, "complete"])));
  expect(started(), `with ${files} open files`).toEqual([...ids].sort());
}
