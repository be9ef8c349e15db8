import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { age, fileOf, json, open, saveWhole, state, ticketOf } from "../testing/state.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { disk } from "./atomic-write.ts";
import type { Change } from "./index.ts";
import { Fenced } from "./tickets.ts";

const fixtures = join(import.meta.dirname, "fixtures/first-seed");

async function deadPid(): Promise<number> {
  const child = spawn("true");
  await once(child, "exit");
  return child.pid as number;
}

describe("files of the first seed", () => {
  it("load, keep unknown fields and get what their status means", async () => {
    const stateDir = tempDir();
    cpSync(fixtures, stateDir, { recursive: true });
    const index = open(stateDir);
    const plan = index.plans.get("auth");
    expect([plan?.problems, plan?.plan?.milestone, plan?.plan?.tickets[1]]).toEqual([
      [],
      "M3",
      { ticketId: "AUTH-2", order: 2, blockedBy: ["AUTH-1"], estimate: 3 },
    ]);
    expect(ticketOf(index, "AUTH-1", "auth")).toMatchObject({
      status: "ready",
      activity: { state: "ready", cause: "resume" },
      currentPhase: "implement",
      labels: ["frontend"],
      rev: 0,
    });
    expect(ticketOf(index, "AUTH-3", "auth")).toMatchObject({
      status: "paused",
      activity: { state: "queued" },
      hold: { by: "file", reason: "paused in the file" },
    });
    await index.commit("auth", { ...ticketOf(index, "AUTH-3", "auth"), hold: null });
    expect(json(join(stateDir, "plans/auth/tickets/AUTH-3.json"))).toMatchObject({
      status: "queued",
      rev: 1,
      labels: [],
      reviewers: { first: "bo" },
      title: "Log out",
    });
    expect(readFileSync(join(stateDir, "plans/auth/tickets/AUTH-1.json"), "utf8")).toBe(
      readFileSync(join(fixtures, "plans/auth/tickets/AUTH-1.json"), "utf8"),
    );
  });

  it("P1 a planner that rewrites a file without runner fields asks for nothing", async () => {
    const stateDir = state({ A: { status: "queued", title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), activity: { state: "finished", outcome: "failed", at: "" }, error: "no" });
    writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ planId: "p", ticketId: "A", title: "b" }));
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    expect(ticketOf(index)).toMatchObject({ title: "b", status: "failed", error: "no", rev: 2 });
    writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ planId: "p", ticketId: "A", title: "c", status: "queued" }));
    expect(await index.poll()).toEqual([
      { planId: "p", ticketId: "A", kind: "changed", notes: [expect.stringContaining("title: replaced")] },
    ]);
  });
});

describe("commit", () => {
  it("P5 counts revisions up, keeps 40 and the first, and comes back after a restart", async () => {
    const stateDir = state();
    const index = open(stateDir);
    for (let run = 1; run <= 45; run++) await index.commit("p", { ...ticketOf(index), runs: run });
    const revs = readdirSync(join(stateDir, "plans/p/.orch/revs/A")).map((name) => Number.parseInt(name, 10));
    expect(revs.sort((a, b) => a - b)).toEqual([0, ...Array.from({ length: 40 }, (_, i) => i + 6)]);
    expect([ticketOf(open(stateDir)).runs, json(fileOf(stateDir, "A")).rev]).toEqual([45, 45]);
  });

  it("P5 a second writer is fenced and changes nothing", async () => {
    const stateDir = state();
    const [first, second] = [open(stateDir), open(stateDir)];
    await first.commit("p", { ...ticketOf(first), runs: 1 });
    await expect(second.commit("p", { ...ticketOf(second), runs: 99 })).rejects.toBeInstanceOf(Fenced);
    expect([ticketOf(second).runs, ticketOf(open(stateDir)).runs]).toEqual([0, 1]);
  });

  it("P5 no update of several processes is lost: each revision belongs to one of them", async () => {
    const stateDir = state();
    const script = `
      const { openIndex } = await import(${JSON.stringify(join(import.meta.dirname, "index.ts"))});
      let done = 0;
      while (done < 25) {
        const index = openIndex(${JSON.stringify(stateDir)}, { writer: true });
        const ticket = index.plans.get("p").tickets.get("A").ticket;
        try { await index.commit("p", { ...ticket, runs: ticket.runs + 1 }); done += 1; }
        catch (error) { if (error.name !== "Fenced") throw error; }
      }`;
    const children = [1, 2, 3].map(() => spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" }));
    expect((await Promise.all(children.map((child) => once(child, "exit")))).map(([code]) => code)).toEqual([0, 0, 0]);
    expect(ticketOf(open(stateDir)).runs).toBe(75);
  });

  it("refuses a result that was computed from an outdated ticket", async () => {
    const index = open(state());
    const old = ticketOf(index);
    await index.commit("p", { ...old, runs: 1 });
    await expect(index.commit("p", { ...old, runs: 1 })).rejects.toThrow("outdated");
  });

  it("keeps what a person saves while the runner commits", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const seen = json(fileOf(stateDir, "A"));
    saveWhole(fileOf(stateDir, "A"), { ...seen, title: "b" });
    await index.commit("p", { ...ticketOf(index), runs: 2 });
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "b", runs: 1 });
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "b", runs: 2, rev: 3 });
    expect(await index.poll()).toEqual([]);
  });

  it("keeps a save that falls between taking and replacing the file", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const seen = json(fileOf(stateDir, "A"));
    const real = disk.rename;
    onTestFinished(() => {
      disk.rename = real;
    });
    disk.rename = async (...args) => {
      disk.rename = real;
      await real(...args);
      writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ ...seen, title: "b" }));
    };
    await index.commit("p", { ...ticketOf(index), runs: 2 });
    await index.poll();
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "b", runs: 2 });
  });

  it("finds a save that reached the replaced file late", async () => {
    const stateDir = state({ A: { title: "a" } });
    let clock = Date.now();
    const index = open(stateDir, { now: () => clock });
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const text = JSON.stringify({ ...json(fileOf(stateDir, "A")), title: "b" });
    const fd = openSync(fileOf(stateDir, "A"), "r+");
    await index.commit("p", { ...ticketOf(index), runs: 2 });
    writeSync(fd, text.padEnd(4096), 0);
    closeSync(fd);
    expect(await index.poll()).toEqual([]);
    clock += 4000;
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    clock += 4000;
    await index.poll();
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "b", runs: 2 });
    expect(readdirSync(join(stateDir, "plans/p/.orch/trash"))).toEqual([]);
  });

  it("takes its own replaced files for nothing new, however many there were", async () => {
    const stateDir = state();
    // A clock that stood still would make files of this moment look like changes to come.
    let ahead = 0;
    const index = open(stateDir, { now: () => Date.now() + ahead });
    for (let run = 1; run <= 60; run++) await index.commit("p", { ...ticketOf(index), runs: run });
    ahead = 4000;
    expect([await index.poll(), await index.poll()]).toEqual([[], []]);
    expect([ticketOf(index).rev, readdirSync(join(stateDir, "plans/p/.orch/trash"))]).toEqual([60, []]);
  });

  it("P5 a full disk at the revision commits nothing, and at the projection loses nothing", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const real = disk.link;
    onTestFinished(() => {
      disk.link = real;
    });
    const full = (skip: number) => {
      let calls = 0;
      disk.link = (...args) => {
        calls += 1;
        if (calls > skip) return Promise.reject(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }));
        return real(...args);
      };
    };
    full(0);
    await expect(index.commit("p", { ...ticketOf(index), runs: 2 })).rejects.toThrow("ENOSPC");
    expect(ticketOf(index).runs).toBe(1);
    full(1);
    expect((await index.commit("p", { ...ticketOf(index), runs: 3 })).rev).toBe(2);
    expect(statSync(fileOf(stateDir, "A"), { throwIfNoEntry: false })).toBeUndefined();
    disk.link = real;
    await index.poll();
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ runs: 3, rev: 2 });
    expect(readdirSync(join(stateDir, "plans/p/tickets"))).toEqual(["A.json"]);
  });
});

describe("edits", () => {
  it("P5 hands out the wish of an edit until it is settled, once", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), activity: { state: "ready", cause: "next" } });
    saveWhole(fileOf(stateDir, "A"), { ...json(fileOf(stateDir, "A")), status: "paused" });
    const [change] = (await index.poll()) as [Change];
    const intent = { type: "pause", planId: "p", ticketId: "A", by: "file", reason: "paused in the file" };
    expect(change).toEqual({ planId: "p", ticketId: "A", kind: "changed", intents: [{ id: expect.any(String), intent }] });
    expect(await index.poll()).toEqual([]);

    const restarted = open(stateDir);
    expect(await restarted.poll()).toEqual([change]);
    const id = change.intents?.[0]?.id as string;
    const hold = { by: "file", at: "2026-11-21T12:00:00.000Z", reason: "paused in the file" };
    expect(restarted.hasApplied("p", "A", id)).toBe(false);
    await restarted.commit("p", { ...ticketOf(restarted), hold }, id);
    const again = open(stateDir);
    expect([again.hasApplied("p", "A", id), await again.poll(), json(fileOf(stateDir, "A")).status]).toEqual([true, [], "paused"]);
  });

  it("keeps both when a file of an old revision is saved back", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const old = json(fileOf(stateDir, "A"));
    for (let run = 2; run < 6; run++) await index.commit("p", { ...ticketOf(index), runs: run, currentPhase: `phase${run}` });
    writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ ...old, title: "b", labels: ["x"] }));
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "b", labels: ["x"], runs: 5, currentPhase: "phase5" });
  });

  it("leaves the file of a ticket that never ran to its planner", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    const text = JSON.stringify({ planId: "p", ticketId: "A", title: "b" });
    writeFileSync(fileOf(stateDir, "A"), text);
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    expect([ticketOf(index).title, readFileSync(fileOf(stateDir, "A"), "utf8")]).toEqual(["b", text]);
  });

  it.each([
    ["torn", '{"planId": "p", "ti', 1],
    ["empty", "", 1],
    ["a trailing comma", '{\n"planId": "p",\n}', 3],
    ["of another ticket", '{"planId": "p", "ticketId": "B"}', 1],
    ["of a newer program", '{"schema": 7}', undefined],
  ])("P10 an edit that is %s stays as it is, holds its last good ticket, and heals", async (_, text, line) => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const good = readFileSync(fileOf(stateDir, "A"), "utf8");
    writeFileSync(fileOf(stateDir, "A"), text);
    expect(await index.poll()).toEqual([]);
    expect(index.plans.get("p")?.tickets.get("A")?.problem).toBeNull();
    age(fileOf(stateDir, "A"));
    expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "unreadable" }]);
    const entry = index.plans.get("p")?.tickets.get("A");
    expect([entry?.ticket?.runs, entry?.problem?.file, entry?.problem?.line]).toEqual([1, fileOf(stateDir, "A"), line]);
    await index.commit("p", { ...ticketOf(index), runs: 2 });
    expect(readFileSync(fileOf(stateDir, "A"), "utf8")).toBe(text);
    expect(open(stateDir).plans.get("p")?.tickets.get("A")).toMatchObject({
      ticket: { runs: 2 },
      problem: { file: fileOf(stateDir, "A") },
    });
    writeFileSync(fileOf(stateDir, "A"), good);
    await index.poll();
    expect([index.plans.get("p")?.tickets.get("A")?.problem, json(fileOf(stateDir, "A")).runs]).toEqual([null, 2]);
  });

  it("P10 a ticket is good again as soon as its bad file is gone or says nothing new", async () => {
    const stateDir = state({ A: { title: "a" } });
    let clock = Date.now();
    const index = open(stateDir, { now: () => clock });
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const good = json(fileOf(stateDir, "A"));
    for (const heal of [() => rmSync(fileOf(stateDir, "A")), () => saveWhole(fileOf(stateDir, "A"), good)]) {
      writeFileSync(fileOf(stateDir, "A"), "{");
      clock += 10_000;
      expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "unreadable" }]);
      heal();
      expect(await index.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
      expect(index.plans.get("p")?.tickets.get("A")?.problem).toBeNull();
    }
  });

  it("P10 a folder or a link in a ticket's place is no ticket and is left alone", async () => {
    const stateDir = state({ A: {}, B: {} });
    const index = open(stateDir);
    for (const id of ["A", "B"]) {
      await index.commit("p", { ...ticketOf(index, id), runs: 1 });
      rmSync(fileOf(stateDir, id));
    }
    mkdirSync(fileOf(stateDir, "A"));
    symlinkSync("/etc/hostname", fileOf(stateDir, "B"));
    const later = open(stateDir, { now: () => Date.now() + 60_000 });
    await later.poll();
    expect(["A", "B"].map((id) => later.plans.get("p")?.tickets.get(id)?.problem?.message)).toEqual([
      "this is a folder",
      "this is a symbolic link",
    ]);
    await later.commit("p", { ...ticketOf(later), runs: 2 });
    expect([statSync(fileOf(stateDir, "A")).isDirectory(), ticketOf(later).runs]).toEqual([true, 2]);
  });
});

describe("restart", () => {
  it("P5 restores a missing projection and sweeps what a crash left", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    rmSync(fileOf(stateDir, "A"));
    writeFileSync(join(stateDir, `plans/p/.orch/revs/A/.tmp-${await deadPid()}-1-x`), "torn");
    const restarted = open(stateDir, { now: () => Date.now() + 10_000 });
    await restarted.poll();
    expect(json(fileOf(stateDir, "A"))).toMatchObject({ title: "a", runs: 1 });
    expect(readdirSync(join(stateDir, "plans/p/.orch/revs/A")).sort()).toEqual(["0.json", "1.json"]);
    expect(readdirSync(join(stateDir, "plans/p/.orch/trash"))).toEqual([]);
  });

  it("P5 folds an edit that was taken away just before the crash", async () => {
    const stateDir = state({ A: { title: "a" } });
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    const edited = { ...json(fileOf(stateDir, "A")), title: "b" };
    rmSync(fileOf(stateDir, "A"));
    writeFileSync(join(stateDir, "plans/p/.orch/trash/ticket~A~digest~1-1-1.json"), JSON.stringify(edited));
    const restarted = open(stateDir);
    await restarted.poll();
    expect([ticketOf(restarted).title, json(fileOf(stateDir, "A")).title]).toEqual(["b", "b"]);
  });

  it("P10 a revision that cannot be read shows, and its number is not used again", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    await index.commit("p", { ...ticketOf(index), runs: 2 });
    writeFileSync(join(stateDir, "plans/p/.orch/revs/A/2.json"), "{");
    const restarted = open(stateDir);
    expect(restarted.plans.get("p")?.tickets.get("A")).toMatchObject({ ticket: { runs: 1 }, problem: { line: 1, column: 2 } });
    expect((await restarted.commit("p", { ...ticketOf(restarted), runs: 3 })).rev).toBe(3);
  });
});

describe("what the system refuses to read", () => {
  /** Refuses every call of `name` for paths that contain `part`. */
  function refuse(name: "readdirSync" | "openSync" | "lstatSync", part: string): () => void {
    const real = disk[name] as (...args: unknown[]) => unknown;
    const restore = () => void Object.assign(disk, { [name]: real });
    onTestFinished(restore);
    const refusing = (...args: unknown[]) => {
      if (String(args[0]).includes(part)) throw Object.assign(new Error("EACCES"), { code: "EACCES" });
      return real(...args);
    };
    Object.assign(disk, { [name]: refusing });
    return restore;
  }

  it.each(["readdirSync", "lstatSync"] as const)("P10 a plan (%s) is that plan's problem alone, until it may be read", async (call) => {
    const stateDir = state();
    cpSync(join(stateDir, "plans/p"), join(stateDir, "plans/q"), { recursive: true });
    writeFileSync(join(stateDir, "plans/q/plan.json"), JSON.stringify({ id: "q" }));
    rmSync(join(stateDir, "plans/q/tickets/A.json"));
    const restore = refuse(call, "plans/q");
    const index = open(stateDir);
    expect(await index.poll()).toEqual([]);
    const problems = () => [...index.plans].map(([id, plan]) => [id, plan.problems.map((problem) => problem.message)]);
    const refused = ["q", ["cannot be read (EACCES)"]];
    expect([problems(), ticketOf(index).rev]).toEqual([[["p", []], refused], 0]);
    restore();
    expect(await index.poll()).toContainEqual({ planId: "q", kind: "changed" });
    expect(problems()).toEqual([
      ["p", []],
      ["q", []],
    ]);
    const again = refuse(call, "plans/q");
    age(join(stateDir, "plans/q/tickets"));
    writeFileSync(join(stateDir, "plans/q/plan.json"), JSON.stringify({ id: "q", milestone: "M2" }));
    expect([await index.poll(), problems()[1]]).toEqual([[{ planId: "q", kind: "unreadable" }], refused]);
    again();
    await index.poll();
    expect([problems()[1], index.plans.get("q")?.plan?.milestone]).toEqual([["q", []], "M2"]);
  });

  it("P5 a revision is not taken for lost: nothing is committed until it may be read", async () => {
    const stateDir = state();
    const index = open(stateDir);
    for (const runs of [1, 2]) await index.commit("p", { ...ticketOf(index), runs });
    const old = ticketOf(index);
    const restore = refuse("openSync", "revs/A/2.json");
    const restarted = open(stateDir);
    expect(restarted.plans.get("p")?.tickets.get("A")).toMatchObject({ ticket: null, problem: { message: "cannot be read (EACCES)" } });
    await expect(restarted.commit("p", old)).rejects.toThrow("cannot be read");
    restore();
    expect(await restarted.poll()).toEqual([{ planId: "p", ticketId: "A", kind: "changed" }]);
    expect(ticketOf(restarted)).toMatchObject({ runs: 2, rev: 2 });
  });

  it("a poll that fails tells what it found with the next one", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.commit("p", { ...ticketOf(index), runs: 1 });
    cpSync(join(stateDir, "plans/p"), join(stateDir, "plans/q"), { recursive: true });
    const other = open(stateDir);
    await other.commit("p", { ...ticketOf(other), runs: 2 });
    saveWhole(fileOf(stateDir, "A"), { ...json(fileOf(stateDir, "A")), title: "b" });
    await expect(index.poll()).rejects.toBeInstanceOf(Fenced);
    rmSync(fileOf(stateDir, "A"));
    expect(await index.poll()).toContainEqual({ planId: "q", kind: "added" });
  });
});

describe("what people add and remove", () => {
  it("finds new plans, new tickets and removed ones", async () => {
    const stateDir = state();
    const index = open(stateDir);
    const other = state({ X: {} });
    writeFileSync(join(other, "plans/p/plan.json"), JSON.stringify({ id: "q", tickets: [] }));
    rmSync(join(other, "plans/p/tickets/X.json"));
    renameSync(join(other, "plans/p"), join(stateDir, "plans/q"));
    writeFileSync(fileOf(stateDir, "B"), JSON.stringify({ planId: "p", ticketId: "B" }));
    expect(await index.poll()).toEqual([
      { planId: "q", kind: "added" },
      { planId: "p", ticketId: "B", kind: "added" },
      { planId: "p", kind: "changed" },
    ]);
    expect(index.plans.get("p")?.problems.map((problem) => problem.message)).toEqual(["tickets/B.json is not in the plan's list"]);
    rmSync(join(stateDir, "plans/q"), { recursive: true });
    rmSync(fileOf(stateDir, "B"));
    rmSync(fileOf(stateDir, "A"));
    const changes = [...(await index.poll()), ...(await index.poll())];
    expect(changes).toContainEqual({ planId: "q", kind: "removed" });
    expect(changes).toContainEqual({ planId: "p", ticketId: "B", kind: "removed" });
    expect(changes).toContainEqual({ planId: "p", ticketId: "A", kind: "unreadable" });
    expect(index.plans.get("p")?.tickets.get("A")?.problem?.message).toBe("there is no such file");
    writeFileSync(fileOf(stateDir, "A"), JSON.stringify({ planId: "p", ticketId: "A", title: "back" }));
    await index.poll();
    expect([ticketOf(index).title, index.plans.get("p")?.tickets.get("A")?.problem, index.plans.get("p")?.problems]).toEqual([
      "back",
      null,
      [],
    ]);
  });

  it("P10 one bad plan neither vanishes nor stops another", async () => {
    const stateDir = state();
    for (const name of ["bad", "b d"]) mkdirSync(join(stateDir, "plans", name));
    writeFileSync(join(stateDir, "plans/bad/plan.json"), "{");
    const index = open(stateDir);
    await index.poll();
    expect([...index.plans].map(([id, plan]) => [id, plan.plan?.id, plan.problems.length])).toEqual([
      ["b d", undefined, 1],
      ["bad", undefined, 1],
      ["p", "p", 0],
    ]);
  });

  it("keeps the last good plan when plan.json goes bad", async () => {
    const stateDir = state();
    const index = open(stateDir);
    const file = join(stateDir, "plans/p/plan.json");
    writeFileSync(file, "{");
    expect(await index.poll()).toEqual([]);
    age(file);
    expect(await index.poll()).toEqual([{ planId: "p", kind: "unreadable" }]);
    expect([index.plans.get("p")?.plan?.id, index.plans.get("p")?.problems[0]?.line]).toEqual(["p", 1]);
  });

  it("updatePlan changes memory and disk", async () => {
    const stateDir = state();
    const index = open(stateDir);
    await index.updatePlan("p", { status: "complete" });
    expect([index.plans.get("p")?.plan?.status, json(join(stateDir, "plans/p/plan.json")).status]).toEqual(["complete", "complete"]);
    await expect(index.updatePlan("none", { status: "paused" })).rejects.toThrow("No plan none");
  });
});

describe("cost", () => {
  it("reads no unchanged file twice, and finds an edit through a hint before its turn", async () => {
    const ids = Array.from({ length: 300 }, (_, i) => `T-${i}`);
    const stateDir = state(Object.fromEntries(ids.map((id) => [id, {}])));
    age(join(stateDir, "plans/p/plan.json"));
    age(join(stateDir, "plans/p/tickets"));
    const real = disk.openSync;
    let opened = 0;
    disk.openSync = ((...args: Parameters<typeof real>) => {
      opened += 1;
      return real(...args);
    }) as typeof real;
    onTestFinished(() => {
      disk.openSync = real;
    });
    const index = open(stateDir);
    expect(opened).toBe(301);
    for (let poll = 0; poll < 5; poll++) expect(await index.poll(100)).toEqual([]);
    expect(opened).toBe(301);
    let hinted = 0;
    index.watch(() => {
      hinted += 1;
    });
    writeFileSync(fileOf(stateDir, "T-299"), JSON.stringify({ planId: "p", ticketId: "T-299", title: "x" }));
    await until(() => hinted > 0);
    const changes = await until(async () => {
      const found = await index.poll(1);
      return found.length > 0 && found;
    });
    expect(changes).toEqual([{ planId: "p", ticketId: "T-299", kind: "changed" }]);
  });
});

it("a reader follows a writer and changes nothing", async () => {
  const stateDir = state({ A: { title: "a" } });
  const [writer, reader] = [open(stateDir), open(stateDir, { writer: false })];
  await writer.commit("p", { ...ticketOf(writer), runs: 1 });
  expect(await reader.poll()).toContainEqual({ planId: "p", ticketId: "A", kind: "changed" });
  expect(ticketOf(reader)).toMatchObject({ runs: 1, rev: 1 });
  await expect(reader.commit("p", ticketOf(reader))).rejects.toThrow("opened for reading");
  rmSync(fileOf(stateDir, "A"));
  await reader.poll();
  expect([ticketOf(reader).runs, readdirSync(join(stateDir, "plans/p/tickets"))]).toEqual([1, []]);
});
