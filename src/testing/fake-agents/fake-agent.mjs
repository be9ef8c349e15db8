#!/usr/bin/env node
/**
 * A program that behaves as a scenario tells it: well, or in one of the ways that real agents misbehave.
 *
 * The scenario is a JSON list of steps, taken from FAKE_SCENARIO or, without it, from a line of the prompt (stdin) that
 * begins with "FAKE_SCENARIO=". Each step is an object with one key:
 *
 *   write: {path: text}        files, relative to the working directory
 *   commit: "message"          everything there is
 *   print / error: "text"      to stdout / stderr, as it stands
 *   stream: "claude" | "codex" | "pi", with optional text, session, tokens: a whole answer in that CLI's format
 *   calls: [{tool, input, output, isError}]   calls of tools and their results in claude's format, one after the other;
 *                              with times: so many rounds, else for ever; every: milliseconds between two. <n> in an
 *                              input is the number of the call
 *   flood: bytes               to stdout, in lines of 100 bytes; with newline: false in one line
 *   bytes: "hex"               to stdout, e.g. what is no UTF-8
 *   printEnv: "NAME"           its value to stdout
 *   readStdin: true            to its end, and print it
 *   ignore: ["SIGTERM", …]     signals
 *   leave: "child" | "setsid" | "daemon" | "cleared-daemon"   a process that outlives this one
 *   hold: true                 a child that keeps stdout open
 *   wait: milliseconds
 *   tick: milliseconds, text   prints text at that interval for ever
 *   hang: true                 for ever
 *   crash: "SIGKILL"           by that signal
 *   exit: code
 *
 * Start, end and every process left behind are noted in the file FAKE_LEDGER: "START <run> <pid>", "END <run> <pid>",
 * "LEFT <kind> <pid>".
 */
import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const run = process.env.ORCH_RUN ?? "-";
const ledger = process.env.FAKE_LEDGER;

const steps = {
  write({ write }) {
    for (const [path, text] of Object.entries(write)) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  },
  commit({ commit }) {
    const git = (...args) =>
      execFileSync("git", ["-c", "user.name=Fake Agent", "-c", "user.email=fake@example.com", ...args], { stdio: "ignore" });
    git("add", "-A");
    git("commit", "-m", commit);
  },
  print: ({ print }) => put(1, print),
  error: ({ error }) => put(2, error),
  stream(step) {
    for (const line of answers[step.stream](step)) put(1, `${JSON.stringify(line)}\n`);
  },
  async calls({ calls, times = Number.POSITIVE_INFINITY, every = 5 }) {
    for (let i = 0; i < times * calls.length; i++) {
      const { tool, input, output = "", isError = false } = calls[i % calls.length];
      const its = JSON.parse(JSON.stringify(input).replaceAll("<n>", i));
      const use = { type: "tool_use", id: `call_${i}`, name: tool, input: its };
      const result = { type: "tool_result", tool_use_id: use.id, content: output, is_error: isError };
      for (const [type, block] of [
        ["assistant", use],
        ["user", result],
      ]) {
        put(1, `${JSON.stringify({ type, message: { id: `msg_${i}`, role: type, content: [block] }, session_id: fakeSession })}\n`);
      }
      await delay(every);
    }
  },
  flood({ flood, newline = true }) {
    const piece = newline ? `${"x".repeat(99)}\n`.repeat(1000) : "x".repeat(100_000);
    for (let left = flood; left > 0; left -= piece.length) put(1, piece.slice(0, left));
  },
  bytes: ({ bytes }) => put(1, Buffer.from(bytes, "hex")),
  printEnv: ({ printEnv }) => put(1, `${process.env[printEnv]}\n`),
  readStdin: () => put(1, readFileSync(0)),
  ignore({ ignore }) {
    for (const signal of ignore) process.on(signal, () => {});
  },
  leave: ({ leave }) => leaveBehind(leave),
  async hold() {
    spawn("sleep", ["600"], { stdio: ["ignore", "inherit", "inherit"] }).unref();
  },
  wait: ({ wait }) => delay(wait),
  async tick({ tick, text }) {
    for (;;) {
      put(1, text);
      await delay(tick);
    }
  },
  hang: () => delay(2 ** 31 - 1),
  async crash({ crash }) {
    process.kill(process.pid, crash);
    await delay(10_000);
  },
  exit({ exit }) {
    note(`END ${run} ${process.pid}`);
    process.exit(exit);
  },
};

const fakeSession = "11111111-2222-4333-8444-555555555555";

const answers = {
  claude: ({ text = "done", session = "11111111-2222-4333-8444-555555555555", tokens = 10 }) => {
    const usage = { input_tokens: tokens, output_tokens: tokens, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 };
    const message = {
      id: "msg_1",
      role: "assistant",
      model: "claude-fake",
      content: [{ type: "text", text }],
      stop_reason: "end_turn",
      usage,
    };
    return [
      {
        type: "system",
        subtype: "init",
        cwd: process.cwd(),
        session_id: session,
        tools: ["Bash"],
        model: "claude-fake",
        permissionMode: "default",
      },
      { type: "assistant", message, parent_tool_use_id: null, session_id: session },
      { type: "result", subtype: "success", is_error: false, num_turns: 1, result: text, session_id: session, total_cost_usd: 0.01, usage },
    ];
  },
  codex: ({ text = "done", session = "11111111-2222-4333-8444-555555555555", tokens = 10 }) => [
    { type: "thread.started", thread_id: session },
    { type: "turn.started" },
    { type: "item.completed", item: { id: "item_0", type: "agent_message", text } },
    { type: "turn.completed", usage: { input_tokens: tokens, cached_input_tokens: 0, output_tokens: tokens } },
  ],
  pi: ({ text = "done", session = "11111111-2222-4333-8444-555555555555", tokens = 10 }) => {
    const usage = { input: tokens, output: tokens, cacheRead: 0, cacheWrite: 0, totalTokens: 2 * tokens, cost: { total: 0.01 } };
    const message = { role: "assistant", content: [{ type: "text", text }], stopReason: "stop", usage };
    return [
      { type: "session", version: 3, id: session, timestamp: new Date().toISOString(), cwd: process.cwd() },
      { type: "message_end", message },
      { type: "agent_end", messages: [message] },
    ];
  },
};

/** Writes all of it, also to a pipe whose reader is slow. */
function put(fd, data) {
  const bytes = Buffer.from(data);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function note(line) {
  if (ledger !== undefined) appendFileSync(ledger, `${line}\n`, { flag: "a" });
}

/** Starts a process of that kind and waits until it has noted itself. */
async function leaveBehind(kind) {
  const sleeper = `echo LEFT ${kind} $$ >> "$FAKE_LEDGER"; exec sleep 600`;
  const cleared = `exec env -i PATH="$PATH" bash -c 'echo LEFT ${kind} $$ >> "$0"; exec sleep 600' "$FAKE_LEDGER"`;
  const commands = {
    child: ["bash", "-c", sleeper],
    setsid: ["setsid", "bash", "-c", sleeper],
    daemon: ["bash", "-c", '(setsid bash -c "$0" &); exit 0', sleeper],
    "cleared-daemon": ["bash", "-c", '(setsid bash -c "$0" &); exit 0', cleared],
  };
  const [program, ...args] = commands[kind];
  spawn(program, args, { stdio: "ignore" }).unref();
  while (!readFileSync(ledger, "utf8").includes(`LEFT ${kind} `)) await delay(5);
}

function scenario() {
  if (process.env.FAKE_SCENARIO !== undefined) return JSON.parse(process.env.FAKE_SCENARIO);
  const line = readFileSync(0, "utf8")
    .split("\n")
    .find((text) => text.startsWith("FAKE_SCENARIO="));
  return line === undefined ? [] : JSON.parse(line.slice("FAKE_SCENARIO=".length));
}

note(`START ${run} ${process.pid}`);
for (const step of scenario()) {
  const name = Object.keys(steps).find((key) => Object.hasOwn(step, key));
  if (name === undefined) throw new Error(`no such step: ${JSON.stringify(step)}`);
  await steps[name](step);
}
note(`END ${run} ${process.pid}`);
process.exit(0);
