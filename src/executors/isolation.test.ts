import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { UserError } from "../domain/errors.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { findIsolation, isolationFinder } from "./isolation.ts";
import { isAlive, type ProcessIdentity } from "./process-identity.ts";

/** Gives this process a PATH for one test. */
function withPath(path: string): void {
  const before = process.env.PATH ?? "";
  process.env.PATH = path;
  onTestFinished(() => {
    process.env.PATH = before;
  });
}

const runs = (prefix: string[], script: string) => {
  const [program = "sh", ...args] = [...prefix, "/bin/sh", "-c", script];
  return execFileSync(program, args, { encoding: "utf8" }).trim();
};

describe.runIf(process.platform === "linux")("what holds the processes of a run together", () => {
  it("is a pid namespace for root, and adoption for others", async () => {
    const { kind, reason } = await findIsolation("auto");
    if (process.getuid?.() === 0) expect(kind === "namespace" || reason?.startsWith("no pid namespace (")).toBe(true);
    else expect(kind).toBe("subreaper");
  });

  it("names to the shim the one that gets the orphans, and passes its exit code on", async () => {
    for (const wish of ["auto", "off"] as const) {
      const { prefix } = await findIsolation(wish);
      const orphan = '(sleep 0.2; echo "$PPID" | cat >/dev/null) & exit 0';
      expect(runs(prefix, `sh -c '${orphan}'; test "$PPID" = "$ORCH_ADOPTER" && echo yes`)).toBe("yes");
      expect(() => runs(prefix, "exit 7")).toThrow(expect.objectContaining({ status: 7 }));
    }
  });

  it("shows a process in a namespace which pids it and others have outside", async () => {
    const isolation = await findIsolation("namespace").catch(() => undefined);
    if (!isolation) return;
    const [program = "", ...prefix] = isolation.prefix;
    const code = `import { identityIn, ownIdentity, pidsIn } from ${JSON.stringify(new URL("./process-identity.ts", import.meta.url).href)};
      console.log(JSON.stringify([ownIdentity(), identityIn(3), pidsIn(3, [process.pid, 99999])]));
      setInterval(() => {}, 1000);`;
    const proc = openSync("/proc", "r");
    const child = spawn(program, [...prefix, process.execPath, "--input-type=module", "-e", code], {
      stdio: ["ignore", "pipe", "inherit", proc],
    });
    closeSync(proc);
    const exited = once(child, "exit");
    const [said] = (await once(child.stdout?.setEncoding("utf8") ?? child, "data")) as [string];
    const [inside, outside, pids] = JSON.parse(said) as [ProcessIdentity, ProcessIdentity, number[]];
    expect(inside).toEqual({ ...outside, pid: 2 });
    expect(pids).toEqual([outside.pid]);
    expect(isAlive(outside)).toBe(true);
    // The end of who made it is the end of the namespace.
    child.kill("SIGKILL");
    await exited;
    await until(() => !isAlive(outside));
  });

  it("is nothing where neither can be had, and that is said", async () => {
    withPath(tempDir());
    expect(await findIsolation("off")).toEqual({
      kind: "none",
      prefix: [],
      reason: "isolateProcesses is off; no subreaper (perl: ENOENT)",
    });
  });

  it("is an error where a namespace was asked for in vain, until it can be had", async () => {
    const find = isolationFinder(() => "namespace");
    const error = await (async () => {
      withPath(tempDir());
      return find().catch((reason: unknown) => reason);
    })();
    expect(error).toBeInstanceOf(UserError);
    expect(error).toMatchObject({ message: 'isolateProcesses is "namespace", and there is no pid namespace (unshare: ENOENT).' });
  });
});
