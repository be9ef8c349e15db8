import { spawn } from "node:child_process";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "../testing/until.ts";
import { isAlive, ownIdentity, parseStat, readStat, startByPs } from "./process-identity.ts";
import { findTree, killTree, parsePs } from "./process-tree.ts";

describe("parseStat", () => {
  it("is not misled by the name of a program", () => {
    const line = "42 (a) b (c) S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 0 0";
    expect(parseStat(line)).toEqual({ pid: 42, state: "S", ppid: 1, pgid: 2, sid: 3, start: "98765" });
  });
});

describe("isAlive", () => {
  it("knows this process, and nobody else by its pid", () => {
    const own = ownIdentity();
    expect(isAlive(own)).toBe(true);
    expect(isAlive({ ...own, start: "1" })).toBe(false);
    expect(isAlive({ ...own, bootId: "another" })).toBe(false);
  });

  it("can do without /proc", () => {
    expect(startByPs(process.pid)).toMatch(/ 20\d\d$/);
    expect(startByPs(2 ** 22 + 1)).toBeUndefined();
  });
});

describe("killTree", () => {
  it("P6 finds what has left the session by its mark, and what has dropped the mark by its parent", async () => {
    const variable = `ORCH_TEST=${process.pid}-tree`;
    const script = "setsid sleep 600 & (exec env -i /usr/bin/setsid -w /bin/sleep 600) & exec sleep 600";
    const child = spawn("bash", ["-c", script], {
      stdio: "ignore",
      detached: true,
      env: { PATH: process.env.PATH, ORCH_TEST: `${process.pid}-tree` },
    });
    const pid = child.pid ?? 0;
    const leader = { pid, start: readStat(pid)?.start ?? "" };
    await until(() => findTree({ variable, leader }).found.length >= 3);
    await until(() => findTree({ variable, leader: null }).found.length >= 3);
    expect(await killTree({ variable, leader })).toEqual([]);
    expect(findTree({ variable, leader }).found).toEqual([]);
  });

  it("leaves a session alone whose number is in use again", async () => {
    const child = spawn("sleep", ["600"], { stdio: "ignore", detached: true });
    const pid = child.pid ?? 0;
    onTestFinished(() => void child.kill("SIGKILL"));
    await until(() => readStat(pid)?.sid === pid);
    const variable = "ORCH_TEST=none";
    expect(findTree({ variable, leader: { pid, start: readStat(pid)?.start ?? "" } }).found.map((found) => found.pid)).toEqual([pid]);
    expect(findTree({ variable, leader: { pid, start: "1" } }).found).toEqual([]);
  });

  // Inside a pid namespace, session and group of whatever was started outside of it read as 0, and so do those of kernel threads.
  it("takes 0 for no session at all", () => {
    expect(findTree({ variable: "ORCH_TEST=none", leader: { pid: 0, start: "1" } }).found).toEqual([]);
  });
});

describe("parsePs", () => {
  it("reads processes and their marks", () => {
    const text =
      "    1     0     1 Ss   /sbin/launchd\n  501   1   501 S+   /bin/sleep 600 PATH=/bin ORCH_RUN_DIR=/h/run/p/t/1 HOME=/h\n  502 501 501 Z (sleep)\n";
    const common = { sid: 0, start: "" };
    expect(parsePs(text, "ORCH_RUN_DIR=/h/run/p/t/1")).toEqual([
      { ...common, pid: 1, ppid: 0, pgid: 1, state: "S", marked: false },
      { ...common, pid: 501, ppid: 1, pgid: 501, state: "S", marked: true },
      { ...common, pid: 502, ppid: 501, pgid: 501, state: "Z", marked: false },
    ]);
    expect(parsePs(text, "ORCH_RUN_DIR=/h/run/p/t").some(({ marked }) => marked)).toBe(false);
  });
});
