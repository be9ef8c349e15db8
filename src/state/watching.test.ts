import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { age, fileOf, open, state, ticketOf } from "../testing/state.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { disk } from "./atomic-write.ts";
import type { Index } from "./index.ts";

const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`T-${i}`, { title: "a" }]));

/** Polls until the title of a ticket is `title`, looking at no file without a hint but one per poll. */
async function seen(index: Index, id: string, title: string, plan = "p"): Promise<number> {
  let polls = 0;
  await until(async () => {
    polls += 1;
    await index.poll(0);
    return index.plans.get(plan)?.tickets.get(id)?.ticket?.title === title;
  });
  return polls;
}

function watched(index: Index): { count: () => number } {
  let calls = 0;
  index.watch(() => {
    calls += 1;
  });
  return { count: () => calls };
}

/** An edit that leaves folder, name and inode alone. */
function editInPlace(stateDir: string, id: string, title: string, planId = "p"): void {
  writeFileSync(fileOf(stateDir, id), JSON.stringify({ planId, ticketId: id, title }));
}

describe("hints", () => {
  it("name a file that is edited in place, among many, whatever the turn", async () => {
    const stateDir = state(many);
    const index = open(stateDir);
    const hints = watched(index);
    await index.poll(0);
    const before = hints.count();
    editInPlace(stateDir, "T-150", "b");
    await until(() => hints.count() > before);
    await seen(index, "T-150", "b");
    expect(ticketOf(index, "T-150").title).toBe("b");
  });

  it("do not miss what was edited between opening and watching", async () => {
    const stateDir = state(many);
    const index = open(stateDir);
    editInPlace(stateDir, "T-199", "b");
    watched(index);
    await index.poll(0);
    expect(ticketOf(index, "T-199").title).toBe("b");
  });

  it("cover a plan that appears later, also when its tickets folder follows later still", async () => {
    const stateDir = tempDir();
    const index = open(stateDir);
    const hints = watched(index);
    await index.poll(0);
    mkdirSync(join(stateDir, "plans/p"), { recursive: true });
    writeFileSync(join(stateDir, "plans/p/plan.json"), JSON.stringify({ id: "p", tickets: [{ ticketId: "A" }] }));
    await until(async () => {
      await index.poll(0);
      return index.plans.get("p")?.plan;
    });
    mkdirSync(join(stateDir, "plans/p/tickets"));
    editInPlace(stateDir, "A", "a");
    await seen(index, "A", "a");
    age(fileOf(stateDir, "A"));
    await index.poll(1);
    const before = hints.count();
    editInPlace(stateDir, "A", "b");
    await until(() => hints.count() > before);
    await seen(index, "A", "b");
  });

  it("follow a folder that another one takes the place of", async () => {
    const stateDir = state(many);
    const index = open(stateDir);
    const hints = watched(index);
    await index.poll(0);
    const other = state(many);
    renameSync(join(stateDir, "plans/p/tickets"), join(stateDir, "plans/p/.old"));
    renameSync(join(other, "plans/p/tickets"), join(stateDir, "plans/p/tickets"));
    await until(() => hints.count() > 0);
    for (let poll = 0; poll < 3; poll++) await index.poll(0);
    const before = hints.count();
    editInPlace(stateDir, "T-7", "b");
    await until(() => hints.count() > before);
    await seen(index, "T-7", "b");
  });
});

describe("when the system refuses to watch", () => {
  it("a folder that may not even be looked at is a note", async () => {
    const stateDir = state(many);
    const index = open(stateDir);
    const real = disk.lstatSync;
    const restore = () => void Object.assign(disk, { lstatSync: real });
    onTestFinished(restore);
    Object.assign(disk, {
      lstatSync: () => {
        throw Object.assign(new Error("EACCES"), { code: "EACCES" });
      },
    });
    watched(index);
    restore();
    const notes = (await index.poll(0)).flatMap((change) => change.notes ?? []);
    expect(notes).toEqual([expect.stringContaining("(EACCES)")]);
  });

  function refuse(code: string): void {
    const real = disk.watch;
    onTestFinished(() => {
      disk.watch = real;
    });
    disk.watch = (() => {
      throw Object.assign(new Error(code), { code });
    }) as typeof real;
  }

  it.each(["EMFILE", "ENOSPC"])("%s is one note, and edits are found all the same", async (code) => {
    const stateDir = state(many);
    mkdirSync(join(stateDir, "plans/q/tickets"), { recursive: true });
    writeFileSync(join(stateDir, "plans/q/plan.json"), JSON.stringify({ id: "q", tickets: [] }));
    const index = open(stateDir);
    refuse(code);
    watched(index);
    const notes = (await index.poll(0)).flatMap((change) => change.notes ?? []);
    expect(notes).toEqual([expect.stringMatching(`plans/p cannot be watched \\(${code}\\): edits there`)]);
    mkdirSync(join(stateDir, "plans/r"));
    editInPlace(stateDir, "T-199", "b");
    const changes = [...(await index.poll(100)), ...(await index.poll(100))];
    expect(changes).toContainEqual({ planId: "p", ticketId: "T-199", kind: "changed" });
    expect(changes.flatMap((change) => change.notes ?? [])).toEqual([]);
  });

  it("a watch that fails later is a note too, and a folder that goes is none", async () => {
    const stateDir = state(many);
    const index = open(stateDir);
    const real = disk.watch;
    const watchers: ReturnType<typeof real>[] = [];
    onTestFinished(() => {
      disk.watch = real;
    });
    disk.watch = ((...args: Parameters<typeof real>) => {
      const watcher = real(...args);
      watchers.push(watcher);
      return watcher;
    }) as typeof real;
    watched(index);
    await index.poll(0);
    watchers.at(-1)?.emit("error", Object.assign(new Error("EIO"), { code: "EIO" }));
    expect((await index.poll(0)).flatMap((change) => change.notes ?? [])).toEqual([
      expect.stringContaining("tickets cannot be watched (EIO)"),
    ]);
    mkdirSync(join(stateDir, "plans/b d"));
    await until(async () => (await index.poll(0)).some((change) => change.kind === "added"));
    for (const id of ["p", "b d"]) rmSync(join(stateDir, "plans", id), { recursive: true });
    await until(async () => (await index.poll(0)).some((change) => change.kind === "removed"));
  });
});
