import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A release of a CLI: what it says of itself, and the flags that it takes. */
export interface Release {
  name: "claude" | "codex" | "pi" | "gemini" | "copilot" | "opencode";
  version: string;
  help: string;
  /** Flags that its help does not name. */
  hidden?: string[];
}

/** An installed program that stands for a release of a CLI. */
export interface VersionedCli {
  path: string;
  /** What it was started with so far, probes included. */
  argvs(): string[][];
}

/**
 * Installs in `bin` a program that answers --version and --help as the release does, refuses flags that this one does not take in the
 * release's own words, and else reads its prompt and writes a stream with the result "done". Replaces an earlier one.
 */
export function installCli(bin: string, { name, version, help, hidden = [] }: Release): VersionedCli {
  mkdirSync(bin, { recursive: true });
  const path = join(bin, name);
  const log = join(bin, `${name}.argv`);
  rmSync(path, { force: true });
  const refusal = {
    claude: "error: unknown option '%'",
    codex: "error: unexpected argument '%' found",
    pi: "Error: Unknown option: %",
    gemini: "Unknown argument: %",
    copilot: "error: unknown option '%'",
    opencode: "Unknown argument: %",
  }[name];
  const known = [...new Set([...(help.match(/(?<![\w-])--?[A-Za-z][\w-]*/g) ?? []), ...hidden])];
  const facts = JSON.stringify({ log, version, help, known, refusal, stream: streams[name] });
  writeFileSync(path, `#!${process.execPath}\n(${program.toString()})(${facts});\n`);
  chmodSync(path, 0o755);
  const argvs = () => {
    try {
      return readFileSync(log, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as string[]);
    } catch {
      return [];
    }
  };
  return { path, argvs };
}

const session = "11111111-2222-4333-8444-555555555555";
const usage = { input_tokens: 1, output_tokens: 1 };
const streams = {
  claude: [
    { type: "system", subtype: "init", session_id: session, tools: [] },
    { type: "result", subtype: "success", is_error: false, result: "done", session_id: session, usage, total_cost_usd: 0 },
  ],
  codex: [
    { type: "thread.started", thread_id: session },
    { type: "item.completed", item: { id: "item_0", type: "agent_message", text: "done" } },
    { type: "turn.completed", usage },
  ],
  pi: [
    { type: "session", version: 3, id: session, cwd: "/" },
    { type: "agent_end", messages: [{ role: "assistant", content: [{ type: "text", text: "done" }], stopReason: "stop" }] },
  ],
  gemini: [
    { type: "init", session_id: session, model: "gemini-2.5-pro" },
    { type: "message", role: "assistant", content: "done", delta: true },
    { type: "result", status: "success", stats: { models: { "gemini-2.5-pro": { total_tokens: 2, input_tokens: 1, output_tokens: 1 } } } },
  ],
  copilot: [
    { type: "assistant.message", data: { content: "done", toolRequests: [] } },
    { type: "result", sessionId: session, exitCode: 0 },
  ],
  opencode: [
    { type: "step_start", sessionID: "ses_1", part: { type: "step-start" } },
    { type: "text", sessionID: "ses_1", part: { type: "text", messageID: "msg_1", text: "done" } },
    { type: "step_finish", sessionID: "ses_1", part: { reason: "stop", tokens: { input: 1, output: 1 }, cost: 0 } },
  ],
};

/** Runs in a process of its own, from its text: nothing from out here is in reach. */
function program(facts: { log: string; version: string; help: string; known: string[]; refusal: string; stream: object[] }): void {
  const { appendFileSync, readFileSync: read } = process.getBuiltinModule("node:fs");
  const args = process.argv.slice(2);
  appendFileSync(facts.log, `${JSON.stringify(args)}\n`);
  const refused = args.find((arg) => /^--?[A-Za-z]/.test(arg) && !facts.known.includes(arg.replace(/=.*/s, "")));
  if (args[0] === "--version") process.stdout.write(`${facts.version}\n`);
  else if (args.at(-1) === "--help") process.stdout.write(facts.help);
  else if (refused !== undefined) {
    process.stderr.write(`${facts.refusal.replace("%", refused)}\n`);
    process.exitCode = 2;
  } else {
    read(0);
    for (const line of facts.stream) process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}
