import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Claim, ExitRecord, RunSpec } from "../domain/run.ts";
import type { Spent } from "../domain/session.ts";

/** The files of a run's folder. */
export function runFiles(runDir: string) {
  return {
    spec: join(runDir, "spec.json"),
    prompt: join(runDir, "prompt.md"),
    claim: join(runDir, "claim.json"),
    exit: join(runDir, "exit.json"),
    /** Its existence asks the run to stop; a shim that comes late finds it. */
    stop: join(runDir, "stop"),
    session: join(runDir, "session.json"),
    /** What the run has used so far: `Spent`. */
    usage: join(runDir, "usage.json"),
    transcript: join(runDir, "transcript.jsonl"),
    /** What a child writes by itself; it has this name for an instant only. */
    stream: join(runDir, "stream.jsonl"),
    /** Output, redacted: the head while the run goes on, head and tail once it is over. */
    stdout: join(runDir, "stdout.log"),
    stderr: join(runDir, "stderr.log"),
  };
}

/** spec.json. Throws when it is absent or unreadable. */
export function readSpec(runDir: string): RunSpec {
  const spec = readRecord<RunSpec>(runFiles(runDir).spec);
  if (spec === undefined) throw new Error(`${runFiles(runDir).spec} does not exist`);
  return spec;
}

/** claim.json; undefined when nothing has claimed the run. Throws when it is unreadable. */
export function readClaim(runDir: string): Claim | undefined {
  return readRecord<Claim>(runFiles(runDir).claim);
}

/** exit.json; undefined while the run is not over. Throws when it is unreadable. */
export function readExit(runDir: string): ExitRecord | undefined {
  return readRecord<ExitRecord>(runFiles(runDir).exit);
}

/** usage.json; undefined while there is none, or none that can be read: it only adds to what is known. */
export function readUsage(runDir: string): Spent | undefined {
  try {
    return JSON.parse(readFileSync(runFiles(runDir).usage, "utf8")) as Spent;
  } catch {
    return undefined;
  }
}

/** Why somebody asked the run to stop: its budget is used up, or a person or the daemon wants it to end. */
export function stopReason(runDir: string): "budget" | "stopped" {
  try {
    return readFileSync(runFiles(runDir).stop, "utf8") === "budget" ? "budget" : "stopped";
  } catch {
    return "stopped";
  }
}

/** Whether somebody asked the run to stop. */
export function isStopRequested(runDir: string): boolean {
  return existsSync(runFiles(runDir).stop);
}

function readRecord<T extends { schema: 1 }>(path: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let record: T;
  try {
    record = JSON.parse(text) as T;
  } catch (error) {
    throw new Error(`${path} is no JSON: ${(error as Error).message}`);
  }
  if (record?.schema !== 1) throw new Error(`${path} has schema ${String(record?.schema)}; this version reads schema 1`);
  return record;
}
