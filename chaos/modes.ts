import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../src/testing/until.ts";
import { hasPeople, startPeople, startPlanner, startReader } from "./actors.ts";
import { checkWorld, shown, worktreesOf } from "./invariants.ts";
import { crashPoints } from "./points.ts";
import { between, pick } from "./random.ts";
import {
  allEnded,
  closeWorld,
  count,
  createWorld,
  type Daemon,
  hasEnded,
  isSpoilt,
  keepDaemonRunning,
  killEverything,
  pause,
  processesOf,
  setFaults,
  signal,
  tail,
  truth,
  type Violation,
  violate,
  type World,
  type WorldOptions,
} from "./world.ts";

/** How large a campaign is. */
export interface Size extends Pick<WorldOptions, "cli" | "seed" | "tickets" | "patienceMs" | "workMs"> {
  /** Daemons, shims or whole machines to kill; levels of a full disk. */
  kills: number;
  /** Each crash point is reached as often before it kills: 1, or 1, 2, 3 one after the other. */
  occurrences: number;
}

/** What came of one mode. `dir` is the folder of a home in which something went wrong; it is kept. */
export interface Result {
  mode: string;
  seed: number;
  seconds: number;
  figures: Record<string, number>;
  violations: Violation[];
  dir?: string;
}

export type Mode = (size: Size) => Promise<Result>;

/** A late shim and a slow revocation make them meet. */
const raceForTheClaim = { "before-claim": { p: 0.2, ms: 3000 }, "before-revocation": { p: 0.6, ms: 1200 } };

export const modes: Record<string, Mode> = {
  kill: (size) => campaign("kill", size, { runsMayBeLost: false }, killDaemons),
  points: (size) => pointsMode("points", size, false),
  dice: (size) =>
    campaign("dice", size, { runsMayBeLost: true }, async (world) => {
      setFaults(world, { p: 0.015 });
      keepDaemonRunning(world, { secondEvery: 10 });
      await allEnded(world);
      count(world, "deaths", deathsOf(world));
      setFaults(world, {});
    }),
  power: (size) => campaign("power", size, { runsMayBeLost: true }, cutPower),
  shims: (size) => campaign("shims", size, { runsMayBeLost: true, workMs: [300, 900], isolateProcesses: "off" }, killShims),
  disk: (size) => campaign("disk", size, { runsMayBeLost: false, alone: true }, fillDisk),
  mount: (size) => campaign("mount", size, { runsMayBeLost: false, alone: true, mount: mountSmallDisk }, fillDisk),
  git: (size) => pointsMode("git", size, true),
};

interface Setting extends Pick<WorldOptions, "git" | "workMs" | "isolateProcesses" | "mount"> {
  /** Shims are killed, too: what they watched over has to run again. */
  runsMayBeLost: boolean;
  /** Without planners and people. */
  alone?: boolean;
}

/** Runs one world to its end beside planners, people and a reader, while `torment` does its worst. */
async function campaign(mode: string, size: Size, setting: Setting, torment: (world: World, size: Size) => Promise<void>): Promise<Result> {
  const started = performance.now();
  const world = createWorld({ ...size, ...setting });
  const tokens = new Map<string, string[]>();
  const lanes = [0, 1, 2].map((lane) => world.tickets.filter((_, i) => i % 3 === lane));
  const actors = setting.alone
    ? []
    : [...lanes.map((lane) => startPlanner(world, lane, tokens)), startPeople(world, world.tickets.filter(hasPeople))];
  const reader = startReader(world);
  try {
    setFaults(world, {});
    await torment(world, size);
    await Promise.all(actors.map((end) => end()));
    await allEnded(world);
    await shown(world);
    await world.stop();
    await reader();
    await checkWorld(world, { tokens, runsMayBeLost: setting.runsMayBeLost });
  } catch (error) {
    // A revision that is no JSON is the program's fault.
    violate(
      world,
      error instanceof SyntaxError ? "torn" : "broken",
      `the campaign broke off: ${error instanceof Error ? error.stack : error}`,
    );
    await Promise.all([...actors, reader].map((end) => end()));
    await world.stop();
  }
  const { violations, figures, dir, seed } = world;
  const failed = violations.length > 0;
  closeWorld(world, failed);
  const seconds = Math.round((performance.now() - started) / 1000);
  return { mode, seed, seconds, figures: { tickets: world.tickets.length, ...figures }, violations, ...(failed ? { dir } : {}) };
}

/** Kills the daemon at random moments, its start included, until that was done often enough or all is done. */
async function killDaemons(world: World, { kills }: Size): Promise<void> {
  setFaults(world, { stalls: raceForTheClaim });
  keepDaemonRunning(world, { secondEvery: 5 });
  let last: Daemon | undefined;
  while ((world.figures.kills ?? 0) < kills && isUndecided(world)) {
    await pause(world, 50, 900);
    const { daemon } = world;
    // Once each: a dead one cannot be killed, and its successor gets a time of its own.
    if (!daemon || daemon === last || world.tickets.every((ref) => hasEnded(world, ref))) continue;
    last = daemon;
    if (signal(daemon.pid, "SIGKILL")) count(world, "kills");
    await daemon.ended;
  }
}

/** Whether there is something left to torment. */
function isUndecided(world: World): boolean {
  const ends = world.tickets.map((ref) => truth(world, ref)?.activity).map((now) => (now?.state === "finished" ? now.outcome : "open"));
  return !isSpoilt(world) && ends.includes("open") && ends.every((end) => end === "open" || end === "complete");
}

/** Kills the daemon, all shims and all agents at once, and starts again. */
async function cutPower(world: World, { kills }: Size): Promise<void> {
  keepDaemonRunning(world);
  while ((world.figures.cuts ?? 0) < kills && isUndecided(world)) {
    await pause(world, 300, 1500);
    count(world, "killed", killEverything(world));
    count(world, "cuts");
  }
}

async function killShims(world: World, { kills }: Size): Promise<void> {
  keepDaemonRunning(world);
  while ((world.figures.kills ?? 0) < kills && isUndecided(world)) {
    await pause(world, 50, 400);
    const shims = processesOf(world).filter(({ command }) => command.includes("/shim.cjs "));
    if (shims.length > 0 && signal(pick(world.next, shims).pid, "SIGKILL")) count(world, "kills");
  }
}

/** Lets a process die once at every crash point, in as many homes as it takes until all were reached. */
async function pointsMode(mode: string, size: Size, git: boolean): Promise<Result> {
  const results: Result[] = [];
  let left = crashPoints(git);
  for (let home = 0; home < 4 && left.length > 0; home++) {
    const setting = { runsMayBeLost: true, git, alone: git, workMs: [100, 500] as [number, number] };
    const result = await campaign(mode, { ...size, seed: size.seed + home }, setting, async (world) => {
      const once = Object.fromEntries(left.map((name) => [name, size.occurrences]));
      setFaults(world, { once, p: git ? 0.01 : 0, stalls: raceForTheClaim });
      keepDaemonRunning(world);
      await allEnded(world);
      await shown(world);
      // Worktrees are kept for tickets to come until the plan has been complete for a while.
      if (git) await until(() => worktreesOf(world).length === 1, world.patienceMs, "the last worktree to go");
      count(world, "deaths", deathsOf(world));
      count(world, "points", left.length);
      left = left.filter((name) => !existsSync(join(world.dir, "spent", name)));
      count(world, "points", -left.length);
      setFaults(world, {});
    });
    results.push(result);
    if (result.violations.length > 0) break;
  }
  const [first, ...others] = results;
  if (!first) throw new Error("there are no crash points");
  for (const { figures, seconds, violations, dir } of others) {
    for (const [name, value] of Object.entries(figures)) first.figures[name] = (first.figures[name] ?? 0) + value;
    first.seconds += seconds;
    first.violations.push(...violations);
    if (dir) first.dir = dir;
  }
  const missed: Violation = { kind: "unreached", what: `nobody came to ${left.join(", ")}` };
  // What happens only a few times in a home has no third one in every home.
  if (first.violations.length === 0 && left.length > 0 && size.occurrences === 1) first.violations.push(missed);
  return first;
}

function deathsOf(world: World): number {
  const file = join(world.home, "..", "deaths");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").length : 0;
}

/** Lets the disk take so many bytes more and then none, for one number after the other, and has work go on in between. */
async function fillDisk(world: World, { kills: levels }: Size): Promise<void> {
  const [fill, makeRoom] = world.home === join(world.dir, "home") ? imaginedDisk(world) : mountedDisk(world);
  keepDaemonRunning(world);
  await until(() => endsOf(world) > 0, world.patienceMs, "the first run");
  for (let level = 0; level < levels && isUndecided(world); level++) {
    const [refused, ended] = [refusals(world), endsOf(world)];
    world.isFull = true;
    fill(level);
    await orSoon(world, 1500, () => refusals(world) > refused);
    // Every fourth time its successor finds the disk full.
    if (level % 4 === 3 && world.daemon && signal(world.daemon.pid, "SIGKILL")) count(world, "kills");
    await pause(world, 0, 500);
    makeRoom();
    world.isFull = false;
    count(world, "levels");
    await orSoon(world, 3000, () => endsOf(world) > ended);
  }
  count(world, "refused", refusals(world));
}

/** Waits for something that need not happen. */
async function orSoon(world: World, ms: number, happens: () => boolean): Promise<void> {
  await until(() => happens() || !isUndecided(world), ms).catch(() => undefined);
}

function endsOf(world: World): number {
  return statSync(join(world.dir, "ledger")).size;
}

function refusals(world: World): number {
  const told = existsSync(join(world.dir, "refused")) ? statSync(join(world.dir, "refused")).size : 0;
  return told + tail(join(world.dir, "daemon.out")).split("ENOSPC").length - 1;
}

/** A disk that every process thinks full once it has written so many bytes; the last write is a short one. */
function imaginedDisk(world: World): [fill: (level: number) => void, makeRoom: () => void] {
  const file = join(world.dir, "room.json");
  const fill = (level: number) => {
    writeFileSync(`${file}.new`, JSON.stringify({ level: String(level), bytes: level * between(world.next, 1, 97) }));
    renameSync(`${file}.new`, file);
  };
  return [fill, () => rmSync(file, { force: true })];
}

/** A real disk with so many pages of 4 KiB left. */
function mountedDisk(world: World): [fill: (level: number) => void, makeRoom: () => void] {
  const disk = join(world.home, "..");
  const ballast = join(disk, "ballast");
  const fill = (level: number) => {
    const { bavail, bsize } = statfsSync(disk);
    const size = Math.max(0, bavail - (level % 64)) * bsize;
    try {
      writeFileSync(ballast, Buffer.alloc(size));
    } catch {
      // The program was faster: it is full.
    }
  };
  return [fill, () => truncateSync(ballast, 0)];
}

function mountSmallDisk(dir: string): string {
  const disk = join(dir, "disk");
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", disk]);
  return disk;
}
