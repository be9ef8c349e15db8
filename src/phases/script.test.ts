import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { ExitRecord } from "../domain/run.ts";
import type { PhaseOf } from "../domain/workflow.ts";
import { type TestHome, testHome } from "../testing/home.ts";
import { exitRecord, phaseContext } from "../testing/phase-context.ts";
import { passedRun } from "./capture.ts";
import { commonEnding, excerpt, failedRun } from "./ending.ts";
import { childEnvironment } from "./environment.ts";
import { poll } from "./script.ts";

let home: TestHome;
beforeEach(() => {
  home = testHome();
});

const context = (phase: object = {}, fields?: Parameters<typeof phaseContext>[2]) =>
  phaseContext<PhaseOf<"script">>(home, { type: "script", id: "work", command: "work.sh", ...phase }, fields);

describe("captures", () => {
  const take = async (capture: Record<string, unknown>, output = "", fields?: Parameters<typeof phaseContext>[2]) =>
    passedRun(context({ capture }, fields), {}, output, home.repo);

  it("take the output, a field of it, and what commands print", async () => {
    const output = 'text\n```json\n{"pr": 7, "url": "http://x"}\n```\n';
    const rules = {
      all: "stdout",
      pr: { field: "pr" },
      url: { field: "url" },
      line: "echo $ORCH_TICKET",
      list: ["echo", "{{ ticketId }}; id"],
    };
    expect(await take(rules, output)).toMatchObject({
      type: "passed",
      captured: { all: output.trim(), pr: "7", url: "http://x", line: "T1", list: "T1; id" },
    });
  });

  it.each([
    ["a command that fails", { x: "echo why >&2; exit 3" }, "why"],
    ["a program that is not there", { x: ["no-such-program"] }, "no-such-program"],
    ["a field that is not there", { x: { field: "pr" } }, 'no JSON with a field "pr"'],
    ["a value that is too long", { x: "head -c 40000 /dev/zero | tr '\\0' x" }, "more than the 32768 allowed"],
  ])("%s fails the phase", async (_, capture, reason) => {
    expect(await take(capture)).toMatchObject({ type: "failed", category: "environment", reason: expect.stringContaining(reason) });
  });

  it("P12 hold no secret, whether they pass or fail", async () => {
    const fields = { daemonEnv: { GH_TOKEN: "token-of-the-user" } };
    expect(await take({ x: 'echo "is $GH_TOKEN"' }, "", fields)).toMatchObject({ captured: { x: "is [redacted]" } });
    expect(JSON.stringify(await take({ x: "echo $GH_TOKEN >&2; exit 1" }, "", fields))).not.toContain("token-of");
  });

  it("P6 leave no process behind", async () => {
    const pidFile = join(home.dir, "pid");
    expect(await take({ x: `(setsid sleep 300 & echo $! > ${pidFile}) >/dev/null 2>&1; echo done` })).toMatchObject({ type: "passed" });
    const proc = `/proc/${readFileSync(pidFile, "utf8").trim()}/cmdline`;
    // Nobody may have reaped it yet.
    expect(existsSync(proc) ? readFileSync(proc, "utf8") : "").toBe("");
  });
});

describe("the environment of a program", () => {
  const env = (program: Parameters<typeof childEnvironment>[2], phase: object = {}, title = "A title") =>
    childEnvironment(
      context(phase, {
        daemonEnv: { GH_TOKEN: "gh", ANTHROPIC_API_KEY: "ant", OPENAI_API_KEY: "oai", LD_PRELOAD: "x" },
        ticket: { title },
      }),
      { x: "rendered" },
      program,
    );
  const claude = { kind: "agent", provider: "claude", configured: {}, required: {} } as const;

  it("P12 has no more of the daemon's than its kind needs", () => {
    const tokens = (names: Record<string, string>) =>
      Object.keys(names).filter((name) => /TOKEN|KEY|LD_|ORCH_NODE|ORCHESTRATOR_HOME/.test(name));
    expect(tokens(env({ kind: "script" }))).toEqual(["GH_TOKEN", "ORCH_NODE", "ORCHESTRATOR_HOME"]);
    expect(tokens(env(claude))).toEqual(["ANTHROPIC_API_KEY"]);
    expect(tokens(env({ kind: "checks" }))).toEqual([]);
  });

  it("takes the phase's own variables, rendered, but not in the place of facts", () => {
    expect(env({ kind: "checks" }, { env: { A: "is {{ x }}", ORCH_TICKET: "T9" } })).toMatchObject({ A: "is rendered", ORCH_TICKET: "T1" });
  });

  it("refuses what Linux would not start, counted in bytes", () => {
    expect(() => env({ kind: "checks" }, { env: { LONG: "é".repeat(70_000) } })).toThrow("LONG is too long");
    expect(env({ kind: "checks" }, {}, "é".repeat(70_000)).ORCH_TITLE).toHaveLength(4096);
    expect(env({ kind: "checks" }, {}, "a\0b").ORCH_TITLE).toBe("ab");
  });
});

describe("how a run ended", () => {
  const ending = (fields: Partial<ExitRecord>) => commonEnding(context() as never, exitRecord(fields));
  it.each([
    [{ end: "stopped" }, { type: "interrupted" }],
    [
      { end: "timeout", durationMs: 5000 },
      { type: "failed", category: "timeout", reason: "It took longer than 5 s." },
    ],
    [{ end: "idle" }, { type: "failed", category: "stalled" }],
    [
      { end: "stuck", message: "It made the same call 30 times" },
      { type: "failed", category: "stuck", reason: "It made the same call 30 times." },
    ],
    [{ end: "output_limit" }, { type: "failed", category: "stuck" }],
    [
      { end: "spawn_failed", message: "no bash" },
      { type: "faulted", reason: "no bash." },
    ],
    [
      { exitCode: null, signal: "SIGKILL" },
      { type: "lost", reason: "It was killed by SIGKILL." },
    ],
    [{ end: "stopped", survivors: [7] }, { type: "faulted" }],
    [{ survivors: [7] }, { type: "faulted", reason: "Processes of the run would not die: 7. End them, then retry." }],
  ] as [Partial<ExitRecord>, object][])("%o is %o", (exit, event) => {
    expect(ending(exit)).toMatchObject(event);
  });

  it("says nothing of a program that ended by itself", () => {
    expect(ending({ exitCode: 3 })).toBeUndefined();
    expect(ending({ end: "result", exitCode: null, signal: "SIGINT" })).toBeUndefined();
  });

  it("P5 a check of a poll that would not die is not looked past", async () => {
    const waiting = phaseContext<PhaseOf<"poll">>(home, { type: "poll", id: "wait", command: "x.sh" });
    const settle = (fields: Partial<ExitRecord>) => poll.settle(waiting, {} as never, exitRecord({ end: "timeout", ...fields }));
    const reason = "the check did not end within 60 s";
    expect(await settle({ durationMs: 61_000 })).toMatchObject({ type: "pending", durationMs: 61_000, reason });
    expect(await settle({ survivors: [7] })).toMatchObject({ type: "faulted" });
  });

  it("gives the last line as the reason, with an error of ours and its hint together", () => {
    const reason = (stderrTail: string) => failedRun(context() as never, exitRecord({ stderrTail }), "x failed").reason;
    expect(reason("one\ntwo\n")).toBe("x failed: two");
    expect(reason("one\nerror: no\nhint: do\n")).toBe("x failed: error: no hint: do");
    expect(reason("")).toBe("x failed");
  });

  it("keeps head and tail of a long text", () => {
    expect(excerpt(`${"a".repeat(5000)}${"b".repeat(5000)}`)).toMatch(/^a{2048}\n\[… 5904 characters …\]\nb{2048}$/);
  });
});
