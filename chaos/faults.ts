/**
 * Loaded first by the daemon and by every shim of a variant (see variant.ts): makes them die, dawdle or run out of disk at
 * the places that faults.json beside their home names. The program itself knows nothing of it.
 */
import child from "node:child_process";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { basename, dirname, join } from "node:path";
import { type Faults, type Point, points } from "./points.ts";
import { random } from "./random.ts";

// As they are now, for what follows is not to happen to this file itself.
const { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeSync } = fs;
const isShim = basename(process.argv[1] ?? "") === "shim.cjs";
const isDaemon = process.argv[2] === "daemon";
// Shims are named the folder of all runs.
const home = isShim ? join(process.argv[2] ?? "", "..") : (process.env.ORCHESTRATOR_HOME ?? "");
const base = dirname(home);
const faults: Faults | undefined = read(join(base, "faults.json"));
const roomFile = join(base, "room.json");

type Call = (...args: unknown[]) => unknown;
type Functions = Record<string, Call>;

if (faults && (isShim || isDaemon)) {
  // In pid namespaces all shims have the same pid.
  const next = random(faults.seed + process.pid + Number(process.hrtime.bigint() % 1_000_000n));
  const at = (place: string): void => {
    const { p, ms } = faults.stalls[place] ?? { p: 0, ms: 0 };
    if (next() < p) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, next() * ms);
    if (isDue(faults, place) || next() < faults.p) die(place);
  };
  for (const functions of [fs.promises, fs, child]) wrapPoints(functions as unknown as Functions, at);
  limitRoom(fs as unknown as Functions);
  syncBuiltinESMExports();
}

function read<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as T;
  } catch {
    return undefined;
  }
}

/** Whether this is the occurrence at which the place kills, and nobody has died of it yet. Counts over all processes. */
function isDue({ once }: Faults, place: string): boolean {
  if (once[place] === undefined || existsSync(join(base, "spent", place))) return false;
  append(join("reached", place), ".");
  if (statSync(join(base, "reached", place)).size < once[place]) return false;
  try {
    mkdirSync(join(base, "spent", place));
    return true;
  } catch {
    return false;
  }
}

function append(name: string, text: string): void {
  const fd = openSync(join(base, name), "a");
  writeSync(fd, text);
  closeSync(fd);
}

function die(place: string): void {
  append("deaths", `${isShim ? "shim" : "daemon"} ${process.pid} ${place}\n`);
  process.kill(process.pid, "SIGKILL");
}

function wrapPoints(functions: Functions, at: (place: string) => void): void {
  for (const name of new Set(points.flatMap(({ calls }) => calls))) {
    const call = functions[name];
    if (call === undefined) continue;
    const isAsync = (functions as unknown) === fs.promises;
    functions[name] = (...args) => {
      const target = targetOf(name, args);
      const here = points.filter((point) => point.calls.includes(name) && point.target.test(target));
      if (here.length === 0) return call(...args);
      for (const point of here) at(`before-${point.name}`);
      const after = <T>(result: T): T => {
        for (const point of here) at(`after-${point.name}`);
        return result;
      };
      const result = call(...args);
      return isAsync ? (result as Promise<unknown>).then((value) => after(halfWay(value, here, at))) : after(result);
    };
  }
}

function targetOf(name: string, args: unknown[]): string {
  if (name === "spawn") return `${[args[0], ...((args[1] as string[] | undefined) ?? [])].join(" ")} `;
  return String(args[name.startsWith("link") || name.startsWith("rename") ? 1 : 0]);
}

/** Files that are opened to be written can have their writer die over half of it; a full disk takes as little. */
function halfWay(value: unknown, here: Point[], at: (place: string) => void): unknown {
  const halves = here.filter(({ half }) => half);
  if (halves.length === 0) return value;
  const handle = value as fs.promises.FileHandle & { write: Call };
  const write = handle.write.bind(handle) as (bytes: Buffer, from: number, length?: number) => Promise<{ bytesWritten: number }>;
  const half = async (bytes: Buffer, from = 0) => {
    const allowed = roomFor(bytes.length - from);
    if (halves.some(({ name }) => faults?.once[`half-${name}`] !== undefined)) {
      const { bytesWritten } = await write(bytes, from, Math.ceil((bytes.length - from) / 2));
      for (const { name } of halves) at(`half-${name}`);
      return { bytesWritten };
    }
    const { bytesWritten } = await write(bytes, from, allowed);
    return { bytesWritten };
  };
  return Object.assign(handle, { write: half });
}

let level = "";
let left = Number.POSITIVE_INFINITY;

/** How many of these bytes the disk still takes: all, some, or (thrown) none. room.json gives each process so many at each level. */
function roomFor(bytes: number): number {
  const room = read<{ level: string; bytes: number }>(roomFile);
  if (room === undefined) return bytes;
  if (room.level !== level) [level, left] = [room.level, room.bytes];
  const taken = Math.min(bytes, left);
  left -= taken;
  if (taken > 0 || bytes === 0) return taken;
  append("refused", `${level}\n`);
  throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", errno: -28, syscall: "write" });
}

function limitRoom(functions: Functions): void {
  const { writeFileSync } = fs;
  functions.writeSync = ((fd: number, bytes: Uint8Array | string, from: number = 0) => {
    const buffer = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    return writeSync(fd, buffer, from, fd < 3 ? buffer.length - from : roomFor(buffer.length - from));
  }) as Call;
  functions.writeFileSync = ((file: string, text: string, options?: fs.WriteFileOptions) => {
    const buffer = Buffer.from(text);
    const taken = roomFor(buffer.length);
    writeFileSync(file, buffer.subarray(0, taken), options);
    if (taken < buffer.length) roomFor(buffer.length - taken);
  }) as Call;
}
