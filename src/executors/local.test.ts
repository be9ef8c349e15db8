import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import type { ExitRecord, Observation, RunRef, RunSpec } from "../domain/run.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import type { Executor } from "./executor.ts";
import { findIsolation, type Isolation } from "./isolation.ts";
import { createLocalExecutor } from "./local.ts";
import { readProc, readStat } from "./process-identity.ts";
import { findTree, killTree } from "./process-tree.ts";
import { markVariable } from "./run-environment.ts";

const shim = fileURLToPath(new URL("./shim.ts", import.meta.url));
const fakeAgent = fileURLToPath(new URL("../testing/fake-agents/fake-agent.mjs", import.meta.url));
const MiB = 1024 * 1024;
/** What a shim may take at most, whatever its program writes. */
const shimPeak = 160 * MiB;
/** What a run that keeps 1 MiB may take on disk: while head and tail are joined, a part of the tail is there twice. */
const runDisk = 1.5 * MiB;

const nothing: Isolation = { kind: "none", prefix: [], reason: null };
const subreaper = await findIsolation("off");
const namespace = await findIsolation("namespace").catch(() => nothing);

/** A home for runs; whatever they leave alive is killed after the test, and fails it. */
function setUp(isolation?: Isolation) {
  const home = tempDir();
  const runDir = (ref: RunRef) => join(home, "run", ref.planId, ref.ticketId, ref.runId);
  const executor = createLocalExecutor(runDir, isolation && (async () => isolation));
  const started: RunRef[] = [];
  const ledger = join(home, "ledger");
  writeFileSync(ledger, "");
  onTestFinished(async () => {
    const left: number[] = [];
    for (const ref of started) {
      const now = await executor.observe(ref).catch(() => undefined);
      if (now?.state === "running" && now.pid !== process.pid) {
        left.push(now.pid);
        process.kill(now.pid, "SIGKILL");
      }
      const mark = { variable: markVariable(runDir(ref)), leader: null };
      left.push(...findTree(mark).found.map(({ pid }) => pid));
      await killTree(mark);
    }
    left.push(...programs());
    for (const pid of programs()) process.kill(pid, "SIGKILL");
    executor.close();
    expect(left).toEqual([]);
  });

  function specOf(argv: string[], changes: Partial<RunSpec> = {}): RunSpec {
    const ref = { planId: "plan", ticketId: "T1", runId: `${String(started.length + 1).padStart(4, "0")}-implement` };
    started.push(ref);
    return {
      schema: 1,
      ...ref,
      phase: "implement",
      phaseType: "script",
      argv,
      cwd: home,
      envNames: ["PATH", "FAKE_SCENARIO", "FAKE_LEDGER", "MY_TOKEN", "NODE_OPTIONS", "LARGE"],
      stdin: "none",
      stdout: "pump",
      reader: null,
      wallMs: 20_000,
      idleMs: null,
      keepBytes: MiB,
      stop: { signal: "SIGTERM", graceMs: 500 },
      data: {},
      ...changes,
    };
  }

  /** Programs of runs, and what they have left: all that works in the home. Inside a pid namespace their pids are others. */
  const programs = () =>
    readdirSync("/proc")
      .map(Number)
      .filter((pid) => pid > 0 && workingDir(pid) === home && isAlivePid(pid));

  const env = (scenario: unknown = []) => ({
    PATH: process.env.PATH ?? "",
    FAKE_LEDGER: ledger,
    FAKE_SCENARIO: JSON.stringify(scenario),
  });

  return {
    home,
    runDir,
    executor,
    specOf,
    env,
    programs,
    fakeSpec: (changes: Partial<RunSpec> = {}) => specOf([process.execPath, fakeAgent], changes),
    /** Processes of a kind that fake agents noted in their ledger, by the pid that they have for themselves. */
    noted: (kind: string) => [...readFileSync(ledger, "utf8").matchAll(new RegExp(`^${kind} \\S+ (\\d+)$`, "gm"))].map((m) => Number(m[1])),
    async run(spec: RunSpec, variables: Record<string, string> = env(), prompt: string | null = null): Promise<ExitRecord> {
      await executor.submit(spec, variables, prompt);
      return (await over(executor, spec)).exit;
    },
  };
}

async function over(executor: Executor, ref: RunRef): Promise<{ exit: ExitRecord }> {
  const observation = await until(async () => {
    const now = await executor.observe(ref);
    return now.state === "running" || now.state === "unclaimed" ? undefined : now;
  }, 25_000);
  if (observation.state !== "finished") throw new Error(`the run is ${JSON.stringify(observation)}`);
  return observation;
}

async function runningPid(executor: Executor, ref: RunRef): Promise<number> {
  const isRunning = (now: Observation) => (now.state === "running" ? now.pid : undefined);
  return until(async () => isRunning(await executor.observe(ref)));
}

function workingDir(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return ""; // gone, or somebody else's
  }
}

function isAlivePid(pid: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.state !== "Z";
}

/** All that a run's folder holds. Files may go while we look. */
function kept(dir: string): string {
  return readdirSync(dir)
    .filter((name) => statSync(join(dir, name), { throwIfNoEntry: false })?.isFile())
    .map((name) => {
      try {
        return readFileSync(join(dir, name), "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
        throw error;
      }
    })
    .join("\n");
}

describe("a run", () => {
  it("ends with a record of what it did", async () => {
    const { run, specOf, runDir } = setUp();
    const spec = specOf(["bash", "-c", "cat; echo oops >/dev/stderr; exit 3"], { stdin: "prompt" });
    const exit = await run(spec, undefined, "do it\n");
    expect(exit).toEqual({
      schema: 1,
      runId: spec.runId,
      startedAt: expect.any(String),
      endedAt: expect.any(String),
      durationMs: expect.any(Number),
      end: "exited",
      exitCode: 3,
      signal: null,
      message: null,
      stdoutTail: "do it\n",
      stderrTail: "oops\n",
      stdoutBytes: 6,
      stderrBytes: 5,
      agent: null,
      survivors: [],
    });
    expect(exit.durationMs).toBeLessThan(450);
    // exit.json has its name an instant before it has lost its first one.
    await until(() => !readdirSync(runDir(spec)).some((name) => name.startsWith(".tmp-")));
    expect(readdirSync(runDir(spec)).sort()).toEqual(["claim.json", "exit.json", "prompt.md", "spec.json", "stderr.log", "stdout.log"]);
  });

  it("P12 lies in a private folder of private files", async () => {
    const { run, specOf, runDir } = setUp();
    const spec = specOf(["true"], { stdin: "prompt" });
    await run(spec, undefined, "secret plans");
    expect(statSync(runDir(spec)).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(runDir(spec))) expect([name, statSync(join(runDir(spec), name)).mode & 0o777]).toEqual([name, 0o600]);
  });

  it("has the environment that was named, and no other", async () => {
    const { run, specOf } = setUp();
    const exit = await run(specOf(["/usr/bin/env"], { envNames: ["PATH", "MY_VARIABLE"] }), {
      PATH: "/usr/bin:/bin",
      MY_VARIABLE: "1",
      OTHER: "2",
    });
    const names = exit.stdoutTail
      .trim()
      .split("\n")
      .map((line) => line.replace(/=.*/, ""));
    expect(names.sort()).toEqual(["MY_VARIABLE", "ORCH_RUN", "ORCH_RUN_DIR", "PATH"]);
    expect(exit.stdoutTail).toContain("ORCH_RUN=plan/T1/0001-implement\n");
  });

  it("is not disturbed by variables that would act on node", async () => {
    const { run, specOf } = setUp();
    const exit = await run(specOf(["printenv", "NODE_OPTIONS"]), { PATH: process.env.PATH ?? "", NODE_OPTIONS: "--require /nowhere.js" });
    expect(exit.stdoutTail).toBe("--require /nowhere.js\n");
  });

  it("turns bytes that are no UTF-8 into replacement characters", async () => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(fakeSpec(), env([{ bytes: "61ff62c30a" }, { print: "é\n" }]));
    expect(exit.stdoutTail).toBe("a\ufffdb\ufffd\né\n");
  });

  it.each([nothing, subreaper, namespace])("tells a signal that it died of from an exit code: $kind", async (isolation) => {
    const { run, fakeSpec, specOf, env } = setUp(isolation);
    expect(await run(fakeSpec(), env([{ crash: "SIGKILL" }]))).toMatchObject({ end: "exited", exitCode: null, signal: "SIGKILL" });
    expect(await run(specOf(["sh", "-c", "exit 137"]))).toMatchObject({ end: "exited", exitCode: 137, signal: null });
  });

  it("costs the daemon no descriptor", async () => {
    const { executor, specOf, env } = setUp();
    const before = readdirSync("/proc/self/fd").length;
    const specs = [1, 2, 3].map(() => specOf(["sleep", "600"]));
    for (const spec of specs) await executor.submit(spec, env(), null);
    for (const spec of specs) await runningPid(executor, spec);
    expect(readdirSync("/proc/self/fd").length).toBe(before);
    for (const spec of specs) await executor.cancel(spec);
    for (const spec of specs) await over(executor, spec);
  });

  it("P6 whose shim was killed while it waited gets another one, and the last one goes with the daemon", async () => {
    const { executor, specOf, env, home } = setUp();
    const waiting = () =>
      readdirSync("/proc").flatMap((name) => {
        const isOurs = /^\d+$/.test(name) && readProc(Number(name), "cmdline")?.includes(`${shim}\0${home}/run\0`);
        return isOurs ? [Number(name)] : [];
      });
    const [first, spec] = [specOf(["true"]), specOf(["true"])];
    await executor.submit(first, env(), null);
    await over(executor, first);
    await until(() => waiting().length > 0);
    for (const pid of waiting()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It went with the first one of its pid namespace.
      }
    }
    await executor.submit(spec, env(), null);
    expect(await over(executor, spec)).toMatchObject({ exit: { exitCode: 0 } });
    executor.close();
    await until(() => waiting().length === 0);
  });

  it("hints at its end", async () => {
    const { executor, specOf, env } = setUp();
    const hints: string[] = [];
    executor.onHint(({ runId }) => hints.push(runId));
    const spec = specOf(["true"]);
    await executor.submit(spec, env(), null);
    // Its claim may be hinted at too; a run that nobody watches any more is hinted at no longer.
    await until(async () => hints.includes(spec.runId) && (await executor.observe(spec)).state === "finished");
  });
});

describe("a run that cannot start", () => {
  it.each([
    ["a missing program", ["no-such-program"], {}, /^no-such-program was not found on PATH/],
    ["a missing path", ["/no/such/program"], {}, /^\/no\/such\/program does not exist$/],
    ["a folder for a program", ["/tmp"], {}, /^\/tmp may not be executed/],
    ["a missing working directory", ["true"], { cwd: "/no/such/folder" }, /^the working directory \/no\/such\/folder does not exist$/],
    ["an argument of 200 kB", ["true", "x".repeat(200_000)], {}, /argument 1 has more than 131071 bytes/],
    ["an argument with a zero byte", ["true", "a\0b"], {}, /null bytes/],
    ["no program", [], {}, /argv is empty/],
  ] as const)("says so: %s", async (_name, argv, changes, message) => {
    const { run, specOf } = setUp();
    const exit = await run(specOf([...argv], changes));
    expect(exit).toMatchObject({ end: "spawn_failed", exitCode: null, message: expect.stringMatching(message) });
  });

  it("names the variable that is too long", async () => {
    const { run, specOf, env } = setUp();
    const exit = await run(specOf(["true"], { envNames: ["PATH", "LARGE"] }), { ...env(), LARGE: "x".repeat(200_000) });
    const message = expect.stringContaining("environment variable LARGE has more than 131071 bytes");
    expect(exit).toMatchObject({ end: "spawn_failed", message });
  });

  it("names a missing interpreter", async () => {
    const { run, specOf, home } = setUp();
    writeFileSync(join(home, "script"), "#!/no/such/shell\n", { mode: 0o755 });
    expect((await run(specOf([join(home, "script")]))).message).toContain("the interpreter that its first line names does not exist");
  });
});

describe("the claim", () => {
  it("P5 a late shim finds its claim revoked", async () => {
    const { executor, specOf, runDir, home } = setUp();
    const spec = specOf(["touch", join(home, "ran")]);
    expect(await executor.observe(spec)).toEqual({ state: "unclaimed" });
    expect(await executor.revoke(spec)).toEqual({ state: "revoked" });
    writeFileSync(join(runDir(spec), "spec.json"), JSON.stringify(spec));
    expect(await shimExit(runDir(spec))).toBe(3);
    expect(existsSync(join(home, "ran"))).toBe(false);
    expect(await executor.revoke(spec)).toEqual({ state: "revoked" });
    expect(readdirSync(runDir(spec)).sort()).toEqual(["claim.json", "spec.json"]);
  });

  it("P5 of many shims of one run one runs", async () => {
    const { executor, fakeSpec, runDir, noted, env } = setUp();
    const spec = fakeSpec();
    mkdirSync(runDir(spec), { recursive: true });
    writeFileSync(join(runDir(spec), "spec.json"), JSON.stringify(spec));
    const codes = await Promise.all([1, 2, 3, 4].map(() => shimExit(runDir(spec), env())));
    expect(codes.sort()).toEqual([0, 3, 3, 3]);
    expect(noted("START")).toHaveLength(1);
    expect(await executor.observe(spec)).toMatchObject({ state: "finished", exit: { exitCode: 0 } });
  });

  it("P5 a run that is under way cannot be revoked", async () => {
    const { executor, specOf, env } = setUp();
    const spec = specOf(["sleep", "600"]);
    await executor.submit(spec, env(), null);
    const pid = await runningPid(executor, spec);
    expect(await executor.revoke(spec)).toEqual({ state: "running", pid });
    await executor.cancel(spec);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped" } });
  });

  it.each([nothing, subreaper, namespace])(
    "P5 P6 of a shim that was killed nothing is left, and the run is lost: $kind",
    async (isolation) => {
      const { executor, fakeSpec, noted, programs, env } = setUp(isolation);
      const spec = fakeSpec();
      await executor.submit(spec, env([{ leave: "child" }, { leave: "setsid" }, { leave: "daemon" }, { hang: true }]), null);
      const pid = await runningPid(executor, spec);
      await until(() => noted("LEFT").length === 3);
      const hints: string[] = [];
      executor.onHint(({ runId }) => hints.push(runId));
      process.kill(pid, "SIGKILL");
      await until(() => hints.length > 0);
      const lost = { state: "lost", reason: `its supervisor (pid ${pid}) was killed` };
      expect(await until(async () => ((await executor.observe(spec)).state === "lost" ? executor.observe(spec) : undefined))).toEqual(lost);
      expect(programs()).toEqual([]);
    },
  );

  it("P5 another process with the shim's pid is not taken for it", async () => {
    const { executor, specOf, runDir } = setUp();
    const spec = specOf(["true"]);
    await executor.revoke(spec);
    const file = join(runDir(spec), "claim.json");
    const claim = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...claim, by: "shim" }));
    expect(await executor.observe(spec)).toEqual({ state: "running", pid: process.pid });
    writeFileSync(file, JSON.stringify({ ...claim, by: "shim", start: "1" }));
    expect(await executor.observe(spec)).toMatchObject({ state: "lost" });
    writeFileSync(file, JSON.stringify({ ...claim, by: "shim", bootId: "earlier" }));
    expect(await executor.observe(spec)).toEqual({ state: "lost", reason: "the machine was restarted while it ran" });
  });

  it("P5 a run outlives the daemon, and the next one adopts it", async () => {
    const { executor, fakeSpec, runDir, env, home } = setUp();
    const spec = fakeSpec();
    const daemon = forkDaemon(home);
    daemon.send({ dir: runDir(spec), spec, env: env([{ print: "one\n" }, { wait: 500 }, { print: "two\n" }, { exit: 7 }]) });
    await new Promise((resolve) => daemon.once("message", resolve));
    const gone = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGKILL");
    await gone;
    const hints: string[] = [];
    executor.onHint(({ runId }) => hints.push(runId));
    await runningPid(executor, spec);
    await until(() => existsSync(join(runDir(spec), "exit.json")));
    await until(() => hints.length > 0);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "exited", exitCode: 7, stdoutTail: "one\ntwo\n" } });
  });

  it("P10 an unreadable record is an error, not an absent one", async () => {
    const { executor, specOf, runDir } = setUp();
    const spec = specOf(["true"]);
    mkdirSync(runDir(spec), { recursive: true });
    writeFileSync(join(runDir(spec), "exit.json"), "{");
    await expect(executor.observe(spec)).rejects.toThrow(/exit\.json is no JSON/);
  });
});

describe.each([nothing, subreaper, namespace])("what a run leaves, held by: $kind", (isolation) => {
  const kinds = ["child", "setsid", "daemon"];
  const heldKinds = isolation.kind === "none" ? kinds : [...kinds, "cleared-daemon"];

  it.each(heldKinds)("P6 dies with it: %s", async (kind) => {
    const { run, fakeSpec, noted, programs, env } = setUp(isolation);
    expect(await run(fakeSpec(), env([{ leave: kind }]))).toMatchObject({ end: "exited", exitCode: 0, survivors: [] });
    expect(noted("LEFT")).toHaveLength(1);
    expect(programs()).toEqual([]);
  });

  it("gets none of the shim's descriptors", async () => {
    const { run, specOf } = setUp(isolation);
    const { stdoutTail } = await run(specOf(["ls", "-l", "/proc/self/fd"]));
    const targets = [...stdoutTail.matchAll(/ (\d+) -> (.*)$/gm)].flatMap(([, number, target]) => (Number(number) < 200 ? [target] : []));
    // ls itself has the folder open that it lists.
    expect(targets).toEqual([
      "/dev/null",
      expect.stringMatching(/pipe|fifo|deleted/),
      expect.stringMatching(/pipe|fifo|deleted/),
      expect.stringMatching(/\/fd$/),
    ]);
  });

  it("P6 dies with it when it is stopped, whatever it has left", async () => {
    const { executor, fakeSpec, noted, programs, env } = setUp(isolation);
    const spec = fakeSpec({ stop: { signal: "SIGINT", graceMs: 200 } });
    await executor.submit(spec, env([{ ignore: ["SIGINT"] }, ...heldKinds.map((leave) => ({ leave })), { hang: true }]), null);
    await until(() => noted("LEFT").length === heldKinds.length);
    await executor.cancel(spec);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped", signal: "SIGKILL", survivors: [] } });
    expect(programs()).toEqual([]);
  });

  it.runIf(isolation.kind === "none")("P6 escapes only with a cleared environment, its own session and no parent", async () => {
    const { run, fakeSpec, programs, env } = setUp(isolation);
    await run(fakeSpec(), env([{ leave: "cleared-daemon" }]));
    const [pid = 0, ...others] = programs();
    expect(others).toEqual([]);
    process.kill(pid, "SIGKILL");
    await until(() => !isAlivePid(pid));
  });

  it("P6 does not keep it from ending by holding its output open", async () => {
    const { run, fakeSpec, env } = setUp(isolation);
    const exit = await run(fakeSpec(), env([{ print: "before\n" }, { hold: true }]));
    expect(exit).toMatchObject({ end: "exited", exitCode: 0, stdoutTail: "before\n" });
    expect(exit.durationMs).toBeLessThan(5000);
  });

  it("may still write its last words", async () => {
    const { run, specOf } = setUp(isolation);
    const exit = await run(specOf(["bash", "-c", "(read -t 0.2 < <(exec tail -f /dev/null); echo last words) & exit 0"]));
    expect(exit.stdoutTail).toBe("last words\n");
  });
});

describe("runs and other runs", () => {
  it("P6 an orchestrator that runs inside a run goes down with it, and so do its runs", async () => {
    const { executor, fakeSpec, runDir, env, home, noted, programs } = setUp();
    const spec = fakeSpec();
    const outer = `ORCH_RUN_DIR=${join(home, "outer")}`;
    const daemon = forkDaemon(home, { ORCH_RUN_DIR: join(home, "outer") });
    daemon.send({ dir: runDir(spec), spec, env: env([{ hang: true }]) });
    await until(() => noted("START").length === 1);
    expect(await killTree({ variable: outer, leader: null })).toEqual([]);
    expect(programs()).toEqual([]);
    expect(await executor.observe(spec)).toMatchObject({ state: "lost" });
  });

  it("P6 a process of another run of the same name in another home stays alive", async () => {
    const one = setUp();
    const other = setUp();
    const spec = other.specOf(["sleep", "600"]);
    await other.executor.submit(spec, other.env(), null);
    await runningPid(other.executor, spec);
    await one.run(one.fakeSpec(), one.env([{ leave: "daemon" }]));
    expect(await other.executor.observe(spec)).toMatchObject({ state: "running" });
    await other.executor.cancel(spec);
    expect(await over(other.executor, spec)).toMatchObject({ exit: { end: "stopped" } });
  });
});

describe("limits", () => {
  it("P7 ends a run that takes too long", async () => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(fakeSpec({ wallMs: 600 }), env([{ tick: 50, text: "busy\n" }]));
    expect(exit).toMatchObject({ end: "timeout", signal: "SIGTERM", message: "it ran for more than 600 ms" });
  });

  it("P7 ends a run that is silent", async () => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(fakeSpec({ idleMs: 400 }), env([{ print: "a\n" }, { wait: 200 }, { print: "b\n" }, { hang: true }]));
    expect(exit).toMatchObject({ end: "idle", stdoutTail: "a\nb\n", message: "it was silent for 400 ms" });
  });

  it("P7 an agent that only tries again is silent", async () => {
    const { run, fakeSpec, env } = setUp();
    const retry = {
      type: "system",
      subtype: "api_retry",
      attempt: 1,
      max_retries: 10,
      retry_delay_ms: 100,
      error_status: 429,
      error: "rate_limit",
    };
    const scenario = [{ stream: "claude" }, { tick: 50, text: `${JSON.stringify(retry)}\n` }];
    const exit = await run(fakeSpec({ idleMs: 600, reader: "claude", phaseType: "agent" }), env(scenario));
    expect(exit).toMatchObject({ end: "idle" });
  });

  const agentSpec = { reader: "claude", phaseType: "agent" } as const;
  const call = (command: string, output: string, isError = false) => ({ tool: "Bash", input: { command }, output, isError });
  const edit = (from: string, to: string) => ({ tool: "Edit", input: { file_path: "a.ts", old_string: from, new_string: to } });

  it.each([
    ["makes one call over and over", [call("true", "")], /^It made the same call 30 times in a row/],
    ["changes a file to and fro", [edit("1", "2"), call("date", "now"), edit("2", "1")], /^It made the same .* to a\.ts 6 times/],
    ["meets one error whatever it changes", [edit("a", "<n>"), call("npm test", "FAIL", true)], /12 changes to a\.ts/],
  ])("P7 ends an agent that %s", async (_, calls, message) => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(fakeSpec({ ...agentSpec, endLoops: true }), env([{ calls }]));
    expect(exit).toMatchObject({ end: "stuck", signal: "SIGTERM", survivors: [], agent: { failure: { category: "stuck" } } });
    expect(exit.message).toMatch(message);
  });

  it("lets it go on where nobody asked to end it", async () => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(fakeSpec(agentSpec), env([{ calls: [call("true", "")], times: 60 }, { stream: "claude" }]));
    expect(exit).toMatchObject({ end: "exited", agent: { finalText: "done" } });
  });

  it("P7 takes neither a slow start nor a long tool for silence", async () => {
    const { run, fakeSpec, env } = setUp();
    const block = { type: "tool_use", id: "long", name: "Bash", input: { command: "make" } };
    const message = { id: "msg", role: "assistant", content: [block] };
    const use = { print: `${JSON.stringify({ type: "assistant", message })}\n` };
    const scenario = [{ wait: 800 }, use, { wait: 1200 }, { stream: "claude" }];
    expect(await run(fakeSpec({ ...agentSpec, idleMs: 300 }), env(scenario))).toMatchObject({
      end: "exited",
      agent: { finalText: "done" },
    });
    const hangs = [{ stream: "claude" }, use, { calls: [call("ls", "")], times: 1 }, { stream: "claude" }, { hang: true }];
    expect(await run(fakeSpec({ ...agentSpec, idleMs: 300 }), env(hangs))).toMatchObject({
      end: "idle",
      message: "it was silent for 300 ms",
    });
  });

  it("P7 takes more than 24.8 days for a timeout", async () => {
    const { run, specOf } = setUp();
    expect(
      await run(specOf(["bash", "-c", "read -t 0.3 < <(exec tail -f /dev/null); echo done"], { wallMs: 30 * 86_400_000, idleMs: 2 ** 32 })),
    ).toMatchObject({
      end: "exited",
      stdoutTail: "done\n",
    });
  });

  it("P7 kills what ignores the signal to stop", async () => {
    const { run, fakeSpec, env } = setUp();
    const exit = await run(
      fakeSpec({ wallMs: 400, stop: { signal: "SIGTERM", graceMs: 200 } }),
      env([{ ignore: ["SIGTERM"] }, { leave: "setsid" }, { hang: true }]),
    );
    expect(exit).toMatchObject({ end: "timeout", signal: "SIGKILL", survivors: [] });
  });

  it("P7 does not wait for a program to read its input", async () => {
    const { run, specOf } = setUp();
    expect(await run(specOf(["true"], { stdin: "prompt" }), undefined, "x".repeat(8 * MiB))).toMatchObject({ end: "exited", exitCode: 0 });
  });

  it("P7 keeps head and tail of a flood, in little memory and on little disk", async () => {
    const { executor, fakeSpec, runDir, env } = setUp();
    const spec = fakeSpec();
    const scenario = [{ print: "the head\n" }, { flood: 100 * MiB }, { print: "the tail\n" }, { wait: 300 }];
    await executor.submit(spec, env(scenario), null);
    const pid = await runningPid(executor, spec);
    let rss = 0;
    let disk = 0;
    const exit = await until(async () => {
      rss = Math.max(rss, memory(pid, "VmHWM"));
      disk = Math.max(disk, folderBytes(runDir(spec)));
      const now = await executor.observe(spec);
      return now.state === "finished" ? now.exit : undefined;
    }, 25_000);
    expect(exit).toMatchObject({ end: "exited", exitCode: 0, stdoutBytes: 100 * MiB + 18 });
    expect(exit.stdoutTail.slice(-20)).toBe(`${"x".repeat(10)}\nthe tail\n`.slice(-20));
    const text = readFileSync(join(runDir(spec), "stdout.log"), "utf8");
    expect(text.startsWith("the head\n")).toBe(true);
    expect(text).toMatch(/\n\[… \d+ bytes left out …\]\n/);
    expect(text.endsWith("the tail\n")).toBe(true);
    expect(disk).toBeLessThan(runDisk);
    expect(rss).toBeLessThan(shimPeak);
  });

  it("P7 takes a line of 200 MB", async () => {
    const { executor, fakeSpec, runDir, env } = setUp();
    const spec = fakeSpec({ keepBytes: 4 * MiB });
    await executor.submit(spec, env([{ flood: 200 * MiB, newline: false }, { print: "\nafter\n" }]), null);
    const pid = await runningPid(executor, spec);
    let rss = 0;
    const exit = await until(async () => {
      rss = Math.max(rss, memory(pid, "VmHWM"));
      const now = await executor.observe(spec);
      return now.state === "finished" ? now.exit : undefined;
    }, 25_000);
    expect(exit).toMatchObject({ end: "exited", exitCode: 0, stdoutBytes: 200 * MiB + 7 });
    expect(exit.stdoutTail.endsWith("[… line cut …]\nafter\n")).toBe(true);
    expect(folderBytes(runDir(spec))).toBeLessThan(2 * MiB);
    expect(rss).toBeLessThan(shimPeak);
  });

  it("P7 ends a run that writes without end, which the daemon does not notice", { timeout: 120_000 }, async () => {
    const { executor, specOf, runDir, env, home } = setUp();
    const spec = specOf(["yes", "x".repeat(4000)], { wallMs: 100_000 });
    const daemon = forkDaemon(home);
    daemon.send({ dir: runDir(spec), spec, env: env() });
    await new Promise((resolve) => daemon.once("message", resolve));
    const before = memory(daemon.pid ?? 0, "VmRSS");
    const pid = await runningPid(executor, spec);
    let grown = 0;
    let peak = 0;
    let disk = 0;
    const exit = await until(async () => {
      grown = Math.max(grown, memory(daemon.pid ?? 0, "VmRSS") - before);
      peak = Math.max(peak, memory(pid, "VmHWM"));
      disk = Math.max(disk, folderBytes(runDir(spec)));
      const now = await executor.observe(spec);
      return now.state === "finished" ? now.exit : undefined;
    }, 110_000);
    const gone = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGKILL");
    await gone;
    expect(exit).toMatchObject({ end: "output_limit", message: "it wrote more than 1 GiB", signal: "SIGTERM" });
    expect(disk).toBeLessThan(runDisk);
    expect(peak).toBeLessThan(shimPeak);
    expect(grown).toBeLessThan(10 * MiB);
  });

  it("P7 time in which the shim was stopped is no silence", async () => {
    const { executor, fakeSpec, env, programs, runDir } = setUp();
    const spec = fakeSpec({ idleMs: 700 });
    await executor.submit(spec, env([{ print: "a\n" }, { wait: 1500 }, { print: "b\n" }]), null);
    const pid = await runningPid(executor, spec);
    const log = join(runDir(spec), "stdout.log");
    await until(() => existsSync(log) && readFileSync(log, "utf8") === "a\n");
    process.kill(pid, "SIGSTOP");
    // Until the agent has ended, which is long after the shim would have run out of patience.
    await until(() => programs().length === 0);
    process.kill(pid, "SIGCONT");
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "exited", exitCode: 0, stdoutTail: "a\nb\n" } });
  });
});

describe("stopping", () => {
  it("asks first", async () => {
    const { executor, specOf, env } = setUp();
    const spec = specOf(
      ["bash", "-c", "trap 'echo bye; exit 4' INT; echo ready; while :; do read -t 0.05 < <(exec tail -f /dev/null); done"],
      {
        stop: { signal: "SIGINT", graceMs: 10_000 },
      },
    );
    await executor.submit(spec, env(), null);
    await ready(executor, spec);
    await executor.cancel(spec);
    await executor.cancel(spec);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped", exitCode: 4, stdoutTail: "ready\nbye\n" } });
    await executor.cancel(spec);
  });

  it("keeps a run from starting that has not started yet", async () => {
    const { executor, specOf, home, env } = setUp();
    const spec = specOf(["touch", join(home, "ran")]);
    await executor.cancel(spec);
    await executor.submit(spec, env(), null);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped", message: "stopped before it started" } });
    expect(existsSync(join(home, "ran"))).toBe(false);
  });

  it("does not follow from a signal of the terminal", async () => {
    const { executor, specOf, env } = setUp();
    const spec = specOf(["sleep", "600"]);
    await executor.submit(spec, env(), null);
    const pid = await runningPid(executor, spec);
    await until(() => children(pid).length > 0);
    process.kill(pid, "SIGINT");
    process.kill(pid, "SIGHUP");
    expect(await executor.observe(spec)).toEqual({ state: "running", pid });
    await executor.cancel(spec);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped", signal: "SIGTERM" } });
  });

  async function ready(executor: Executor, spec: RunSpec): Promise<void> {
    const pid = await runningPid(executor, spec);
    const log = join(readlink(pid), "stdout.log");
    await until(() => existsSync(log) && readFileSync(log, "utf8").includes("ready"));
  }
});

describe("a run whose folder was removed", () => {
  it("P6 ends, and its shim with it", async () => {
    const { executor, specOf, runDir, env } = setUp();
    const spec = specOf(["sleep", "600"]);
    await executor.submit(spec, env(), null);
    const pid = await runningPid(executor, spec);
    const child = await until(() => children(pid).find((one) => readStat(one)?.sid === one));
    rmSync(runDir(spec), { recursive: true });
    process.kill(pid, "SIGTERM");
    await until(() => !isAlivePid(pid) && !isAlivePid(child));
  });
});

describe("an agent's stream", () => {
  it.each(["claude", "codex", "pi"])("becomes events, a session and a report: %s", async (provider) => {
    const { run, fakeSpec, runDir, env } = setUp();
    const stdout = provider === "claude" ? "file" : "pump";
    const spec = fakeSpec({ reader: provider, stdout, phaseType: "agent", stdin: "prompt" });
    const exit = await run(spec, env([{ stream: provider, text: "all done" }]), "hello");
    const session = { id: "11111111-2222-4333-8444-555555555555", provider };
    expect(exit.agent).toMatchObject({ provider, session, finalText: "all done", failure: null });
    expect(JSON.parse(readFileSync(join(runDir(spec), "session.json"), "utf8"))).toEqual(session);
    const events = readFileSync(join(runDir(spec), "transcript.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events).toContainEqual({ type: "session", session });
    expect(events).toContainEqual({ type: "text", text: "all done" });
  });

  it("P7 of plain text in one line of 5 MB the beginning becomes the final message", async () => {
    const { run, fakeSpec, env, runDir } = setUp();
    const spec = fakeSpec({ reader: "generic", phaseType: "agent" });
    const exit = await run(spec, env([{ print: "the head " }, { flood: 5_000_000, newline: false }]));
    expect(exit).toMatchObject({ end: "exited", exitCode: 0, stdoutBytes: 5_000_009, agent: { failure: null, warnings: [] } });
    expect(exit.agent?.finalText).toMatch(/^the head x+\n\[… \d+ characters left out …\]\nx+\[… line cut …\]$/);
    expect(exit.agent?.finalText?.length).toBeLessThan(40_000);
    expect(readFileSync(join(runDir(spec), "transcript.jsonl"), "utf8").length).toBeLessThan(40_000);
  });

  it("P7 a line of 5 MB in a structured stream is a warning, and the stream goes on", async () => {
    const { run, fakeSpec, env } = setUp();
    const spec = fakeSpec({ reader: "claude", stdout: "file", phaseType: "agent" });
    const head = '{"type":"result","subtype":"success","is_error":false,"result":"';
    const exit = await run(spec, env([{ print: head }, { flood: 5_000_000, newline: false }, { print: '"}\n' }, { stream: "claude" }]));
    const warning = `a line was too long to be read; it begins: ${head.padEnd(80, "x")}`;
    expect(exit.agent).toMatchObject({ finalText: "done", failure: null, warnings: [warning] });
  });

  it("tells the session while the run goes on", async () => {
    const { executor, fakeSpec, runDir, env } = setUp();
    const spec = fakeSpec({ reader: "claude", stdout: "file", phaseType: "agent" });
    await executor.submit(spec, env([{ stream: "claude" }, { hang: true }]), null);
    await until(() => existsSync(join(runDir(spec), "session.json")));
    await executor.cancel(spec);
    expect(await over(executor, spec)).toMatchObject({ exit: { end: "stopped" } });
  });

  it.each([["claude"], ["codex"], ["pi"]])("P6 ends the run when the result is there and the program stays: %s", async (provider) => {
    const { run, fakeSpec, programs, env } = setUp();
    const spec = fakeSpec({ reader: provider, phaseType: "agent", settleMs: 500 });
    const scenario = [{ stream: provider, text: "all done" }, { leave: "cleared-daemon" }, { hold: true }, { hang: true }];
    const exit = await run(spec, env(scenario));
    expect(exit).toMatchObject({ end: "result", agent: { finalText: "all done", failure: null }, survivors: [] });
    expect(exit.message).toBe("it had given its result and did not exit for 500 ms");
    expect(programs()).toEqual([]);
  });

  it("P6 leaves an agent alone that goes on after a result", async () => {
    const { run, fakeSpec, env } = setUp();
    const spec = fakeSpec({ reader: "claude", phaseType: "agent", settleMs: 300 });
    const work = { type: "assistant", message: { content: [{ type: "tool_use", id: "t", name: "Bash", input: {} }] } };
    const exit = await run(
      spec,
      env([
        { stream: "claude", text: "first" },
        { print: `${JSON.stringify(work)}\n` },
        { wait: 1200 },
        { stream: "claude", text: "second" },
      ]),
    );
    expect(exit).toMatchObject({ end: "exited", exitCode: 0, agent: { finalText: "second" } });
  });

  it("takes a scenario from the prompt", async () => {
    const { run, specOf, home } = setUp();
    execFileSync("git", ["init", "-q", home]);
    const prompt = `Please.\nFAKE_SCENARIO=${JSON.stringify([{ write: { "src/a.txt": "a" } }, { commit: "add a" }, { exit: 0 }])}\n`;
    const spec = specOf([process.execPath, fakeAgent], { stdin: "prompt", envNames: ["PATH"] });
    expect(await run(spec, undefined, prompt)).toMatchObject({ exitCode: 0 });
    expect(execFileSync("git", ["-C", home, "log", "--format=%s"], { encoding: "utf8" })).toBe("add a\n");
  });
});

describe("secrets", () => {
  it.each(["pump", "file"] as const)("P12 never reach the disk: %s", async (stdout) => {
    const { run, fakeSpec, runDir, env } = setUp();
    const token = `ghp_${"a1".repeat(18)}`;
    const spec = fakeSpec({ reader: "claude", phaseType: "agent", stdout });
    const scenario = [
      { printEnv: "MY_TOKEN" },
      { print: "MY_TOKEN is " },
      { printEnv: "MY_TOKEN" },
      { bytes: Buffer.from(token).toString("hex") },
    ];
    const exit = await run(spec, { ...env(scenario), MY_TOKEN: 'hunter2-"quoted"-and-long' }, null);
    expect(exit.stdoutTail).toBe("[redacted]\nMY_TOKEN is [redacted]\n[redacted]");
    const everything = kept(runDir(spec)).replaceAll("\\", "");
    expect(everything).not.toContain("hunter2");
    expect(everything).not.toContain(token.slice(0, 12));
  });

  it("P12 never reach the disk, not even while an agent writes its own file", async () => {
    const { executor, fakeSpec, runDir, env } = setUp();
    const spec = fakeSpec({ stdout: "file" });
    await executor.submit(
      spec,
      { ...env([{ printEnv: "MY_TOKEN" }, { print: "and more\n" }, { hang: true }]), MY_TOKEN: "hunter2-is-long" },
      null,
    );
    await until(() => existsSync(join(runDir(spec), "stdout.log")) && kept(runDir(spec)).includes("and more"));
    expect(kept(runDir(spec))).not.toContain("hunter2");
    process.kill(await runningPid(executor, spec), "SIGKILL");
    await until(async () => (await executor.observe(spec)).state === "lost");
    expect(kept(runDir(spec))).not.toContain("hunter2");
  });
});

/** A process that submits one run, which it is sent as {dir, spec, env}, says when it has and looks after it. */
function forkDaemon(home: string, env: Record<string, string> = {}): ChildProcess {
  const program = join(home, "daemon.mjs");
  writeFileSync(
    program,
    `import { createLocalExecutor } from ${JSON.stringify(new URL("./local.ts", import.meta.url).href)};
     process.once("message", async ({ dir, spec, env }) => {
       const executor = createLocalExecutor(() => dir);
       executor.onHint((ref) => void executor.observe(ref));
       setInterval(() => {}, 1000);
       await executor.submit(spec, env, null);
       process.send("submitted");
       process.on("disconnect", () => process.exit());
     });`,
  );
  return fork(program, { execPath: process.execPath, execArgv: [], env: { PATH: process.env.PATH, ...env } });
}

function shimExit(dir: string, env: Record<string, string> = {}): Promise<number | null> {
  const child = spawn(process.execPath, [shim, dir], { stdio: ["pipe", "ignore", "ignore"], env: { PATH: process.env.PATH } });
  child.stdin.end(JSON.stringify({ dir, env }));
  return new Promise((resolve) => child.once("exit", resolve));
}

function children(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

function readlink(pid: number): string {
  return execFileSync("readlink", [`/proc/${pid}/cwd`], { encoding: "utf8" }).trim();
}

/** Bytes of memory that a process has (VmRSS), or has had at most (VmHWM); 0 once it is gone. */
function memory(pid: number, which: "VmRSS" | "VmHWM"): number {
  try {
    return Number(new RegExp(`${which}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function folderBytes(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + (statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0), 0);
}
