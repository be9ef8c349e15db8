import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { createShims } from "./shims.ts";

it("P7 a shim that was stopped while it waited holds no run up: another one takes the order", async () => {
  const home = tempDir("orch-home-");
  const dir = join(home, "p", "T1", "0001-work");
  mkdirSync(dir, { recursive: true });
  const shims = createShims(200);
  onTestFinished(() => shims.close());
  const isolation = { kind: "none" as const, prefix: [], reason: null };
  shims.prepare(isolation, dir);
  const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean);
  const shimsAlive = () => children().filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(home));
  const [spare] = await until(() => (shimsAlive().length === 1 ? shimsAlive() : undefined));
  process.kill(Number(spare), "SIGSTOP");

  const { promise: ended, resolve } = Promise.withResolvers<void>();
  // More than its stdin holds, so that it has to be read.
  await shims.start(isolation, { dir, env: { LONG: "x".repeat(2_000_000) } }, resolve);
  await ended;
  await until(() => children().length === 0);
  expect(shimsAlive()).toEqual([]);
});
