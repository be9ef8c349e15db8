import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openRepo } from "../git/git.ts";
import { ensureWorktree } from "../git/worktree.ts";
import { removeWorktree } from "../git/worktree-removal.ts";
import { loadConfig } from "../inputs/config.ts";
import { createLogger } from "../lib/logger.ts";
import { openIndex } from "../state/index.ts";
import { lockDir } from "../state/layout.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { testRunner } from "../testing/runner.ts";
import { until } from "../testing/until.ts";
import { startHousekeeping } from "./housekeeping.ts";
import { createLiveWorld } from "./live-world.ts";

function worldOf(home: TestHome) {
  const { config } = loadConfig({ env: home.env, cwd: home.dir });
  const log = createLogger({ file: `${config.logDir}/orchestrator.log`, console: false, level: "debug", secrets: [] });
  const index = openIndex(config.stateDir, { writer: false });
  onTestFinished(() => index.close());
  return { config: () => config, log, world: createLiveWorld(index, () => config, false) };
}

/** Makes a worktree of a ticket below `root` and removes it again, so that it is parked or trash. */
async function usedWorktree(home: TestHome, root: string, planId: string, ticketId: string, park?: number): Promise<void> {
  const repo = await openRepo(home.repo);
  const recovery = { planId, ticketId };
  const place = { repo, lockDir: lockDir(home.home), path: join(root, ticketId), branch: `orch/${planId}/${ticketId}`, recovery };
  await ensureWorktree({ ...place, startSha: home.git("rev-parse", "HEAD") });
  await removeWorktree({ ...place, mergedInto: ["main"], now: "2026-11-21T12:00:00.000Z", ...(park ? { park } : {}) });
}

it("P4 clears away trash, and what is parked for plans that have ended, and nothing else", async () => {
  const home = testHome();
  const finished = { state: "finished", outcome: "complete", at: "2026-11-21T11:00:00.000Z" };
  const roots = { open: join(home.dir, "worktrees", "open"), ended: join(home.dir, "own"), gone: join(home.home, "worktrees", "gone") };
  home.writePlan({ id: "open" }, [{ ticketId: "T-1", status: "complete", activity: finished }, { ticketId: "T-2" }]);
  home.writePlan({ id: "ended", worktreeRoot: roots.ended }, [{ ticketId: "T-1", status: "complete", activity: finished }]);
  for (const [planId, root] of Object.entries(roots)) {
    await usedWorktree(home, root, planId, "T-8");
    await usedWorktree(home, root, planId, "T-9", 1);
    mkdirSync(join(root, "T-7"));
  }
  expect(readdirSync(roots.open).sort()).toEqual([".pool-open-1~", expect.stringMatching(/^\.trash-T-8~/), "T-7"]);
  const parts = worldOf(home);
  const housekeeping = startHousekeeping({ ...parts, delayMs: 1 });
  const isClear = () => ["ended", "gone"].every((id) => readdirSync(roots[id as "ended"]).length === 1);
  await until(() => isClear() && readdirSync(roots.open).length === 2, 20_000);
  expect(readdirSync(roots.open).sort()).toEqual([".pool-open-1~", "T-7"]);
  expect(home.git("worktree", "list", "--porcelain").match(/^worktree .*$/gm)).toHaveLength(2);

  await usedWorktree(home, roots.open, "open", "T-6");
  housekeeping.poke();
  await until(() => readdirSync(roots.open).length === 2, 20_000);
  await housekeeping.close();
  await usedWorktree(home, roots.open, "open", "T-6");
  housekeeping.poke();
  await housekeeping.close();
  expect(readdirSync(roots.open)).toHaveLength(3);
  expect(existsSync(parts.config().logDir) && readFileSync(`${parts.config().logDir}/orchestrator.log`, "utf8")).not.toContain("could not");
});

it("P4 clears away what is parked once a look finds that the plan has ended", async () => {
  const home = testHome();
  const finished = { state: "finished", outcome: "complete", at: "2026-11-21T11:00:00.000Z" };
  home.writePlan({ id: "p" }, [{ ticketId: "T-1", status: "complete", activity: finished }]);
  const root = join(home.dir, "worktrees", "p");
  await usedWorktree(home, root, "p", "T-9", 1);
  // As after a daemon that died while it was replacing the file.
  const file = join(home.home, "state", "plans", "p", "tickets", "T-1.json");
  renameSync(file, join(home.dir, "T-1.json"));
  const { runner } = await testRunner(home);
  await runner.tick();
  expect(readdirSync(root)).toEqual([".pool-p-1~"]);
  renameSync(join(home.dir, "T-1.json"), file);
  await until(async () => {
    await runner.tick();
    return readdirSync(root).length === 0;
  }, 20_000);
});
