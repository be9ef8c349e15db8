import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { isAlive, readStat } from "../executors/process-identity.ts";
import type { DaemonRecord } from "../state/daemon-record.ts";
import { runCli, startCli, startDaemon } from "../testing/daemon.ts";
import { backgroundDaemon, heldHome } from "../testing/held-home.ts";
import { until } from "../testing/until.ts";

describe("stop", () => {
  it("says that there is nothing to stop", async () => {
    const home = heldHome();
    expect(await runCli(home, "stop")).toEqual({ code: 0, stdout: `No daemon is running for ${home.home}.\n`, stderr: "" });
  });

  it("waits for what runs, says for what, and again when that changes", async () => {
    const home = heldHome("A", "B");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 2);
    const stop = startCli(home, "stop");
    await until(() => stop.stderr().includes("p/B"));
    expect(stop.stderr()).toMatch(/^the daemon \(pid \d+\) waits for p\/A \(only, since 20[^ ]*Z\), p\/B \(only, since 20[^ ]*Z\)\n$/);
    await until(() => home.log().includes("draining: waiting for p/A (only, since"));
    home.release("A");
    await until(() => stop.stderr().split("\n").length === 3);
    expect(stop.stderr().split("\n")[1]).toMatch(/^the daemon \(pid \d+\) waits for p\/B \(only, since 20[^ ]*Z\)$/);
    await until(() => home.log().includes("draining: waiting for p/B (only, since"));
    home.release("B");
    expect(await stop.ended).toBe(0);
    expect(stop.stdout()).toBe(`The daemon (pid ${daemon.pid}) has ended.\n`);
    expect(await daemon.ended).toBe(0);
    expect(["A", "B"].map((id) => home.ticket("p", id).status)).toEqual(["complete", "complete"]);
    expect(readdirSync(home.home)).not.toContain("stop.json");
  });

  it("asked twice it still drains; --now then stops the runs, and the next daemon goes on", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    for (const _ of [1, 2, 3]) expect(await runCli(home, "stop", "--timeout", "0s")).toMatchObject({ code: 75, stdout: "" });
    expect(home.ticket("p", "A").status).toBe("running");
    expect(await runCli(home, "stop", "--now")).toMatchObject({ code: 0, stdout: `The daemon (pid ${daemon.pid}) has ended.\n` });
    expect(await daemon.ended).toBe(0);
    expect(home.ticket("p", "A")).toMatchObject({ status: "ready", currentPhase: "only", retries: { only: 0 } });
    home.release("A");
    await startDaemon(home);
    await until(() => home.ticket("p", "A").status === "complete");
  });

  it("P5 --detach ends the daemon at once; the next one takes up what runs, and runs nothing twice", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    const stopped = await runCli(home, "stop", "--detach");
    expect(stopped).toMatchObject({ code: 0, stderr: "" });
    expect(stopped.stdout).toMatch(/^The daemon \(pid \d+\) has ended\.\nThese runs go on .*: p\/A \(only, since 20[^ ]*Z\)\n$/);
    expect(await daemon.ended).toBe(0);
    expect(home.ticket("p", "A").status).toBe("running");
    await startDaemon(home);
    home.release("A");
    await until(() => home.ticket("p", "A").status === "complete");
    expect(home.starts()).toEqual(["A 0001-only"]);
  });

  it("--detach overtakes a daemon that drains", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    const waiting = startCli(home, "stop");
    await until(() => waiting.stderr().includes("waits for"));
    expect((await runCli(home, "stop", "--detach")).code).toBe(0);
    expect([await waiting.ended, await daemon.ended]).toEqual([0, 0]);
  });

  it("Ctrl-C ends the waiting, not the daemon", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    const stop = startCli(home, "stop");
    await until(() => stop.stderr().includes("waits for"));
    stop.signal("SIGINT");
    expect(await stop.ended).toBe(130);
    expect(home.ticket("p", "A").status).toBe("running");
    home.release("A");
    expect(await daemon.ended).toBe(0);
    expect(home.ticket("p", "A").status).toBe("complete");
  });

  it("75 when the daemon has not ended in time, stopped though it is; it ends once it goes on", async () => {
    const home = heldHome();
    const daemon = await startDaemon(home);
    daemon.signal("SIGSTOP");
    expect(await runCli(home, "stop", "--timeout", "1s")).toEqual({
      code: 75,
      stdout: "",
      stderr: `waiting for the daemon (pid ${daemon.pid})\nerror: the daemon (pid ${daemon.pid}) has not ended within 1 s.\nhint:  it still ends as it was asked; --now ends its runs, --detach leaves them to the next daemon\n`,
    });
    daemon.signal("SIGCONT");
    expect(await daemon.ended).toBe(0);
  });

  it("believes neither a stale daemon.json nor one whose pid belongs to another process by now", async () => {
    const home = heldHome();
    const own = readStat(process.pid)?.start ?? "";
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const facts = { arguments: [], cwd: "/", ready: true, service: null };
    const stale: DaemonRecord[] = [
      { pid: process.pid, start: `${Number(own) - 1}`, bootId, version: "0.1.0", since: "2026-01-01T00:00:00.000Z", daemon: facts },
      { pid: process.pid, start: own, bootId: "another boot", version: "0.1.0", since: "2026-01-01T00:00:00.000Z", daemon: facts },
      { pid: 2 ** 22 + 1, start: "1", bootId, version: "0.1.0", since: "2026-01-01T00:00:00.000Z", daemon: facts },
    ];
    for (const record of stale) {
      writeFileSync(join(home.home, "daemon.json"), JSON.stringify(record));
      expect(await runCli(home, "stop", "--now")).toMatchObject({ code: 0, stdout: `No daemon is running for ${home.home}.\n` });
    }
    writeFileSync(join(home.home, "stop.json"), JSON.stringify({ pid: process.pid, start: own, bootId, how: "now" }));
    const daemon = await startDaemon(home);
    expect(existsSync(join(home.home, "stop.json"))).toBe(false);
    writeFileSync(join(home.home, "stop.json"), "{}");
    await until(() => !existsSync(join(home.home, "stop.json")));
    writeFileSync(join(home.home, "stop.json"), JSON.stringify({ pid: daemon.pid, start: own, bootId, how: "now" }));
    expect((await runCli(home, "stop", "--timeout", "20s")).code).toBe(0);
    expect(await daemon.ended).toBe(0);
  });

  it("leaves other commands that hold the home alone", async () => {
    const home = heldHome("A");
    const run = startCli(home, "run", "p", "A");
    await until(() => home.starts().length === 1);
    for (const command of [["stop", "--now"], ["restart"]]) {
      const refused = await runCli(home, ...command);
      expect(refused).toMatchObject({ code: 4, stdout: "" });
      expect(refused.stderr).toContain("works in");
    }
    home.release("A");
    expect(await run.ended).toBe(0);
  });

  it.each([
    [["--now", "--detach"], "--now ends the runs and --detach leaves them"],
    [["--timeout", "soon"], '--timeout does not understand "soon".'],
    [["--timeout", "10"], '--timeout does not understand "10".'],
  ])("%j ends with 2", async (args, message) => {
    const { code, stderr } = await runCli(heldHome(), "stop", ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe("signals", () => {
  it("of a terminal: the first Ctrl-C drains, the second stops the runs, both told with what runs", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    daemon.signal("SIGINT");
    await until(() => home.log().includes("draining: waiting for p/A (only, since 20"));
    expect(await daemon.end("SIGINT")).toBe(130);
    expect(home.ticket("p", "A")).toMatchObject({ status: "ready", retries: { only: 0 } });
  });

  it("from another terminal: kill twice stops the runs", async () => {
    const home = heldHome("A");
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    const kill = () => spawn("kill", ["-TERM", String(daemon.pid)], { stdio: "ignore" });
    kill();
    await until(() => home.log().includes("draining"));
    kill();
    expect(await daemon.ended).toBe(143);
    expect(home.ticket("p", "A").status).toBe("ready");
  });
});

describe("daemon --detach", () => {
  it("returns when the daemon is at work, which goes on by itself and logs", async () => {
    const home = heldHome("A");
    const started = await runCli(home, "daemon", "--detach", "--concurrency", "2");
    const daemon = backgroundDaemon(home);
    expect(started).toEqual({
      code: 0,
      stdout: `The daemon runs in the background (pid ${daemon.pid}).\nlog: ${home.home}/logs/orchestrator.log\n`,
      stderr: "",
    });
    expect(readStat(daemon.pid)).toMatchObject({ sid: daemon.pid, pgid: daemon.pid });
    expect(daemon).toMatchObject({
      daemon: { arguments: ["--config", `${home.home}/config.yaml`, "--concurrency", "2"], cwd: home.dir, ready: true, service: null },
    });
    await until(() => home.starts().length === 1);
    expect(readFileSync(join(home.home, "logs", "daemon.out"), "utf8")).toBe("");
    const second = await runCli(home, "daemon", "--detach");
    expect(second).toMatchObject({ code: 4, stdout: "" });
    expect(second.stderr).toContain(`already running for ${home.home} (pid ${daemon.pid}, since 20`);
    expect(readdirSync(join(home.home, "logs")).sort()).toEqual(["daemon.out", "orchestrator.log", "p"]);
    home.release("A");
    expect((await runCli(home, "stop")).code).toBe(0);
    expect(isAlive(daemon)).toBe(false);
  });

  it.each([
    [
      "a configuration that cannot be used",
      (home: string) => writeFileSync(join(home, "config.yaml"), "defaultAgent: [\n"),
      8,
      "config.yaml",
    ],
    ["a folder where daemon.json has to be", (home: string) => writeFileSync(join(home, "inbox"), ""), 1, "inbox"],
  ])("passes on the words and the exit code of one that cannot start: %s", async (_what, spoil, code, words) => {
    const home = heldHome();
    spoil(home.home);
    const started = await runCli(home, "daemon", "--detach");
    expect(started).toMatchObject({ code, stdout: "" });
    expect(started.stderr).toContain(words);
    expect(
      existsSync(join(home.home, "logs")) ? readdirSync(join(home.home, "logs")).filter((name) => name.startsWith("daemon")) : [],
    ).toEqual([]);
  });

  it("P5 of ten starts at once exactly one wins, and the others end with 4", async () => {
    const home = heldHome();
    writeFileSync(join(home.home, "daemon.json"), '{"pid": 1, "stale": true}');
    const starts = await Promise.all(Array.from({ length: 10 }, () => runCli(home, "daemon", "--detach")));
    backgroundDaemon(home);
    expect(starts.map(({ code }) => code).sort()).toEqual([0, 4, 4, 4, 4, 4, 4, 4, 4, 4]);
    expect(starts.filter(({ code, stderr }) => code === 4 && !stderr.includes("already running"))).toEqual([]);
    expect((await runCli(home, "stop")).code).toBe(0);
  }, 90_000);
});

describe("restart", () => {
  it("without a daemon starts one", async () => {
    const home = heldHome();
    expect(await runCli(home, "restart")).toMatchObject({ code: 0, stderr: "" });
    backgroundDaemon(home);
    expect((await runCli(home, "stop")).code).toBe(0);
  });

  it("P5 replaces the daemon with one of the same options while its runs go on", async () => {
    const home = heldHome("A");
    const first = await startDaemon(home, ["--concurrency", "2"]);
    await until(() => home.starts().length === 1);
    const restarted = await runCli(home, "restart");
    const second = backgroundDaemon(home);
    expect(restarted).toMatchObject({ code: 0, stderr: "" });
    expect(restarted.stdout).toContain(`The daemon (pid ${first.pid}) has ended.`);
    expect(restarted.stdout).toContain(`The daemon runs in the background (pid ${second.pid}).`);
    expect(await first.ended).toBe(0);
    expect(second.daemon?.arguments).toEqual(["--config", `${home.home}/config.yaml`, "--concurrency", "2"]);
    home.release("A");
    await until(() => home.ticket("p", "A").status === "complete");
    expect(home.starts()).toEqual(["A 0001-only"]);
    expect((await runCli(home, "stop")).code).toBe(0);
  });
});

describe("a bug", () => {
  it.each(["throw new Error('boom')", "Promise.reject(new Error('boom'))"])(
    "%s ends the daemon with 70, and the next one goes on",
    async (bug) => {
      const home = heldHome("A");
      const preload = join(home.dir, "bug.mjs");
      writeFileSync(preload, `process.on("SIGUSR2", () => { ${bug}; });\n`);
      const daemon = await startDaemon({ ...home, env: { ...home.env, NODE_OPTIONS: `--import ${preload}` } });
      await until(() => home.starts().length === 1);
      expect(await daemon.end("SIGUSR2")).toBe(70);
      expect(home.log()).toMatch(/"level":60,.*"message":"boom".*because of a bug/);
      await until(() => readFileSync(join(home.dir, "daemon.out"), "utf8").includes("Error: boom\n    at "));
      home.release("A");
      await startDaemon(home);
      await until(() => home.ticket("p", "A").status === "complete");
      expect(home.starts()).toEqual(["A 0001-only"]);
    },
  );
});

describe("time", () => {
  /** A preload that moves the wall clock by what a file says, in milliseconds; the monotonic clock stays. */
  const skewed = `import { readFileSync } from "node:fs";
const { now } = Date;
const RealDate = Date;
const skew = () => { try { return Number(readFileSync(process.env.CLOCK_SKEW, "utf8")); } catch { return 0; } };
globalThis.Date = class extends RealDate {
  constructor(...args) { if (args.length === 0) super(now() + skew()); else super(...args); }
  static now() { return now() + skew(); }
};
`;

  it("P5 a wall clock set forward by 8 hours, and back, kills nothing and delays nothing", async () => {
    const home = heldHome("A", "B");
    const preload = join(home.dir, "clock.mjs");
    const skew = join(home.dir, "skew");
    writeFileSync(preload, skewed);
    const env = { ...home.env, NODE_OPTIONS: `--import ${preload}`, CLOCK_SKEW: skew };
    const daemon = await startDaemon({ ...home, env });
    await until(() => home.starts().length === 2);
    writeFileSync(skew, String(8 * 3600_000));
    home.writePlan({ id: "q", workflow: "held" }, [{ ticketId: "C" }]);
    await until(() => home.starts().length === 3);
    home.release("A");
    await until(() => home.ticket("p", "A").status === "complete");
    writeFileSync(skew, String(-3600_000));
    home.writePlan({ id: "r", workflow: "held" }, [{ ticketId: "D" }]);
    await until(() => home.starts().length === 4);
    for (const id of ["B", "C", "D"]) home.release(id);
    const ids = [
      ["p", "A"],
      ["p", "B"],
      ["q", "C"],
      ["r", "D"],
    ] as const;
    await until(() => ids.every(([plan, id]) => home.ticket(plan, id).status === "complete"));
    const histories = ids.map(([plan, id]) => home.ticket(plan, id).phaseHistory.map(({ status }) => status));
    expect(histories).toEqual([["success"], ["success"], ["success"], ["success"]]);
    expect(home.starts().sort()).toEqual(["A 0001-only", "B 0001-only", "C 0001-only", "D 0001-only"]);
    expect(await daemon.end("SIGTERM")).toBe(0);
  });

  it("P5 daemon, shim and program stopped for longer than any limit are neither lost nor timed out", async () => {
    const home = heldHome("A");
    home.writeWorkflow(
      "held.yaml",
      "name: held\nphases:\n  - { id: only, type: script, command: step.sh, timeoutSeconds: 3, idleTimeoutSeconds: 3, onSuccess: done }\n  - { id: done, type: terminal }\n",
    );
    const daemon = await startDaemon(home);
    await until(() => home.starts().length === 1);
    const claim = JSON.parse(readFileSync(join(home.home, "run/p/A/0001-only/claim.json"), "utf8")) as { pid: number };
    const program = home.program("A");
    const all = [daemon.pid, claim.pid, program];
    onTestFinished(() => {
      for (const pid of all) if (readStat(pid)) process.kill(pid, "SIGCONT");
    });
    for (const pid of all) process.kill(pid, "SIGSTOP");
    const stoppedAt = performance.now();
    expect((await runCli(home, "daemon")).code).toBe(4);
    await until(() => performance.now() - stoppedAt > 4000);
    process.kill(daemon.pid, "SIGCONT");
    await until(() => performance.now() - stoppedAt > 5000);
    // Its shim is stopped, not gone.
    expect(home.ticket("p", "A").activity.state).toBe("running");
    process.kill(claim.pid, "SIGCONT");
    process.kill(program, "SIGCONT");
    home.release("A");
    await until(() => home.ticket("p", "A").status === "complete");
    expect(home.ticket("p", "A").phaseHistory.map(({ status }) => status)).toEqual(["success"]);
    expect(home.starts()).toEqual(["A 0001-only"]);
  });
});

it("a lock file that was left behind, with a folder full of stale files, keeps nobody out", async () => {
  const home = heldHome();
  const first = await startDaemon(home);
  await first.end("SIGKILL");
  writeFileSync(join(home.home, "lock", "daemon.lock-journal"), "");
  writeFileSync(join(home.home, "stop.json"), "not JSON");
  writeFileSync(join(home.home, ".tmp-1-1-abc"), "half");
  expect(existsSync(join(home.home, "daemon.json"))).toBe(true);
  const second = await startDaemon(home);
  expect(await second.end("SIGTERM")).toBe(0);
  rmSync(join(home.home, ".tmp-1-1-abc"), { force: true });
});
