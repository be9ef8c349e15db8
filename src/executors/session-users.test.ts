import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { expect, it, onTestFinished } from "vitest";
import { until } from "../testing/until.ts";
import { processesNaming } from "./session-users.ts";

it("finds the processes that have a conversation open, and none of another one", async () => {
  const [id, path] = [randomUUID(), `/sessions/${randomUUID()}.jsonl`];
  const started = [[id], [`--resume=${id}`], ["--session", path]].map((args) =>
    spawn(process.execPath, ["-e", "process.stdin.resume()", "--", ...args], { stdio: ["pipe", "ignore", "ignore"] }),
  );
  onTestFinished(() => {
    for (const child of started) child.kill("SIGKILL");
  });
  const pids = started.map(({ pid }) => pid);
  await until(() => processesNaming([id, path]).length === 3);
  expect(processesNaming([id, path]).toSorted()).toEqual(pids.toSorted());
  expect(processesNaming([path])).toEqual([pids[2]]);
  expect(processesNaming([randomUUID(), id.slice(1)])).toEqual([]);
});
