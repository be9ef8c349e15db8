import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { withRepoLock } from "./repo-lock.ts";

let dir: string;
beforeEach(() => {
  dir = tempDir();
});

it("lets one work at a time, in order, and goes on after a failure", async () => {
  const seen: string[] = [];
  const work = (name: string, fail = false) =>
    withRepoLock({ commonDir: "/r" }, dir, async () => {
      seen.push(`${name} in`);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(`${name} out`);
      if (fail) throw new Error(name);
      return name;
    });
  const results = await Promise.allSettled([work("a"), work("b", true), work("c")]);
  expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(seen).toEqual(["a in", "a out", "b in", "b out", "c in", "c out"]);
});

it("excludes another process, and is free once that one is killed", async () => {
  const script = `
    import { withRepoLock } from ${JSON.stringify(join(import.meta.dirname, "repo-lock.ts"))};
    await withRepoLock({ commonDir: "/r" }, ${JSON.stringify(dir)}, async () => { console.log("held"); await new Promise((r) => process.stdin.on("end", r).resume()); });
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  let held = false;
  child.stdout.on("data", () => {
    held = true;
  });
  try {
    await until(() => held);
    let mine = false;
    const waiting = withRepoLock({ commonDir: "/r" }, dir, async () => {
      mine = true;
    });
    await withRepoLock({ commonDir: "/other" }, dir, async () => undefined);
    // Long enough for several of our tries; the event loop stays free meanwhile.
    execFileSync(process.execPath, ["-e", ""]);
    expect(mine).toBe(false);
    child.kill("SIGKILL");
    await waiting;
    expect(mine).toBe(true);
  } finally {
    child.kill("SIGKILL");
  }
});
