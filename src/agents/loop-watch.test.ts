import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AgentEvent } from "../domain/session.ts";
import { loopWatch } from "./loop-watch.ts";
import { reader } from "./readers.ts";

interface Call {
  tool: string;
  input: unknown;
  output?: string;
  isError?: boolean;
  /** Milliseconds. */
  takes?: number;
}

/** What is found, and after how many calls. */
function watch(calls: Iterable<Call>): { found: string; after: number } | null {
  const watching = loopWatch();
  let at = 0;
  let n = 0;
  for (const { tool, input, output = "", isError = false, takes = 10 } of calls) {
    const callId = `c${n++}`;
    expect(watching.take({ type: "tool_use", callId, tool, input }, at)).toBeNull();
    at += takes;
    const found = watching.take({ type: "tool_result", callId, isError, output }, at);
    if (found !== null) return { found, after: n };
  }
  return null;
}

const times = <T>(n: number, make: (i: number) => T[]): T[] => Array.from({ length: n }, (_, i) => make(i)).flat();
const bash = (command: string, more: Partial<Call> = {}): Call => ({ tool: "Bash", input: { command }, ...more });
const write = (path: string, content: string): Call => ({ tool: "Write", input: { file_path: path, content }, output: "written" });
const edit = (path: string, from: string, to: string): Call => ({
  tool: "Edit",
  input: { file_path: path, old_string: from, new_string: to },
  output: "edited",
});
const red = (more: Partial<Call> = {}) => bash("npm test", { isError: true, output: "FAIL adds: expected 3 to be 4", ...more });

describe("what an agent repeats", () => {
  it("the same call with the same result", () => {
    expect(watch(times(121, () => [bash("true")]))).toEqual({
      found: 'It made the same call 30 times in a row, with the same result: Bash {"command":"true"}',
      after: 30,
    });
  });

  it("two or three calls in turn", () => {
    expect(watch(times(50, () => [bash("ls"), bash("cat a", { output: "a" })]))).toEqual({
      found: 'It made the same 2 calls in turn 15 times, with the same results: Bash {"command":"ls"}, Bash {"command":"cat a"}',
      after: 30,
    });
    expect(watch(times(50, () => [bash("ls"), bash("cat a"), bash("cat b")]))?.after).toBe(45);
  });

  it("a file that is changed and changed back, whatever happens beside it", () => {
    const flip = watch(
      times(50, (i) => [edit("a.ts", "1", "2"), bash(`look ${i}`), edit("a.ts", "2", "1"), write(`note${i}.md`, "still looking")]),
    );
    expect(flip?.found).toMatch(/^It made the same change to a\.ts 6 times and took it back in between: Edit /);
    expect(watch(times(50, (i) => [write("a.ts", "A"), bash(`look ${i}`), write("a.ts", "B")]))?.found).toMatch(/a\.ts 6 times/);
    expect(watch(times(50, (i) => [edit("a.ts", "1", "2"), bash("git checkout a.ts", { output: `${i}` })]))?.found).toMatch(
      /a\.ts 6 times/,
    );
    const regions = times(50, () => [edit("a", "1", "2"), edit("a", "x", "y"), edit("a", "2", "1"), edit("a", "y", "x")]);
    expect(watch(regions)?.found).toMatch(/a 6 times/);
  });

  it("an error that no change changes", () => {
    const vain = (i: number) => [edit("a.ts", `${i}`, `${i + 1}`), red({ output: `FAIL adds (${i} ms)`, takes: 60_000 })];
    expect(watch(times(50, vain))).toEqual({
      found: 'The same call failed alike after each of 12 changes to a.ts: Bash {"command":"npm test"}: FAIL adds (12 ms)',
      after: 26,
    });
    const codex = (i: number): Call[] => [
      { tool: "file_change", input: { changes: [{ path: "a.ts", kind: "update" }] }, output: "completed" },
      { tool: "shell", input: { command: "npm test" }, isError: true, output: "FAIL adds", takes: i },
    ];
    expect(watch(times(50, codex))?.after).toBe(26);
  });

  it("different calls that all fail alike", () => {
    expect(watch(times(50, (i) => [bash(`curl x/${i}`, { isError: true, output: `port ${i}: connection refused` })]))?.after).toBe(20);
  });
});

describe("what is no circle", () => {
  it.each<[string, Call[]]>([
    ["waiting for a build, for two hours", times(120, () => [bash("sleep 60; gh pr checks", { takes: 60_000, output: "pending" })])],
    ["waiting in two steps", times(100, () => [bash("sleep 30", { takes: 30_000 }), bash("gh run view", { output: "in progress" })])],
    [
      "waiting for a server that is not there yet",
      times(100, () => [bash("sleep 2; curl -sf localhost", { isError: true, output: "refused" })]),
    ],
    ["asking after a background task", times(200, () => [{ tool: "BashOutput", input: { bash_id: "1" }, output: "running" }])],
    ["a slow command", times(200, () => [bash("make", { takes: 6000, output: "ok" })])],
    ["a log that grows", times(500, (i) => [bash("tail log", { output: `line ${i}` })])],
    ["an error that changes", times(200, (i) => [edit("a", `${i}`, `${i + 1}`), red({ output: `${200 - i} failed` })])],
    ["failing checks beside work that goes on", times(200, (i) => [write(`src/${i}.ts`, "x"), red()])],
    ["running red tests without a change", times(29, () => [red(), bash("cat a")]).slice(0, 28)],
    [
      "trying mutants one after the other",
      times(100, (i) => [
        edit("a", "+", `-${i}`),
        red({ output: `killed ${i}` }),
        edit("a", `-${i}`, "+"),
        bash("npm test", { output: "ok" }),
      ]),
    ],
    ["mutants by whole files", times(100, (i) => [write("a", `mutant ${i}`), red({ output: `killed ${i}` }), write("a", "original")])],
    ["an input written anew for each try", times(100, (i) => [write("in.json", "{}"), bash("try", { output: `${i}` })])],
    ["an edit tried twice, taken back twice", times(4, () => [edit("a", "1", "2"), edit("a", "2", "1")])],
    [
      "many patches of one file by codex",
      times(200, () => [{ tool: "file_change", input: { changes: [{ path: "a", kind: "update" }] }, output: "completed" }]),
    ],
    [
      "a long file written again and again",
      times(200, () => [{ tool: "Write", input: { clipped: '{"file_path":"a","content":"…' }, output: "ok" }]),
    ],
    ["searches that find nothing", times(200, (i) => [bash(`grep x${i}`, { isError: true, output: "" })])],
  ])("%s", (_, calls) => {
    expect(watch(calls)).toBeNull();
  });

  it("the recorded runs of the real CLIs", () => {
    const folder = new URL("./fixtures/", import.meta.url);
    const names = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
    expect(names.length).toBeGreaterThan(100);
    for (const name of names) {
      const read = reader(name.split("-")[0] ?? "");
      const watching = loopWatch();
      for (const line of readFileSync(new URL(name, folder), "utf8").split("\n")) {
        for (const event of read.line(line)) expect([name, watching.take(event, 0)]).toEqual([name, null]);
      }
    }
  });

  it("work in which no call comes again with the same result", () => {
    const anyCall = fc.record({ tool: fc.constantFrom("Bash", "Read", "Edit", "shell"), arg: fc.nat(5), isError: fc.boolean() });
    fc.assert(
      fc.property(fc.array(anyCall, { maxLength: 300 }), (calls) => {
        const distinct = calls.map(({ tool, arg, isError }, i) => ({
          tool,
          input: { command: `x${arg}`, file_path: `f${arg}`, new_string: `v${i}` },
          output: `result ${"x".repeat(i)}`,
          isError,
        }));
        expect(watch(distinct)).toBeNull();
      }),
    );
  });
});

describe("for any events", () => {
  const anyEvent: fc.Arbitrary<AgentEvent> = fc.oneof(
    fc.record({ type: fc.constant("tool_use" as const), callId: fc.constantFrom("a", "b", ""), tool: fc.string(), input: fc.jsonValue() }),
    fc.record({
      type: fc.constant("tool_result" as const),
      callId: fc.constantFrom("a", "b", ""),
      isError: fc.boolean(),
      output: fc.string(),
    }),
    fc.record({ type: fc.constant("text" as const), text: fc.string() }),
  );

  it("it never throws, and finds nothing in fewer calls than its smallest bound", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyEvent, fc.integer({ min: -1000, max: 100_000 })), { maxLength: 22 }), (events) => {
        const watching = loopWatch();
        for (const [event, at] of events) expect(watching.take(event, at)).toBeNull();
      }),
    );
  });

  it("any cycle of up to three calls is found, after whatever came before", () => {
    const anyCall = fc.record({
      tool: fc.constantFrom("Bash", "Read"),
      input: fc.record({ command: fc.constantFrom("ls", "true", "cat x") }),
    });
    fc.assert(
      fc.property(fc.array(anyCall, { maxLength: 40 }), fc.array(anyCall, { minLength: 1, maxLength: 3 }), (before, cycle) => {
        expect(watch([...before, ...times(30, () => cycle)])).not.toBeNull();
      }),
    );
  });
});
