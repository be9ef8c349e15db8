import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import type { Config } from "../domain/config.ts";
import { programFile } from "../inputs/assets.ts";
import { daemonLogFile, daemonOutputFile } from "../state/layout.ts";
import type { Ending } from "./command.ts";
import { printLine } from "./print.ts";

const lookEveryMs = 50;

/**
 * Starts this program as a daemon in a session of its own and waits until it has taken up what it found. One that fails
 * before has its words shown and its exit code passed on. Ctrl-C ends the waiting alone.
 */
export async function startInBackground(
  context: Context,
  { home }: Config,
  start: { arguments: readonly string[]; cwd: string },
): Promise<Ending> {
  // A start that fails must not disturb what a running daemon prints.
  const output = `${daemonOutputFile(home)}.${process.pid}`;
  mkdirSync(dirname(output), { recursive: true, mode: 0o700 });
  const fd = openSync(output, "w", 0o600);
  const child = spawn(process.execPath, [programFile("cli"), "daemon", "--quiet", ...start.arguments], {
    cwd: existsSync(start.cwd) ? start.cwd : home,
    env: { ...context.env, ORCHESTRATOR_HOME: home },
    detached: true,
    stdio: ["ignore", fd, fd],
  });
  closeSync(fd);
  let ended: { code: number | null; signal: string | null } | undefined;
  child.once("exit", (code, signal) => {
    ended = { code, signal };
  });
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  const isReady = () => {
    const holder = runningDaemon(home);
    return holder?.pid === child.pid && holder?.daemon?.ready === true;
  };
  while (!ended && !isReady()) await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  if (ended) {
    context.stderr.write(readFileSync(output, "utf8"));
    unlinkSync(output);
    context.say(`the daemon ended while it started${ended.signal ? ` (${ended.signal})` : ""}`);
    return ended.code ?? "failed";
  }
  child.unref();
  keepOutput(home, output);
  printLine(context, `The daemon runs in the background (pid ${child.pid}).`);
  printLine(context, `log: ${daemonLogFile(home)}`);
  return "ok";
}

/** Gives the output its name. That of the daemon before stays beside it: it may say why that one crashed. */
function keepOutput(home: string, output: string): void {
  const file = daemonOutputFile(home);
  if (existsSync(file)) renameSync(file, `${file}.1`);
  renameSync(output, file);
}
