import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { LockTimeout, withFileLock } from "../lib/file-lock.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { acquireDaemonLock } from "./lock.ts";

const source = JSON.stringify(join(import.meta.dirname, "lock.ts"));

async function holder(home: string): Promise<ChildProcess> {
  const script = `
    const { acquireDaemonLock } = await import(${source});
    const lock = acquireDaemonLock(${JSON.stringify(home)});
    process.stdout.write(lock ? "held" : "refused");
    process.stdin.resume();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const [answer] = (await once(child.stdout, "data")) as [Buffer];
  expect(answer.toString()).toBe("held");
  return child;
}

it("P5 one process at a time holds the daemon lock, and kill -9 gives it back", async () => {
  const home = tempDir();
  const child = await holder(home);
  expect(acquireDaemonLock(home)).toBeUndefined();
  child.kill("SIGSTOP");
  expect(acquireDaemonLock(home)).toBeUndefined();
  child.kill("SIGKILL");
  const lock = await until(() => acquireDaemonLock(home));
  expect(acquireDaemonLock(home)).toBeUndefined();
  lock.release();
  lock.release();
  acquireDaemonLock(home)?.release();
});

it("withFileLock lets waiters in one after the other and gives up in time", async () => {
  const file = join(tempDir(), "x.lock");
  let inside = 0;
  const seen = await Promise.all(
    Array.from({ length: 8 }, () =>
      withFileLock(
        file,
        async () => {
          inside += 1;
          await new Promise((resolve) => setImmediate(resolve));
          return inside--;
        },
        { timeoutMs: 10_000 },
      ),
    ),
  );
  expect(seen).toEqual(Array(8).fill(1));
  await withFileLock(
    file,
    async () => {
      await expect(withFileLock(file, () => 1, { timeoutMs: 20 })).rejects.toBeInstanceOf(LockTimeout);
    },
    { timeoutMs: 1000 },
  );
  await expect(withFileLock(file, () => Promise.reject(new Error("no")), { timeoutMs: 1000 })).rejects.toThrow("no");
  expect(await withFileLock(file, () => 7, { timeoutMs: 1000 })).toBe(7);
});
