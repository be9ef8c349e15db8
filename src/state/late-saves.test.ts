import {
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fileOf, json, open, state, ticketOf } from "../testing/state.ts";
import { digestOf } from "./tickets.ts";

const trash = (stateDir: string) => join(stateDir, "plans/p/.orch/trash");
const planFile = (stateDir: string) => join(stateDir, "plans/p/plan.json");

/** Does what `step` does while a program has `file` open, which then saves `text` into what it had opened. */
async function saveLate(file: string, text: string | Buffer, step: () => Promise<unknown>): Promise<void> {
  const fd = openSync(file, "r+");
  await step();
  const bytes = Buffer.from(text);
  const size = statSync(file).size;
  writeSync(fd, Buffer.concat([bytes, Buffer.alloc(Math.max(0, 2 * size - bytes.length), " ")]), 0, undefined, 0);
  closeSync(fd);
}

describe("plan.json", () => {
  it("folds a save that reached the replaced file late: all of it but what the runner writes", async () => {
    const stateDir = state();
    let clock = Date.now();
    const index = open(stateDir, { now: () => clock });
    const late = JSON.stringify({ ...json(planFile(stateDir)), milestone: "M9", status: "draft" });
    await saveLate(planFile(stateDir), late, () => index.updatePlan("p", { status: "paused" }));
    await index.poll();
    clock += 4000;
    expect(await index.poll()).toEqual([{ planId: "p", kind: "changed" }]);
    expect(json(planFile(stateDir))).toEqual({ id: "p", tickets: [{ ticketId: "A" }], milestone: "M9", status: "paused" });
    expect(index.plans.get("p")?.plan).toMatchObject({ milestone: "M9", status: "paused" });
    clock += 4000;
    await index.poll();
    expect(readdirSync(trash(stateDir))).toEqual([]);
  });

  it("P5 comes back after a crash between taking it away and putting the new one in its place, the latest of several", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.updatePlan("p", { status: "draft" });
    await index.updatePlan("p", { status: "paused" });
    const digest = digestOf(readFileSync(planFile(stateDir), "utf8"));
    renameSync(planFile(stateDir), join(trash(stateDir), `plan~${digest}~${process.pid}-9999-${Date.now()}.json`));
    let clock = Date.now();
    const restarted = open(stateDir, { now: () => clock });
    expect(restarted.plans.get("p")?.problems[0]?.message).toBe("there is no such file");
    expect(await restarted.poll()).toContainEqual({ planId: "p", kind: "changed" });
    expect([restarted.plans.get("p")?.plan?.status, json(planFile(stateDir)).status]).toEqual(["paused", "paused"]);
    for (let poll = 0; poll < 3; poll++) {
      clock += 4000;
      await restarted.poll();
    }
    expect([readdirSync(trash(stateDir)), json(planFile(stateDir)).status]).toEqual([[], "paused"]);
  });

  it("P5 is left alone when a crash left it with a second name in the trash", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.updatePlan("p", { status: "paused" });
    const text = readFileSync(planFile(stateDir), "utf8");
    linkSync(planFile(stateDir), join(trash(stateDir), `plan~${digestOf(text)}~1-1-1.json`));
    const restarted = open(stateDir, { now: () => Date.now() + 10_000 });
    await restarted.poll();
    expect([readFileSync(planFile(stateDir), "utf8"), readdirSync(trash(stateDir))]).toEqual([text, []]);
  });

  it("is not given up while two changes of it are under way at once", async () => {
    const stateDir = state();
    const index = open(stateDir);
    const hold = { by: "ana", at: "2026-11-21T12:00:00.000Z", reason: "freeze" };
    await Promise.all([index.updatePlan("p", { status: "paused" }), index.updatePlan("p", { hold }), index.poll()]);
    expect(json(planFile(stateDir))).toMatchObject({ status: "paused", hold });
  });

  it("says so when somebody has removed it", async () => {
    const stateDir = state();
    const index = open(stateDir);
    unlinkSync(planFile(stateDir));
    await expect(index.updatePlan("p", { status: "paused" })).rejects.toThrow("plan.json is gone");
  });
});

it.each([
  ["garbage", "\0\x01garbage"],
  ["half a ticket", '{"planId": "p", "ti'],
  ["another ticket", '{"planId": "p", "ticketId": "B"}'],
])("P10 a late save of %s is set aside with the reason, and the ticket stays good", async (_, late) => {
  const stateDir = state({ A: { title: "a" } });
  let clock = Date.now();
  const index = open(stateDir, { now: () => clock });
  await index.commit("p", { ...ticketOf(index), runs: 1 });
  await saveLate(fileOf(stateDir, "A"), late, () => index.commit("p", { ...ticketOf(index), runs: 2 }));
  await index.poll();
  clock += 4000;
  const [change, ...others] = await index.poll();
  expect([change, others]).toEqual([
    {
      planId: "p",
      ticketId: "A",
      kind: "unreadable",
      notes: [expect.stringMatching(/^a late save could not be read \(.+\); it is kept as /)],
    },
    [],
  ]);
  const quarantine = join(stateDir, "plans/p/.orch/quarantine");
  const [kept, reason, ...more] = readdirSync(quarantine).sort();
  expect([reason, more]).toEqual([`${kept}.reason`, []]);
  expect(readFileSync(join(quarantine, kept ?? ""), "utf8").startsWith(late)).toBe(true);
  expect(readFileSync(join(quarantine, reason ?? ""), "utf8")).not.toBe("\n");
  expect([readdirSync(trash(stateDir)), json(fileOf(stateDir, "A")).runs]).toEqual([[], 2]);
  expect(index.plans.get("p")?.tickets.get("A")).toMatchObject({ problem: null, ticket: { runs: 2, title: "a" } });
  expect(await index.poll()).toEqual([]);
});

it("keeps what it cannot look at now for the next poll", async () => {
  const stateDir = state({ A: { title: "a" } });
  let clock = Date.now();
  const index = open(stateDir, { now: () => clock });
  await index.commit("p", { ...ticketOf(index), runs: 1 });
  const text = JSON.stringify({ ...json(fileOf(stateDir, "A")), title: "b" });
  await saveLate(fileOf(stateDir, "A"), text, () => index.commit("p", { ...ticketOf(index), runs: 2 }));
  const revs = join(stateDir, "plans/p/.orch/revs");
  await index.poll();
  clock += 4000;
  // Nothing can be committed while the folder of revisions is a file.
  renameSync(revs, `${revs}.away`);
  writeFileSync(revs, "");
  await index.poll();
  expect(ticketOf(index).title).toBe("a");
  unlinkSync(revs);
  renameSync(`${revs}.away`, revs);
  clock += 4000;
  expect(await index.poll()).toContainEqual({ planId: "p", ticketId: "A", kind: "changed" });
  expect([ticketOf(index).title, json(fileOf(stateDir, "A")).title]).toEqual(["b", "b"]);
});

describe("P5 a late save that a killed daemon has folded already", () => {
  it("is not folded again, however many commits came since", async () => {
    const stateDir = state();
    const file = fileOf(stateDir, "A");
    const first = open(stateDir);
    await first.commit("p", ticketOf(first, "A"));
    await saveLate(file, JSON.stringify({ ...json(file), title: "late" }), () => first.commit("p", ticketOf(first, "A")));
    // Each of these finds the file in the trash, too young to be removed.
    const second = open(stateDir);
    await second.poll();
    expect(ticketOf(second, "A").title).toBe("late");
    writeFileSync(file, JSON.stringify({ ...json(file), title: "later" }));
    await second.poll();
    for (let commits = 0; commits < 25; commits++) await second.commit("p", ticketOf(second, "A"));
    const third = open(stateDir);
    await third.poll();
    expect([ticketOf(third, "A").title, json(file).title]).toEqual(["later", "later"]);
  });

  it("is not folded again into plan.json over what was written since", async () => {
    const stateDir = state();
    const file = planFile(stateDir);
    const first = open(stateDir);
    await saveLate(file, JSON.stringify({ ...json(file), milestone: "late" }), () => first.updatePlan("p", { status: "paused" }));
    const second = open(stateDir);
    await second.poll();
    expect(json(file).milestone).toBe("late");
    writeFileSync(file, JSON.stringify({ ...json(file), milestone: "later" }));
    await second.poll();
    const third = open(stateDir);
    await third.poll();
    expect(json(file).milestone).toBe("later");
  });
});
