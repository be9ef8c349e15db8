import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { state } from "../testing/state.ts";
import { disk } from "./atomic-write.ts";
import { openIndex } from "./index.ts";
import { pinWorkflow, readPinned, replacePinned } from "./pinned-workflows.ts";

const pinnedIn = (stateDir: string) => readdirSync(join(stateDir, "plans/p/workflows")).filter((name) => name.endsWith(".yaml"));

it("pins a text once and replaces it", async () => {
  const stateDir = state();
  expect(readPinned(stateDir, "p", "flow")).toBeUndefined();
  pinWorkflow(stateDir, "p", "flow", "one");
  pinWorkflow(stateDir, "p", "flow.b", "other");
  expect(readPinned(stateDir, "p", "flow")?.text).toBe("one");
  await replacePinned(stateDir, "p", "flow", "two");
  expect([readPinned(stateDir, "p", "flow")?.text, readPinned(stateDir, "p", "flow.b")?.text]).toEqual(["two", "other"]);
  const names = pinnedIn(stateDir);
  await replacePinned(stateDir, "p", "flow", "two");
  expect(pinnedIn(stateDir)).toEqual(names);
  pinWorkflow(stateDir, "p", "new", "text");
  expect(pinnedIn(stateDir)).toHaveLength(3);
});

it("pins nothing where the plan's folder has gone", async () => {
  const stateDir = state();
  expect(() => pinWorkflow(stateDir, "gone", "flow", "one")).toThrow("ENOENT");
  await expect(replacePinned(stateDir, "gone", "flow", "one")).rejects.toMatchObject({ code: "ENOENT" });
  expect(readdirSync(join(stateDir, "plans"))).toEqual(["p"]);
});

it("P5 whatever call a replacement dies at, one text is pinned, the old or the new one", async () => {
  const real = { ...disk } as Record<string, (...args: unknown[]) => unknown>;
  const restore = () => Object.assign(disk, real);
  onTestFinished(() => void restore());
  const found = new Set<string>();
  for (let failing = 0, reached = true; reached; failing++) {
    const stateDir = state();
    pinWorkflow(stateDir, "p", "flow", "old");
    let calls = 0;
    for (const [name, call] of Object.entries(real)) {
      const dying = (...args: unknown[]) => {
        if (calls++ >= failing) throw Object.assign(new Error("EIO"), { code: "EIO" });
        return call(...args);
      };
      Object.assign(disk, { [name]: dying });
    }
    await replacePinned(stateDir, "p", "flow", "new").catch(() => undefined);
    restore();
    reached = calls > failing;
    const [name = "", ...others] = pinnedIn(stateDir);
    const text = readFileSync(join(stateDir, "plans/p/workflows", name), "utf8");
    expect([others, readPinned(stateDir, "p", "flow")?.text], `call ${failing}`).toEqual([[], text]);
    found.add(text);
    // The next process sweeps, and may replace it again.
    openIndex(stateDir, { writer: true }).close();
    await replacePinned(stateDir, "p", "flow", "new");
    expect(readdirSync(join(stateDir, "plans/p/workflows")).filter((each) => !each.startsWith(".tmp-"))).toHaveLength(1);
    expect(readPinned(stateDir, "p", "flow")?.text).toBe("new");
  }
  expect([...found].sort()).toEqual(["new", "old"]);
});

it("says so when a pinned text cannot be read", () => {
  const stateDir = state();
  mkdirSync(join(stateDir, "plans/p/workflows/flow.0123456789ab.yaml"), { recursive: true });
  expect(() => readPinned(stateDir, "p", "flow")).toThrow("flow.0123456789ab.yaml");
});
