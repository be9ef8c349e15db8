/**
 * The program of `checks` and `merge` phases: `node checks-runner.js <run folder>` runs the commands of spec.json in
 * the current folder, each failing one also on the commit before the change, and leaves checks.json.
 * Exits 0 when nothing fails that passed before, 1 when something does.
 */
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { RunSpec } from "../domain/run.ts";
import { killTree } from "../executors/process-tree.ts";
import { createRedactor, secretValues } from "../lib/redact.ts";
import { writeDurable } from "../state/atomic-write.ts";
import { type CheckOrder, type CheckReport, type CheckResult, couldNotRun } from "./check-report.ts";
import { installedIn, lendDependencies } from "./lend-dependencies.ts";

const tailLimit = 4096;
const drainMs = 1000;

async function main(runDir: string): Promise<number> {
  const spec = JSON.parse(readFileSync(join(runDir, "spec.json"), "utf8")) as RunSpec;
  const order = spec.data.checks as CheckOrder;
  // Loaded beside the checks, most of which need no git; not later, when another version may have taken this one's place.
  const git = loadGit();
  git.catch(() => undefined);
  const checks: CheckResult[] = [];
  for (const { name, argv } of order.commands) {
    process.stdout.write(`--- ${name}: ${argv.join(" ")}\n`);
    const now = await runCheck(argv, process.cwd());
    const before = now.exitCode === 0 || !order.baseline ? null : await baselineOf(order.baseline, name, argv, git);
    checks.push({ name, command: argv, ...now, before });
    const verdict = now.exitCode === 0 ? "passed" : failedBefore(before) ? "fails, and failed before the change" : "FAILS";
    process.stdout.write(`--- ${name}: ${verdict} (${now.durationMs} ms)\n`);
  }
  const newFailures = checks.filter((check) => check.exitCode !== 0 && !failedBefore(check.before)).map((check) => check.name);
  const report: CheckReport = { schema: 1, checks, newFailures };
  await writeDurable(join(runDir, "checks.json"), `${JSON.stringify(report, null, 2)}\n`);
  return newFailures.length > 0 ? 1 : 0;
}

/** A check that could not be run before the change was not seen to fail there. */
function failedBefore(before: CheckResult["before"]): boolean {
  return before !== null && before.exitCode !== 0 && !couldNotRun(before);
}

/**
 * Runs one command; its output goes on to ours, and its end is kept. A command that cannot be started counts as exit code 127.
 * What it leaves running is killed: a server on its port would fail the next check.
 */
async function runCheck(argv: string[], cwd: string): Promise<Pick<CheckResult, "exitCode" | "signal" | "durationMs" | "tail">> {
  const started = performance.now();
  const mark = randomUUID();
  const [program, ...args] = argv;
  const child = spawn(program ?? "", args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ORCH_CHECK: mark } });
  let tail = "";
  const take = (text: string) => {
    process.stdout.write(text);
    tail = (tail + text).slice(-2 * tailLimit);
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", take);
  const closed = once(child, "close").catch(() => undefined);
  const end = await new Promise<Pick<CheckResult, "exitCode" | "signal">>((resolve) => {
    child.once("error", (error) => {
      tail = error.message;
      resolve({ exitCode: 127, signal: null });
    });
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
  });
  const durationMs = Math.round(performance.now() - started);
  await killTree({ variable: `ORCH_CHECK=${mark}`, leader: null });
  // What would not die may hold the pipes open for ever.
  await Promise.race([closed, delay(drainMs, undefined, { ref: false })]);
  return { ...end, durationMs, tail: redactLines(tail).slice(-tailLimit) };
}

/** What goes to checks.json passes no shim that would take the secrets out. */
function redactLines(text: string): string {
  return text
    .split("\n")
    .map(createRedactor(secretValues(process.env)))
    .join("\n");
}

function loadGit() {
  return Promise.all([import("../git/git.ts"), import("../git/worktree.ts")]);
}

/** What a check said on the commit before the change: from the cache, else by running it there. */
async function baselineOf(
  baseline: NonNullable<CheckOrder["baseline"]>,
  name: string,
  argv: string[],
  git: ReturnType<typeof loadGit>,
): Promise<CheckResult["before"]> {
  const [{ commitOf, openRepo }, { integrationWorktree }] = await git;
  const repo = await openRepo(baseline.repo);
  const sha = await commitOf(repo, baseline.sha);
  if (sha === null) return null;
  const key = createHash("sha256")
    .update(JSON.stringify([sha, argv, installedIn(baseline.dependenciesOf)]))
    .digest("hex")
    .slice(0, 32);
  const cached = join(baseline.cacheDir, `${key}.json`);
  try {
    return JSON.parse(readFileSync(cached, "utf8")) as CheckResult["before"];
  } catch {
    // not there yet
  }
  process.stdout.write(`--- ${name}: the same on ${sha.slice(0, 10)}, before the change\n`);
  const { path } = await integrationWorktree({ repo, lockDir: baseline.lockDir, path: baseline.worktree, sha });
  lendDependencies(baseline.dependenciesOf, path);
  const { exitCode } = await runCheck(argv, path);
  const before = { exitCode, sha };
  if (couldNotRun(before)) return before;
  mkdirSync(baseline.cacheDir, { recursive: true, mode: 0o700 });
  await writeDurable(cached, JSON.stringify(before));
  return before;
}

process.exitCode = await main(process.argv[2] ?? "").catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  return 70;
});
