import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import type { TestHome } from "./home.ts";
import { until } from "./until.ts";

const cli = join(inject("builtProgram"), "dist", "cli.js");

/** A real daemon process over a test home. */
export interface TestDaemon {
  pid: number;
  /** Sends a signal and resolves once the daemon is gone, with its exit code or signal. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null>;
  signal(signal: NodeJS.Signals): void;
  ended: Promise<number | NodeJS.Signals | null>;
}

/** Starts one and waits until it holds the lock and has written daemon.json; it is killed with the test at the latest. */
export async function startDaemon(home: TestHome, args: string[] = []): Promise<TestDaemon> {
  const record = join(home.home, "daemon.json");
  const child: ChildProcess = spawn(process.execPath, [cli, "daemon", ...args], { env: home.env, stdio: ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(join(home.dir, "daemon.out"), { flags: "a" });
  child.stdout?.pipe(log);
  child.stderr?.pipe(log);
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const isUp = () => existsSync(record) && (JSON.parse(readFileSync(record, "utf8")) as { pid: number }).pid === child.pid;
  await until(isUp, 20_000, "the daemon's start").catch((error: unknown) => {
    throw new Error(
      `${String(error)}\n${existsSync(join(home.dir, "daemon.out")) ? readFileSync(join(home.dir, "daemon.out"), "utf8") : ""}`,
    );
  });
  return {
    pid: child.pid ?? 0,
    ended,
    signal: (signal) => child.kill(signal),
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
  };
}

/** A command line under way. */
export interface TestCli {
  stdout(): string;
  stderr(): string;
  signal(signal: NodeJS.Signals): void;
  /** Its exit code, once it has ended and all its output is read; null when a signal killed it. */
  ended: Promise<number | null>;
}

/** Starts the command line; it is killed with the test at the latest. */
export function startCli(home: TestHome, ...args: string[]): TestCli {
  const child = spawn(process.execPath, [cli, ...args], { env: home.env, cwd: home.dir, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { stdout: () => stdout, stderr: () => stderr, signal: (signal) => child.kill(signal), ended };
}

/** Runs the command line to its end. */
export function runCli(home: TestHome, ...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [cli, ...args], { env: home.env, cwd: home.dir, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += String(chunk);
    });
    child.stderr.on("data", (chunk) => {
      stderr += String(chunk);
    });
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}
