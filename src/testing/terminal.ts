import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import xterm from "@xterm/headless";
import { onTestFinished } from "vitest";
import { tempDir } from "./temp.ts";
import { until } from "./until.ts";

/** A program in a terminal of its own. */
export interface TestTerminal {
  /** The process that was started. */
  pid: number;
  /** What the screen shows and what has scrolled off it, without empty lines at the end. */
  screen(): string;
  /** Waits until the screen holds a text. */
  shows(text: string | RegExp, timeoutMs?: number): Promise<void>;
  /** Waits until the screen has stopped changing: a dialog that has just been drawn may not take keys yet. */
  rests(): Promise<void>;
  /** Types a text as a keyboard would. */
  type(text: string): void;
  press(key: keyof typeof keys): void;
  signal(signal: NodeJS.Signals): void;
  /** Takes the terminal away, as closing its window does. */
  close(): void;
  /** The program's exit code, and what the terminal is set to afterwards. */
  ended: Promise<{ code: number | undefined; settings: string }>;
}

const keys = { enter: "\r", escape: "\u001b", up: "\u001b[A", down: "\u001b[B", ctrlC: "\u0003", ctrlD: "\u0004" };
/** What turns while a program waits. */
const spinners = /[\u2800-\u28ff·✢✳✶✻✽*]|\d+s/gu;
const size = { cols: 140, rows: 50 };

/**
 * Starts a program in a terminal: `script` of util-linux has the device, xterm is what a person would see. It is gone with the test at
 * the latest.
 */
export function startTerminal(argv: readonly string[], { env, cwd }: { env: Record<string, string>; cwd: string }): TestTerminal {
  const dir = tempDir("orch-tty-");
  const [started, over] = [join(dir, "pid"), join(dir, "over")];
  const program = join(dir, "program.sh");
  writeFileSync(
    program,
    [
      `stty cols ${size.cols} rows ${size.rows}`,
      `(printf '%s' "$(exec sh -c 'echo $PPID')" > '${started}.new'; mv '${started}.new' '${started}'; exec ${argv.map(quoted).join(" ")})`,
      "code=$?",
      `{ echo $code; stty -a; } > '${over}.new'; mv '${over}.new' '${over}'`,
      "",
    ].join("\n"),
  );
  const child = spawn("script", ["-qfec", `sh ${quoted(program)}`, "/dev/null"], {
    env: { ...env, TERM: "xterm-256color" },
    cwd,
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => {});
  const terminal = new xterm.Terminal({ ...size, scrollback: 20_000, allowProposedApi: true });
  // Programs ask a terminal what it is and where its cursor stands.
  terminal.onData((answer) => child.stdin.write(answer));
  child.stdout.on("data", (data: Buffer) => terminal.write(data));
  const gone = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await gone;
  });
  const screen = () => {
    const { active } = terminal.buffer;
    const lines = Array.from({ length: active.length }, (_, row) => active.getLine(row)?.translateToString(true) ?? "");
    return lines.join("\n").trimEnd();
  };
  const pidOf = () => Number(readFileSync(started, "utf8"));
  return {
    get pid() {
      return pidOf();
    },
    screen,
    async shows(text, timeoutMs = 60_000) {
      const isThere = () => (typeof text === "string" ? screen().includes(text) : text.test(screen()));
      await until(isThere, timeoutMs, `"${text}" on the screen`).catch((error: unknown) => {
        throw new Error(`${String(error)}\n--- the screen:\n${screen()}`);
      });
    },
    async rests() {
      let seen = "";
      let since = performance.now();
      await until(() => {
        const now = screen().replaceAll(spinners, "");
        if (now !== seen) [seen, since] = [now, performance.now()];
        return performance.now() - since > 300;
      });
    },
    type: (text) => child.stdin.write(text),
    press: (key) => child.stdin.write(keys[key]),
    signal: (signal) => process.kill(pidOf(), signal),
    close: () => child.kill("SIGKILL"),
    ended: gone.then(() => {
      const [code, ...settings] = existsSync(over) ? readFileSync(over, "utf8").split("\n") : [];
      return { code: code === undefined ? undefined : Number(code), settings: settings.join("\n") };
    }),
  };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
