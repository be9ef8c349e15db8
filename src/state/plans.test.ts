import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { Plan } from "../domain/plan.ts";
import { tempDir } from "../testing/temp.ts";
import { disk } from "./atomic-write.ts";
import { listPlans, listProblems } from "./plan-list.ts";
import { readPlan, updatePlan } from "./plans.ts";

function plan(fields: Record<string, unknown> = {}): { stateDir: string; file: string } {
  const stateDir = tempDir();
  mkdirSync(join(stateDir, "plans/p"), { recursive: true });
  const file = join(stateDir, "plans/p/plan.json");
  writeFileSync(file, JSON.stringify({ id: "p", milestone: "M3", ...fields }));
  return { stateDir, file };
}

const hold = { by: "ana", at: "2026-11-21T12:00:00.000Z", reason: "freeze" };

describe("readPlan", () => {
  it("insists that the id is the folder's name", () => {
    expect(() => readPlan(plan({ id: "q" }).stateDir, "p")).toThrow("id: is q");
    expect(readPlan(plan().stateDir, "p")).toMatchObject({ id: "p", milestone: "M3", status: "active" });
    expect(readPlan(plan().stateDir, "none")).toBeUndefined();
  });

  it("names the wrong field", () => {
    expect(() => readPlan(plan({ tickets: [{ ticketId: "../x" }] }).stateDir, "p")).toThrow(
      /plan\.json:1:40: tickets\[0\]\.ticketId: an id is/,
    );
  });
});

it("listPlans leaves out what is still being written", () => {
  const { stateDir } = plan();
  mkdirSync(join(stateDir, "plans/.new"));
  writeFileSync(join(stateDir, "plans/notes.txt"), "");
  symlinkSync("/tmp", join(stateDir, "plans/link"));
  expect([listPlans(stateDir), listPlans(tempDir())]).toEqual([["link", "p"], []]);
});

it("P10 listProblems names twins, doubles, missing and unlisted tickets", () => {
  const listed = Plan.parse({ id: "p", tickets: ["A", "a", "B", "B", "C"].map((ticketId) => ({ ticketId })) });
  expect(listProblems("plan.json", listed, ["A", "a", "B", "D"]).map((problem) => problem.message)).toEqual([
    "tickets: B is listed twice",
    "tickets: A and a differ only in case, so a is held",
    "tickets: C has no file",
    "tickets/D.json is not in the plan's list",
  ]);
});

describe("updatePlan", () => {
  it("changes status and hold alone", async () => {
    const { stateDir, file } = plan();
    const updated = await updatePlan(stateDir, "p", { status: "paused", hold });
    expect(updated?.plan).toMatchObject({ status: "paused", hold });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ id: "p", milestone: "M3", status: "paused", hold });
    expect(await updatePlan(stateDir, "q", { status: "paused" })).toBeUndefined();
  });

  it.each(["rename", "link"] as const)("loses no edit that is saved just before its %s", async (call) => {
    const { stateDir, file } = plan();
    const real = disk[call];
    onTestFinished(() => {
      disk[call] = real;
    });
    disk[call] = (...args) => {
      disk[call] = real;
      writeFileSync(file, JSON.stringify({ id: "p", milestone: "M4" }));
      return real(...args);
    };
    await updatePlan(stateDir, "p", { hold });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ id: "p", milestone: "M4", hold });
  });

  it("P5 puts the plan back when the disk fails in between", async () => {
    const { stateDir, file } = plan();
    const real = disk.link;
    onTestFinished(() => {
      disk.link = real;
    });
    disk.link = async () => {
      disk.link = real;
      throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    };
    await expect(updatePlan(stateDir, "p", { hold })).rejects.toThrow("ENOSPC");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ id: "p", milestone: "M3" });
  });
});
