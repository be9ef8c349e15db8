import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tempDir } from "../testing/temp.ts";
import { reader } from "./readers.ts";
import type { StreamEnd } from "./stream.ts";

const exited: StreamEnd = { exitCode: 0, signal: null, stderrTail: "", end: "exited" };
const line = (value: unknown) => JSON.stringify(value);
const id = "11111111-2222-4333-8444-555555555555";
const result = {
  type: "result",
  subtype: "success",
  is_error: false,
  result: "done",
  num_turns: 1,
  total_cost_usd: 0.5,
  usage: {},
  session_id: id,
};

describe("every reader", () => {
  const providers = ["claude", "codex", "pi", "gemini", "copilot", "opencode", "generic"];

  it.each(providers)("%s survives any lines and always reports", (provider) => {
    const types = [
      "system",
      "assistant",
      "user",
      "result",
      "error",
      "thread.started",
      "item.completed",
      "turn.completed",
      "turn.failed",
      "message_end",
      "message",
      "assistant.message",
      "session.error",
      "text",
      "step_finish",
    ];
    const anyLine = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({
          type: fc.constantFrom(...types),
          message: fc.jsonValue(),
          item: fc.jsonValue(),
          error: fc.jsonValue(),
          usage: fc.jsonValue(),
          data: fc.jsonValue(),
          part: fc.jsonValue(),
          stats: fc.jsonValue(),
        })
        .map(line),
    );
    fc.assert(
      fc.property(fc.array(anyLine), (lines) => {
        const read = reader(provider);
        for (const text of lines) read.line(text);
        expect(read.end(exited).provider).toBe(provider);
      }),
    );
  });

  it.each(providers.slice(0, -1))("%s: exit 0 without a result is a truncated stream", (provider) => {
    const read = reader(provider);
    read.line('{"type":"assis');
    expect(read.end(exited)).toMatchObject({ finalText: null, failure: { category: "infrastructure" } });
  });

  it.each([
    ["claude", [result]],
    [
      "codex",
      [
        { type: "item.completed", item: { id: "item_0", type: "agent_message", text: "done" } },
        { type: "turn.completed", usage: {} },
      ],
    ],
    ["pi", [{ type: "message_end", message: { role: "assistant", stopReason: "stop", content: [{ type: "text", text: "done" }] } }]],
  ])("%s: a line that was cut is a warning and no data, even if it parses", (provider, lines) => {
    const whole = reader(provider);
    for (const each of lines) whole.line(line(each));
    expect(whole.end(exited)).toMatchObject({ finalText: "done", warnings: [] });
    const cut = reader(provider);
    const warnings = lines.map((each) => `a line was too long to be read; it begins: ${line(each).slice(0, 80)}`);
    expect(lines.flatMap((each) => cut.line(line(each), true))).toEqual(warnings.map((message) => ({ type: "warning", message })));
    expect(cut.progress()).toBe(false);
    expect(cut.end(exited)).toMatchObject({ finalText: null, failure: { category: "infrastructure" }, warnings });
  });

  it.each([
    "claude-err-429-forever",
    "claude-err-conn-refused",
    "codex-err-429-retry-after",
    "codex-err-conn-refused-long",
    "pi-err-429-forever",
    "pi-err-conn-refused",
  ])("P9 %s: what is printed while a provider is asked again and again is no progress", (name) => {
    const read = reader(name.split("-")[0] ?? "");
    const lines = readFileSync(join(import.meta.dirname, "fixtures", `${name}.jsonl`), "utf8")
      .trim()
      .split("\n");
    const progress = lines.map((text) => {
      read.line(text);
      return read.progress();
    });
    const asked = lines.findIndex((text) => /api_retry|Reconnecting|"stopReason":"error"/.test(text));
    expect(asked).toBeGreaterThan(0);
    const news = lines.slice(asked).filter((_, i) => progress[asked + i]);
    const types = news.map((text) => (JSON.parse(text) as { type: string }).type);
    // An answer after all, or the end.
    expect(types.filter((type) => !["result", "turn.failed", "turn.completed", "item.completed"].includes(type))).toEqual([]);
  });

  it.each(providers.slice(0, 3))(
    "%s: a run that we stopped is aborted, silence is stalled, wall time a timeout, circles are stuck",
    (provider) => {
      const ends = (["stopped", "idle", "timeout", "stuck", "spawn_failed"] as const).map(
        (end) => reader(provider).end({ ...exited, exitCode: null, end }).failure?.category,
      );
      expect(ends).toEqual(["aborted", "stalled", "timeout", "stuck", "environment"]);
    },
  );
});

describe("claude", () => {
  it("a result inside a tool's output or a prompt is not the result", () => {
    const read = reader("claude");
    const fake = line(result);
    read.line(line({ type: "user", message: { content: [{ type: "tool_result", tool_use_id: "t1", content: fake }] }, session_id: id }));
    read.line(`  ${fake.slice(1)}`);
    expect(read.end(exited)).toMatchObject({ finalText: null, failure: { category: "infrastructure" } });
  });

  it("the words of a subagent are not the agent's, its tools are shown", () => {
    const content = [
      { type: "text", text: "sub" },
      { type: "tool_use", id: "t", name: "Bash", input: { command: "ls" } },
    ];
    const events = reader("claude").line(line({ type: "assistant", message: { content }, parent_tool_use_id: "p", session_id: id }));
    expect(events).toEqual([
      { type: "session", session: { id, provider: "claude" } },
      { type: "tool_use", callId: "t", tool: "Bash", input: { command: "ls" } },
    ]);
  });

  it("P9 waiting for the provider until time is up is the provider's trouble, not a stall, and no progress", () => {
    const read = reader("claude");
    read.line(line({ type: "assistant", message: { content: [] }, session_id: id }));
    expect(read.progress()).toBe(true);
    const events = read.line(
      line({ type: "system", subtype: "api_retry", attempt: 3, error_status: 529, error: "overloaded", session_id: id }),
    );
    expect(events).toEqual([{ type: "retry", attempt: 3, reason: "overloaded (HTTP 529)" }]);
    expect(read.progress()).toBe(false);
    expect(read.end({ ...exited, exitCode: null, end: "idle" }).failure?.category).toBe("overloaded");
  });

  it("a limit keeps its reset time", () => {
    const read = reader("claude");
    const info = { status: "rejected", resetsAt: 1795217347 };
    expect(read.line(line({ type: "rate_limit_event", rate_limit_info: info }))).toEqual([
      { type: "limit", status: "rejected", resetsAt: "2026-11-20T23:29:07.000Z" },
    ]);
    read.line(line({ ...result, is_error: true, api_error_status: 429, result: "You've hit your session limit" }));
    expect(read.end(exited).failure).toEqual({
      category: "usage_limit",
      message: "You've hit your session limit",
      resetsAt: "2026-11-20T23:29:07.000Z",
    });
  });

  it("a session that it does not know is not reported as one", () => {
    const read = reader("claude");
    const errors = [`No conversation found with session ID: ${id}`];
    read.line(line({ ...result, subtype: "error_during_execution", is_error: true, result: undefined, errors }));
    expect(read.end({ ...exited, exitCode: 1 })).toMatchObject({ session: null, failure: { category: "environment" } });
  });

  it("a tool that was refused with nobody to ask fails the run, a forbidden one only warns", () => {
    const run = (permissionMode: string) => {
      const read = reader("claude");
      read.line(line({ type: "system", subtype: "init", permissionMode, session_id: id }));
      read.line(line({ ...result, permission_denials: [{ tool_name: "Bash" }, { tool_name: "Bash" }] }));
      const { failure, warnings } = read.end(exited);
      return [failure?.category ?? null, warnings];
    };
    expect(run("acceptEdits")).toEqual(["environment", []]);
    expect(run("bypassPermissions")).toEqual([null, ["claude was refused: Bash"]]);
  });

  it("P7 long texts are clipped, in events and in the report", () => {
    const read = reader("claude");
    const long = "x".repeat(1_000_000);
    const events = read.line(
      line({
        type: "assistant",
        message: {
          content: [
            { type: "tool_use", id: "t", name: "Write", input: { long } },
            { type: "text", text: long },
          ],
        },
      }),
    );
    read.line(line({ ...result, result: long }));
    expect(JSON.stringify(events).length).toBeLessThan(60_000);
    expect(read.end(exited).finalText?.length).toBeLessThan(270_000);
  });
});

describe("codex", () => {
  const usage = (input: number, output: number) => ({ input_tokens: input, cached_input_tokens: 100, output_tokens: output });

  it("usage is what this run added to the thread", () => {
    const read = reader("codex", { priorUsage: { inputTokens: 200, outputTokens: 30, cacheReadTokens: 100, cacheWriteTokens: 0 } });
    read.line(line({ type: "turn.completed", usage: usage(400, 50) }));
    expect(read.end(exited).usage).toEqual({ inputTokens: 100, outputTokens: 20, cacheReadTokens: 0, cacheWriteTokens: 0 });
  });

  it("a new thread in place of the resumed one is told, and its totals are its own", () => {
    const read = reader("codex", {
      argv: ["codex", "exec", "resume", id, "-"],
      priorUsage: { inputTokens: 900, outputTokens: 90, cacheReadTokens: 0, cacheWriteTokens: 0 },
    });
    read.line(line({ type: "thread.started", thread_id: "01a1fb1e-c3e9-7f13-9086-bab0d64daf9f" }));
    read.line(line({ type: "turn.completed", usage: usage(400, 50) }));
    const report = read.end(exited);
    expect(report.warnings).toEqual([`codex did not resume ${id}; it started a new session`]);
    expect(report.usage).toEqual({ inputTokens: 300, outputTokens: 50, cacheReadTokens: 100, cacheWriteTokens: 0 });
  });

  it("codex: what another thread had used before is not taken off one that was begun instead of it", () => {
    const priorUsage = { inputTokens: 200, outputTokens: 30, cacheReadTokens: 100, cacheWriteTokens: 0 };
    const usageOf = (resumed: string) => {
      const read = reader("codex", { priorUsage, argv: ["codex", "exec", "resume", resumed] });
      read.line('{"type":"thread.started","thread_id":"t2"}', false);
      read.line('{"type":"turn.completed","usage":{"input_tokens":900,"cached_input_tokens":300,"output_tokens":90}}', false);
      return read.spent()?.byModel[0]?.usage.inputTokens;
    };
    expect(usageOf("t2")).toBe(400);
    expect(usageOf("t1")).toBe(600);
  });

  it("reconnecting is a retry and no progress; a warning item is neither failure nor end", () => {
    const read = reader("codex");
    expect(read.line(line({ type: "error", message: "Reconnecting... 2/5 (unexpected status 401)" }))).toEqual([
      { type: "retry", attempt: 2, reason: "Reconnecting... 2/5 (unexpected status 401)" },
    ]);
    expect(read.progress()).toBe(false);
    expect(read.line(line({ type: "item.completed", item: { id: "item_0", type: "error", message: "careful" } }))).toEqual([
      { type: "warning", message: "careful" },
    ]);
    expect(read.progress()).toBe(false);
  });

  it("a command that only completes is still a call and a result", () => {
    const item = { id: "item_1", type: "command_execution", command: "false", aggregated_output: "no", exit_code: 1, status: "failed" };
    expect(reader("codex").line(line({ type: "item.completed", item }))).toEqual([
      { type: "tool_use", callId: "item_1", tool: "shell", input: { command: "false" } },
      { type: "tool_result", callId: "item_1", isError: true, output: "no" },
    ]);
  });
});

describe("pi", () => {
  const message = (stopReason: string, text: string) => ({
    type: "message_end",
    message: { role: "assistant", stopReason, content: [{ type: "text", text }] },
  });

  it("the path of the session comes from the command line", () => {
    const read = reader("pi", { argv: ["pi", "-p", "--session", "/run/pi-session.jsonl"] });
    read.line(line({ type: "session", id }));
    expect(read.end(exited).session).toEqual({ id, provider: "pi", path: "/run/pi-session.jsonl" });
  });

  it("only the round that ended with an answer counts", () => {
    const read = reader("pi");
    read.line(line(message("error", "")));
    expect(read.line('{"type":"agent_end","messages":[]}')).toEqual([]);
    read.line(line(message("stop", "answer")));
    expect(read.line('{"type":"agent_end","messages":[]}')).toEqual([{ type: "result", ok: true, text: "answer" }]);
    expect(read.end(exited)).toMatchObject({ finalText: "answer", failure: null });
  });

  it("an answer followed by an overflow is no answer", () => {
    const read = reader("pi");
    read.line(line(message("stop", "so far")));
    read.line(line({ type: "compaction_start", reason: "overflow" }));
    expect(read.end(exited)).toMatchObject({ finalText: null, failure: { category: "stuck" } });
  });

  it("updates are news but never parsed", () => {
    const read = reader("pi");
    expect(read.line('{"type":"message_update", not json at all')).toEqual([]);
    expect(read.progress()).toBe(true);
  });
});

describe("gemini", () => {
  it("a text in pieces is one text, and the last one is the answer", () => {
    const read = reader("gemini");
    const say = (content: string) => read.line(line({ type: "message", role: "assistant", content, delta: true }));
    expect([say("I look "), say("first.")]).toEqual([[], []]);
    expect(read.line(line({ type: "tool_use", tool_name: "ls", tool_id: "1", parameters: {} }))).toEqual([
      { type: "text", text: "I look first." },
      { type: "tool_use", callId: "1", tool: "ls", input: {} },
    ]);
    say("do");
    say("ne");
    expect(read.line(line({ type: "result", status: "success", stats: {} }))).toEqual([
      { type: "text", text: "done" },
      { type: "result", ok: true, text: "done" },
    ]);
    expect(read.end(exited)).toMatchObject({ finalText: "done", turns: 2, failure: null });
  });

  it("a prompt too long for a line is nothing to warn of", () => {
    const read = reader("gemini");
    expect(read.line('{"type":"message","timestamp":"2026","role":"user","content":"xxx[… line cut …]', true)).toEqual([]);
    expect(read.line('{"type":"tool_result","output":"xxx[… line cut …]', true)).toMatchObject([{ type: "warning" }]);
  });
});

describe("copilot", () => {
  const usageFile = (dir: string, inputTokens: number) => {
    const usage = { inputTokens, outputTokens: inputTokens / 10, cacheReadTokens: inputTokens / 5, cacheWriteTokens: 0 };
    const path = join(dir, "usage.json");
    writeFileSync(path, JSON.stringify({ modelMetrics: { big: { requests: { count: 1 }, usage } } }));
    return ["copilot", "--session-id", id, "--usage-output-file", path];
  };

  it("its session is known from its first line, and what it used from the file that it leaves", () => {
    const read = reader("copilot", { argv: usageFile(tempDir(), 100) });
    expect(read.line(line({ type: "session.tools_updated", data: {} }))).toEqual([
      { type: "session", session: { id, provider: "copilot" } },
    ]);
    expect(read.progress()).toBe(false);
    read.line(line({ type: "assistant.message", data: { content: "done" } }));
    expect(read.line(line({ type: "result", sessionId: id, exitCode: 0 }))).toEqual([{ type: "result", ok: true, text: "done" }]);
    expect(read.end(exited)).toMatchObject({
      finalText: "done",
      failure: null,
      spent: { byModel: [{ model: "big", usage: { inputTokens: 80, outputTokens: 10, cacheReadTokens: 20 } }], costUsd: null },
    });
  });

  it("the totals of a resumed session are less what it had used before", () => {
    const priorUsage = { inputTokens: 80, outputTokens: 10, cacheReadTokens: 20, cacheWriteTokens: 0 };
    const read = reader("copilot", { argv: usageFile(tempDir(), 300), priorUsage });
    read.line(line({ type: "result", sessionId: id, exitCode: 0 }));
    expect(read.end(exited).usage).toEqual({ inputTokens: 160, outputTokens: 20, cacheReadTokens: 40, cacheWriteTokens: 0 });
  });

  it("the words of a subagent are not its own", () => {
    const read = reader("copilot");
    read.line(line({ type: "assistant.message", data: { content: "mine" } }));
    expect(read.line(line({ type: "assistant.message", data: { content: "theirs", parentToolCallId: "1" } }))).toEqual([]);
    read.line(line({ type: "result", sessionId: id, exitCode: 0 }));
    expect(read.end(exited).finalText).toBe("mine");
  });
});

describe("opencode", () => {
  const text = (messageID: string, said: string) =>
    line({ type: "text", sessionID: "ses_1", part: { type: "text", messageID, text: said } });
  const step = (reason: string) => line({ type: "step_finish", sessionID: "ses_1", part: { reason, tokens: {}, cost: 0 } });

  it("the texts of the last message are the answer; only a step that ended by itself is an end", () => {
    const read = reader("opencode");
    for (const each of [text("a", "first"), step("tool-calls"), text("b", "one"), text("b", "two")]) read.line(each);
    expect(reader("opencode").end(exited).failure).toMatchObject({ category: "infrastructure" });
    expect(read.line(step("stop"))).toEqual([{ type: "result", ok: true, text: "one\ntwo" }]);
    expect(read.end(exited)).toMatchObject({ finalText: "one\ntwo", failure: null, turns: 2 });
  });

  it("what nobody was there to permit is a failure, also with exit code 0", () => {
    const read = reader("opencode");
    for (const each of [text("a", "done"), step("stop"), line({ type: "done", sessionID: "ses_1", reason: "idle", rejected: ["bash"] })])
      read.line(each);
    expect(read.end(exited)).toMatchObject({
      finalText: null,
      failure: { category: "environment", message: expect.stringContaining("bash") },
    });
  });

  it("an error after which it went on is none", () => {
    const read = reader("opencode");
    read.line(line({ type: "error", sessionID: "ses_1", error: { name: "APIError", data: { message: "overloaded", statusCode: 529 } } }));
    for (const each of [text("a", "done"), step("stop")]) read.line(each);
    expect(read.end(exited)).toMatchObject({ finalText: "done", failure: null });
  });
});

describe("any other program", () => {
  it("the beginning of a line that was cut is part of the result", () => {
    const read = reader("my-agent");
    expect(read.line("hello[… line cut …]", true)).toEqual([{ type: "text", text: "hello[… line cut …]" }]);
    expect(read.progress()).toBe(true);
    expect(read.end(exited)).toMatchObject({ finalText: "hello[… line cut …]", failure: null, warnings: [] });
  });

  it("its output is the result, its exit code decides", () => {
    const read = reader("my-agent");
    expect(read.line("hello")).toEqual([{ type: "text", text: "hello" }]);
    read.line("world");
    expect(read.end(exited)).toEqual({
      provider: "my-agent",
      session: null,
      finalText: "hello\nworld",
      usage: null,
      costUsd: null,
      turns: null,
      failure: null,
      warnings: [],
    });
    expect(reader("my-agent").end({ ...exited, exitCode: 3, stderrTail: "HTTP 401 Unauthorized" }).failure).toEqual({
      category: "auth",
      message: "HTTP 401 Unauthorized — exit code 3",
    });
  });

  it("P7 keeps the head and the tail of endless output", () => {
    const read = reader("my-agent");
    for (let i = 0; i < 50_000; i++) read.line(`line ${i} ${"x".repeat(20)}`);
    const text = read.end(exited).finalText ?? "";
    expect([text.length < 400_000, text.startsWith("line 0 "), text.includes("line 49999 "), text.includes("left out")]).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });
});
