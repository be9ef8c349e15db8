import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../domain/errors.ts";
import { readCheckout, saveState } from "../git/checkout-state.ts";
import { checkoutStore, checkoutsOf, savedStates, withStore } from "../git/checkout-store.ts";
import { openRepo } from "../git/git.ts";
import { ensureWorktree } from "../git/worktree.ts";
import { removeWorktree } from "../git/worktree-removal.ts";
import { loadConfig } from "../inputs/config.ts";
import { lockDir } from "../state/layout.ts";
import { runCli, startDaemon } from "../testing/daemon.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { until } from "../testing/until.ts";
import { findItems } from "./gc-items.ts";
import { readWorld } from "./world.ts";

const hour = 3_600_000;
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();
const ended = (outcome: string, ms = hour) => ({ status: outcome, activity: { state: "finished", outcome, at: ago(ms) } });

let home: TestHome;
let root: string;

beforeEach(() => {
  home = testHome({ files: { "a.txt": "a\n", ".gitignore": "*.log\n" } });
  root = join(home.dir, "worktrees", "plan");
});

const at = (ticketId: string) => join(root, ticketId);
const inTree = (ticketId: string, ...args: string[]) => home.git("-C", at(ticketId), ...args);

async function worktree(ticketId: string, branch = `orch/plan/${ticketId}`): Promise<void> {
  const repo = await openRepo(home.repo);
  const recovery = { planId: "plan", ticketId };
  await ensureWorktree({
    repo,
    lockDir: lockDir(home.home),
    path: at(ticketId),
    branch,
    startSha: home.git("rev-parse", "HEAD"),
    recovery,
  });
}

/** A worktree with a commit on its branch. */
async function work(ticketId: string, branch?: string): Promise<void> {
  await worktree(ticketId, branch);
  writeFileSync(join(at(ticketId), `${ticketId}.txt`), ticketId);
  inTree(ticketId, "add", "-A");
  inTree(ticketId, "commit", "-qm", ticketId);
}

function squash(branch: string): void {
  home.git("merge", "-q", "--squash", branch);
  home.git("commit", "-qm", `squashed ${branch}`);
}

async function gc(...args: string[]) {
  const { code, stdout, stderr } = await runCli(home, "gc", "--json", ...args);
  if (stdout === "") throw new Error(stderr);
  const { data } = JSON.parse(stdout) as {
    data: { items: { kind: string; what: string; result: string; reason: string; note?: string; merged?: boolean }[] };
  };
  const of = (result: string) =>
    data.items
      .filter((item) => item.result === result)
      .map(({ kind, what }) => `${kind} ${what.replace(`${root}/`, "").replace(`${home.home}/`, "")}`)
      .sort();
  return { code, items: data.items, removed: of("removed"), kept: of("kept"), would: of("would be removed"), failed: of("failed") };
}

const branches = () => home.git("for-each-ref", "--format=%(refname:short)", "refs/heads/orch", "refs/heads/mine").split("\n");
const refs = () => home.git("for-each-ref");

describe("gc", { timeout: 120_000 }, () => {
  it("P4 removes what has ended and is merged or saved, says what it would do first, and touches nothing else", async () => {
    home.writePlan({ id: "plan" }, [
      { ticketId: "T-merged", ...ended("complete") },
      { ticketId: "T-dirty", ...ended("cancelled") },
      { ticketId: "T-failed", ...ended("failed") },
      { ticketId: "T-long-failed", ...ended("needs_attention", 31 * 24 * hour) },
      { ticketId: "T-locked", ...ended("complete") },
      { ticketId: "T-own", ...ended("complete"), branch: "mine" },
      { ticketId: "T-odd", ...ended("complete") },
      { ticketId: "T-running", activity: { state: "running", runId: "0001-implement", since: ago(hour) }, status: "running" },
      { ticketId: "T-queued" },
    ]);
    for (const id of ["T-merged", "T-dirty", "T-failed", "T-long-failed", "T-locked", "T-running", "T-queued"]) await work(id);
    await work("T-own", "mine");
    squash("orch/plan/T-merged");
    squash("mine");
    writeFileSync(join(at("T-dirty"), "draft.txt"), "d");
    writeFileSync(join(at("T-running"), "draft.txt"), "d");
    home.git("worktree", "lock", "--reason", "on a stick", at("T-locked"));
    home.git("worktree", "add", "-q", at("foreign"), "-b", "orch/plan/foreign");
    home.git("worktree", "add", "-q", join(home.dir, "elsewhere"), "-b", "elsewhere");
    mkdirSync(at("T-odd"));
    writeFileSync(join(at("T-odd"), "file"), "not a worktree");
    const before = { files: readdirSync(root), refs: refs(), list: home.git("worktree", "list", "--porcelain") };

    const goes = [
      "branch refs/heads/orch/plan/T-merged",
      "worktree T-dirty",
      "worktree T-long-failed",
      "worktree T-merged",
      "worktree T-own",
    ];
    const dry = await gc("--dry-run");
    expect(dry).toMatchObject({ code: 0, would: goes, removed: [], failed: [] });
    expect(
      Object.fromEntries(
        dry.items
          .filter(({ kind, result }) => kind !== "branch" && result === "kept")
          .map(({ what, reason }) => [what.slice(root.length + 1), reason]),
      ),
    ).toEqual({
      "T-failed": "its ticket is failed: a person may want it",
      "T-locked": "it is locked: on a stick",
      "T-odd": `it is no worktree of ${home.repo}`,
      "T-queued": "its ticket is queued",
      "T-running": "its ticket is running",
      foreign: "it is of no ticket that is known here",
    });
    expect({ files: readdirSync(root), refs: refs(), list: home.git("worktree", "list", "--porcelain") }).toEqual(before);
    const text = (await runCli(home, "gc", "--dry-run")).stdout.split("\n");
    expect(text.find((line) => line.includes("T-dirty "))).toMatch(
      /^would be removed +worktree +\/.*T-dirty +\d+ KiB +1h +not merged +its ticket is cancelled; 1 changed files are saved first$/,
    );
    expect(text.at(-2)).toMatch(/^5 items would be removed, \d+ KiB\.$/);

    const real = await gc();
    expect(real).toMatchObject({ code: 0, removed: goes, failed: [], would: [] });
    expect(readdirSync(root).sort()).toEqual(["T-failed", "T-locked", "T-odd", "T-queued", "T-running", "foreign"]);
    expect(branches()).toEqual([
      "mine",
      "orch/plan/T-dirty",
      "orch/plan/T-failed",
      "orch/plan/T-locked",
      "orch/plan/T-long-failed",
      "orch/plan/T-queued",
      "orch/plan/T-running",
      "orch/plan/foreign",
    ]);
    const saved = home.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/recovery/plan/T-dirty");
    expect(home.git("show", `${saved}:draft.txt`)).toBe("d");
    expect(real.items.find(({ what }) => what === at("T-dirty"))?.note).toBe(`saved as ${saved}`);
    expect(existsSync(join(home.dir, "elsewhere", "a.txt"))).toBe(true);

    expect((await gc("--older-than", "30m")).removed).toEqual(["worktree T-failed"]);
    expect((await gc("--older-than", "2h")).removed).toEqual([]);
  });

  it("removes runs and logs of plans that ended long ago, what is parked for them, and trash", async () => {
    home.writePlan({ id: "plan" }, [{ ticketId: "T-1", ...ended("complete", 40 * 24 * hour) }]);
    home.writePlan({ id: "young" }, [{ ticketId: "T-1", ...ended("complete") }]);
    home.writePlan({ id: "open" }, [{ ticketId: "T-1", ...ended("complete", 40 * 24 * hour) }, { ticketId: "T-2" }]);
    for (const id of ["plan", "young", "open"]) {
      mkdirSync(join(home.home, "run", id, "T-1", "0001-implement"), { recursive: true });
      writeFileSync(join(home.home, "run", id, "T-1", "0001-implement", "exit.json"), "{}");
      mkdirSync(join(home.home, "logs", id), { recursive: true });
      writeFileSync(join(home.home, "logs", id, "T-1.log"), "log\n");
    }
    const repo = await openRepo(home.repo);
    for (const [ticketId, park] of [
      ["T-8", 1],
      ["T-9", 0],
    ] as const) {
      await worktree(ticketId);
      const place = { repo, lockDir: lockDir(home.home), path: at(ticketId), branch: `orch/plan/${ticketId}` };
      await removeWorktree({ ...place, mergedInto: ["main"], recovery: { planId: "plan", ticketId }, now: ago(0), park });
    }
    expect((await gc("--plan", "young")).removed).toEqual([]);
    const { removed, kept, code } = await gc();
    expect(code).toBe(0);
    expect(removed).toEqual([
      "log logs/plan/T-1.log",
      "parked .pool-plan-1~",
      "runs run/plan/T-1",
      expect.stringMatching(/^trash \.trash-T-9~/),
    ]);
    expect(kept).toEqual(["runs run/open", "runs run/young"]);
    expect([readdirSync(root), readdirSync(join(home.home, "run")).sort()]).toEqual([[], ["open", "young"]]);
    expect(existsSync(join(home.home, "logs", "plan"))).toBe(false);
    expect((await gc("--plan", "young", "--older-than", "1s")).removed).toEqual(["log logs/young/T-1.log", "runs run/young/T-1"]);
    expect((await runCli(home, "gc", "--older-than", "soon")).code).toBe(2);
    expect((await runCli(home, "gc", "--plan", "none")).code).toBe(3);
  });

  it("P4 removes saved states only where it is told to", async () => {
    home.writePlan({ id: "plan" }, [
      { ticketId: "T-1", ...ended("complete") },
      { ticketId: "T-2", ...ended("complete") },
      { ticketId: "T-3" },
    ]);
    for (const id of ["T-1", "T-2", "T-3"]) {
      await work(id);
      home.git("update-ref", `refs/orchestrator/recovery/plan/${id}/20260101T000000.000Z`, `orch/plan/${id}`);
    }
    squash("orch/plan/T-1");
    squash("orch/plan/T-3");
    const saved = (id: string) => `saved refs/orchestrator/recovery/plan/${id}/20260101T000000.000Z`;
    expect((await gc("--dry-run")).kept.filter((each) => each.startsWith("saved"))).toEqual(["T-1", "T-2", "T-3"].map(saved));
    expect((await gc("--saved")).removed).toContain(saved("T-1"));
    expect(await gc("--saved-older-than", "9999d")).toMatchObject({ removed: [] });
    const last = await gc("--saved-older-than", "30d");
    expect([last.removed, last.kept.filter((each) => each.startsWith("saved"))]).toEqual([[saved("T-2")], [saved("T-3")]]);
  });

  it("forgets old states of a checkout, but never the newest", async () => {
    const repo = await openRepo(home.repo);
    const [checkout] = await checkoutsOf(repo, () => false);
    if (!checkout) throw new Error("there is no checkout");
    const store = checkoutStore(home.home, lockDir(home.home), checkout);
    const saved: string[] = [];
    for (const days of [60, 50, 40, 1]) {
      writeFileSync(join(home.repo, "a.txt"), `${days}\n`);
      const at = ago(days * 24 * hour);
      saved.push((await withStore(store, async () => saveState(store, await readCheckout(store, { now: at, isOwn: () => false })))).ref);
    }
    const left = () => home.git("for-each-ref", "--format=%(refname)", "refs/orchestrator/recovery/_checkout").split("\n");
    const item = `checkout ${home.repo}`;
    expect(await gc("--dry-run")).toMatchObject({ would: [item] });
    expect(left()).toEqual(saved);
    expect(await gc()).toMatchObject({ removed: [item], failed: [] });
    expect(left()).toEqual(saved.slice(-1));
    expect((await savedStates(store)).map(({ ref }) => ref)).toEqual(saved.slice(-1));
    expect(await gc("--older-than", "1s", "--saved-older-than", "1s")).toMatchObject({ removed: [], kept: [item] });
  });

  it("P4 leaves a ticket alone that somebody let go on meanwhile", async () => {
    home.writePlan({ id: "plan" }, [{ ticketId: "T-1", ...ended("failed") }]);
    await work("T-1");
    const { config } = loadConfig({ env: home.env, cwd: home.dir });
    const { world, index } = readWorld(config);
    index.close();
    const items = await findItems(config, world, { now: ago(0), olderThan: 0, saved: false });
    const item = items.find(({ kind }) => kind === "worktree");
    const file = join(config.stateDir, "plans", "plan", "tickets", "T-1.json");
    const { activity: _, ...ticket } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    writeFileSync(`${file}.new`, JSON.stringify({ ...ticket, status: "queued" }));
    renameSync(`${file}.new`, file);
    const refused = await item?.remove?.().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UserError);
    expect((refused as UserError).message).toBe("Ticket plan/T-1 goes on.");
    expect(readdirSync(at("T-1"))).toContain("T-1.txt");
  });

  it("works beside a daemon, which deletes the rest", async () => {
    home.writePlan({ id: "plan" }, [{ ticketId: "T-1", ...ended("complete") }]);
    await work("T-1");
    squash("orch/plan/T-1");
    await startDaemon(home);
    expect(await gc()).toMatchObject({ code: 0, removed: ["branch refs/heads/orch/plan/T-1", "worktree T-1"], failed: [] });
    await until(() => readdirSync(dirname(at("T-1"))).length === 0, 20_000);
  });
});
