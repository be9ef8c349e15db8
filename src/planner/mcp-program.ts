import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { deserializeMessage, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { createLineSplitter } from "../executors/lines.ts";
import { readStat } from "../executors/process-identity.ts";
import { killTree, killTreeNow, type TreeMark } from "../executors/process-tree.ts";

/** A connection to a server that is a program of its own. */
export interface ProgramTransport extends Transport {
  /** How the program ended; undefined while it runs. */
  ending(): string | undefined;
  /** Ends all its processes without waiting for anything. */
  killNow(): void;
}

const maxMessage = 16 * 1024 * 1024;
const maxStderrLine = 4096;
/** After the end of its input, and then after SIGTERM. */
const graceMs = { input: 500, signal: 1000 };
/** A program's last words may still be on their way when it has ended; what it started may hold its pipes open for ever. */
const pipesMs = 500;

/**
 * Speaks with a program by its stdin and stdout. The program leads a session of its own, so that no key of the terminal reaches it,
 * and everything that it started ends with it: wrappers such as npx pass no signal on.
 */
export function programTransport(options: {
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  onStderr(line: string): void;
}): ProgramTransport {
  const { command, args, env, cwd, onStderr } = options;
  const mark: TreeMark = { variable: `ORCH_MCP_SERVER=${randomUUID()}`, leader: null };
  let child: ChildProcessWithoutNullStreams | undefined;
  let ending: string | undefined;
  let closing: Promise<void> | undefined;
  const { promise: exited, resolve: hasExited } = Promise.withResolvers<void>();

  function listen(started: ChildProcessWithoutNullStreams): void {
    const messages = createLineSplitter(maxMessage, (line, end) => {
      try {
        if (end === "cut") throw new Error(`a message is longer than ${maxMessage} characters`);
        if (line.trim() !== "") transport.onmessage?.(deserializeMessage(line));
      } catch (error) {
        // Many a program greets its reader on stdout.
        transport.onerror?.(error as Error);
      }
    });
    const talk = createLineSplitter(maxStderrLine, onStderr);
    started.stdout.on("data", messages.push);
    started.stderr.on("data", talk.push).on("end", talk.end);
    // A program that has closed its input ends, or does not answer in time.
    for (const stream of [started.stdin, started.stdout, started.stderr]) stream.on("error", (error) => transport.onerror?.(error));
    const { promise: drained, resolve: hasDrained } = Promise.withResolvers<void>();
    started.once("close", () => hasDrained());
    started.once("exit", async (code, signal) => {
      await Promise.race([drained, unhurried(pipesMs)]);
      ending = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
      hasExited();
      await transport.close();
    });
  }

  async function end(): Promise<void> {
    if (child?.pid !== undefined) {
      child.stdin.end();
      await Promise.race([exited, unhurried(graceMs.input)]);
      if (ending === undefined) {
        signalGroup(child.pid, "SIGTERM");
        await Promise.race([exited, unhurried(graceMs.signal)]);
      }
      await killTree(mark).catch(() => []);
    }
    transport.onclose?.();
  }

  const transport: ProgramTransport = {
    start() {
      const started = spawn(command, args, { cwd, env: { ...env, ...variableOf(mark) }, detached: true, stdio: "pipe" });
      child = started;
      const { pid } = started;
      if (pid !== undefined) {
        const stat = readStat(pid);
        mark.leader = stat ? { pid, start: stat.start } : null;
        listen(started);
      }
      return new Promise((resolve, reject) => started.once("spawn", resolve).once("error", reject));
    },
    send(message) {
      // An error is told to the stream's listener, and the end of the program to whoever waits for an answer.
      return new Promise((resolve) => child?.stdin.write(serializeMessage(message), () => resolve()));
    },
    close() {
      closing ??= end();
      return closing;
    },
    ending: () => ending,
    killNow() {
      if (child?.pid === undefined) return;
      if (ending === undefined) signalGroup(child.pid, "SIGKILL");
      killTreeNow(mark);
    },
  };
  return transport;
}

/** Waits without keeping this process from ending. */
function unhurried(ms: number): Promise<void> {
  return delay(ms, undefined, { ref: false });
}

function variableOf({ variable }: TreeMark): Record<string, string> {
  const [name = "", value = ""] = variable.split("=");
  return { [name]: value };
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch {
    // It has ended meanwhile.
  }
}
