import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { UserError } from "../domain/errors.ts";
import { fileOf, json, state, ticketOf } from "../testing/state.ts";
import { disk } from "./atomic-write.ts";
import { type Index, openIndex } from "./index.ts";
import { quarantine } from "./tickets.ts";

type Call = (...args: unknown[]) => unknown;

/** Runs `operation`; just before call number `at` (from 0) to the file system, somebody moves the plan's folder away. */
async function withMove<T>(stateDir: string, at: number, operation: () => Promise<T>) {
  const real = { ...disk } as Record<string, Call>;
  const restore = () => Object.assign(disk, real);
  onTestFinished(() => void restore());
  let calls = 0;
  for (const [name, call] of Object.entries(real)) {
    const moving: Call = (...args) => {
      if (calls++ === at) renameSync(join(stateDir, "plans/p"), join(stateDir, "moved"));
      return call(...args);
    };
    Object.assign(disk, { [name]: moving });
  }
  try {
    return { value: await operation(), thrown: undefined, reached: calls > at };
  } catch (thrown) {
    return { value: undefined, thrown, reached: calls > at };
  } finally {
    restore();
  }
}

const bringBack = (stateDir: string) => renameSync(join(stateDir, "moved"), join(stateDir, "plans/p"));

function opened(stateDir: string): { index: Index; later(ms: number): void } {
  let clock = Date.now() + 60_000;
  const index = openIndex(stateDir, { writer: true, now: () => clock });
  onTestFinished(() => index.close());
  return {
    index,
    later: (ms) => {
      clock += ms;
    },
  };
}

/** Tries with the folder moved before the first call, the second and so on, until the operation makes fewer calls than that. */
async function everyCall(attempt: (at: number) => Promise<boolean>): Promise<void> {
  let at = 0;
  while (await attempt(at)) at += 1;
  expect(at).toBeGreaterThan(5);
}

const operations: [string, (index: Index) => Promise<void>, (index: Index, stateDir: string) => Promise<unknown>][] = [
  ["a ticket's first commit", async () => {}, (index) => index.commit("p", { ...ticketOf(index), runs: 7 })],
  [
    "a later commit",
    async (index) => void (await index.commit("p", { ...ticketOf(index), runs: 6 })),
    (index) => index.commit("p", { ...ticketOf(index), runs: 7 }),
  ],
  ["an update of plan.json", async () => {}, (index) => index.updatePlan("p", { status: "paused" })],
  [
    "the folding of an edit",
    async (index) => void (await index.commit("p", { ...ticketOf(index), runs: 7 })),
    async (index, stateDir) => {
      writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ ...json(fileOf(stateDir, "A")), title: "edited" }));
      await index.poll();
    },
  ],
];

// Whether bytes survive a loss of power is not asked here, so that nothing has to wait for a real disk.
beforeEach(() => {
  if (existsSync("/dev/shm")) vi.stubEnv("TMPDIR", "/dev/shm");
  onTestFinished(() => void vi.unstubAllEnvs());
});

describe.each(operations)("P5 a plan folder that is moved away at any call of %s", (_, before, operation) => {
  it.each([
    ["at once", false],
    ["after its loss was seen", true],
  ])("stays away, and everything goes on when it comes back %s", async (_when, seen) => {
    await everyCall(async (at) => {
      const stateDir = state({ A: { title: "a" } });
      const { index, later } = opened(stateDir);
      await before(index);
      const known = ticketOf(index).runs;
      const { thrown, reached } = await withMove(stateDir, at, () => operation(index, stateDir));
      const where = `call ${at}, thrown ${thrown}`;
      if (thrown !== undefined) expect(thrown, where).toBeInstanceOf(UserError);
      if (reached) expect(readdirSync(join(stateDir, "plans")), where).toEqual([]);
      if (reached && seen) {
        const told = await index.poll();
        expect([...told, { planId: "p", kind: "removed" }], where).toContainEqual({ planId: "p", kind: "removed" });
        expect([await index.poll(), index.plans.size], where).toEqual([[], 0]);
        expect(existsSync(join(stateDir, "plans/p")), where).toBe(false);
      }
      if (reached) bringBack(stateDir);
      for (let looks = 0; looks < 3; looks++) {
        later(10_000);
        await index.poll();
      }
      expect([index.plans.get("p")?.problems, index.plans.get("p")?.tickets.get("A")?.problem], where).toEqual([[], null]);
      expect([known, 7], where).toContain(ticketOf(index).runs);
      // Neither a lost commit nor one taken along is mistaken for another writer's.
      expect((await index.commit("p", { ...ticketOf(index), runs: 8 })).runs, where).toBe(8);
      expect((await index.updatePlan("p", { status: "draft" })).status, where).toBe("draft");
      await index.poll();
      expect([json(fileOf(stateDir, "A")).runs, ticketOf(openIndex(stateDir, { writer: false })).runs], where).toEqual([8, 8]);
      return reached;
    });
  });
});

it("P5 nothing is put aside in a folder that has gone", async () => {
  const stateDir = state();
  const stray = join(stateDir, "stray.json");
  writeFileSync(stray, "{");
  renameSync(join(stateDir, "plans/p"), join(stateDir, "moved"));
  await expect(quarantine({ stateDir, planId: "p" }, stray, "stray.json", "not JSON")).rejects.toMatchObject({ code: "ENOENT" });
  expect(readdirSync(join(stateDir, "plans"))).toEqual([]);
});
