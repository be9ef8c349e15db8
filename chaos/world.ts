import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ticket } from "../src/domain/ticket.ts";
import { until } from "../src/testing/until.ts";
import type { Faults } from "./points.ts";
import { between, type Random, random } from "./random.ts";

/** Something that must never happen, and what it was seen by. */
export interface Violation {
  kind:
    | "unfinished" // a ticket that does not end
    | "path" // a history that is not the path of the workflow
    | "twice" // a run, or a phase without a recorded reason, that started a second time
    | "revoked" // a run that started although the state says it never did
    | "overlap" // two runs of one ticket alive together
    | "torn" // a public file that is no whole JSON
    | "edit" // what a planner saved is gone
    | "answer" // a request that was not answered, or not truthfully
    | "daemons" // two daemons
    | "crash" // a daemon that ended without having been killed
    | "process" // something was left alive
    | "git" // work that is missing from the branch, or there twice
    | "broken" // the campaign itself
    | "unreached"; // a crash point that no process passes any more
  what: string;
}

export interface TicketRef {
  planId: string;
  ticketId: string;
}

/** A home with its plans, the program that works it, and what is known of both. */
export interface World {
  dir: string;
  home: string;
  cli: string;
  seed: number;
  next: Random;
  tickets: TicketRef[];
  /** Phases of every ticket, in order. */
  path: string[];
  git: boolean;
  /** Milliseconds without any progress, or without an answer, after which something counts as stuck. */
  patienceMs: number;
  violations: Violation[];
  figures: Record<string, number>;
  daemon: Daemon | undefined;
  /** Ends the daemon for good, and whoever starts it again. */
  stop: () => Promise<void>;
  /** The disk takes nothing: a daemon may refuse to start. */
  isFull: boolean;
}

export interface Daemon {
  child: ChildProcess;
  pid: number;
  ended: Promise<number | NodeJS.Signals | null>;
  hasEnded(): boolean;
  /** It holds the lock and says so. */
  isUp(): boolean;
}

export interface WorldOptions {
  cli: string;
  seed: number;
  tickets: number;
  git?: boolean;
  patienceMs?: number;
  /** How long a phase takes at least and at most, in milliseconds. */
  workMs?: [number, number];
  /** Whether runs live in pid namespaces, with which the system itself kills what a shim leaves. */
  isolateProcesses?: "auto" | "off";
  /** Makes the home's folder on another disk, and gives where. */
  mount?: (dir: string) => string;
}

const ticketsPerPlan = 10;
const worlds = new Set<World>();

/** Makes a home with plans of up to ten tickets each, some of which wait for others. Nothing runs yet. */
export function createWorld({
  cli,
  seed,
  tickets,
  git = false,
  patienceMs = 60_000,
  workMs = [50, 300],
  isolateProcesses = "auto",
  mount,
}: WorldOptions): World {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "orch-chaos-")));
  const home = join(mount?.(dir) ?? dir, "home");
  for (const path of ["busy", "spent", "reached", "repo", "user", "bin"]) mkdirSync(join(dir, path));
  for (const path of ["", "scripts", "workflows", "prompts"]) mkdirSync(join(home, path), { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, "ledger"), "");
  const config = {
    defaultAgent: "claude",
    agents: { claude: { command: join(dir, "bin", "claude") } },
    pollInterval: 0.2,
    maxConcurrency: 6,
    minFreeMiB: 0,
    isolateProcesses,
    retryBackoffSeconds: 0,
    git: { name: "Chaos", email: "chaos@example.test" },
  };
  writeFileSync(join(home, "config.yaml"), JSON.stringify(config), { mode: 0o600 });
  writeFileSync(join(home, "scripts", "work.sh"), agent(dir, workMs, ""), { mode: 0o700 });
  writeFileSync(join(dir, "bin", "claude"), agent(dir, workMs, claudeWork), { mode: 0o700 });
  writeFileSync(join(home, "prompts", "work.md"), "Write your file.\n");
  const path = git ? ["setup", "implement", "merge", "cleanup"] : ["one", "two", "three"];
  writeFileSync(join(home, "workflows", "chaos.yaml"), JSON.stringify({ name: "chaos", phases: git ? gitPhases : scriptPhases(path) }));
  const world: World = {
    ...{ dir, home, cli, seed, path, git, patienceMs },
    next: random(seed),
    tickets: [],
    violations: [],
    figures: {},
    daemon: undefined,
    stop: async () => undefined,
    isFull: false,
  };
  worlds.add(world);
  if (git) makeRepository(world);
  for (let first = 0; first < tickets; first += ticketsPerPlan)
    addPlan(world, `p${first / ticketsPerPlan}`, Math.min(ticketsPerPlan, tickets - first));
  return world;
}

/** Notes when it starts and ends, and whether another program of the ticket lives: the lock goes with the last process that holds it. */
function agent(dir: string, [least, most]: [number, number], work: string): string {
  // Without a ticket somebody asks the agent which version it is and what it takes.
  return `#!/bin/bash
[ -n "$ORCH_TICKET" ] || exit 0
me="$ORCH_PLAN/$ORCH_TICKET $ORCH_PHASE $ORCH_ATTEMPT"
exec 9>>"${dir}/busy/$ORCH_PLAN.$ORCH_TICKET"
flock -n 9 || echo "OVERLAP $me" >>"${dir}/ledger"
echo "START $me" >>"${dir}/ledger"
${work}
sleep "$(printf '0.%03d' $((${least} + RANDOM % ${most - least + 1})))"
echo "END $me" >>"${dir}/ledger"
`;
}

const claudeWork = `cat >/dev/null
echo '{"type":"system","subtype":"init","session_id":"'$(cat /proc/sys/kernel/random/uuid)'"}'
echo "$ORCH_TICKET" >"$ORCH_TICKET.txt"
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"x"}'`;

/** Script phases need no repository, only a folder. */
function scriptPhases(path: string[]) {
  const phases = path.map((id, i) => ({ id, type: "script", command: "work.sh", maxLost: 100, onSuccess: path[i + 1] ?? "complete" }));
  return [...phases, { id: "complete", type: "terminal" }];
}

const worktreeArgs = ["{{ repo }}", "{{ branch }}", "{{ worktree }}"];
const gitPhases = [
  { id: "setup", type: "script", command: "setup-worktree.sh", args: worktreeArgs, maxLost: 100, onSuccess: "implement" },
  { id: "implement", type: "agent", promptTemplate: "work.md", changes: "required", maxLost: 100, onSuccess: "merge" },
  { id: "merge", type: "merge", commands: { there: "test -f README.md" }, maxLost: 100, onSuccess: "cleanup" },
  {
    id: "cleanup",
    type: "script",
    command: "cleanup-worktree.sh",
    args: worktreeArgs.slice(2).concat("{{ branch }}"),
    maxLost: 100,
    onSuccess: "complete",
  },
  { id: "complete", type: "terminal" },
];

function makeRepository({ dir }: World): void {
  const git = (...args: string[]) => execFileSync("git", ["-C", join(dir, "repo"), ...args], { env: environment({ dir }) });
  git("init", "-q", "-b", "main");
  writeFileSync(join(dir, "repo", "README.md"), "# A project\n");
  git("add", "-A");
  git("-c", "user.name=Chaos", "-c", "user.email=chaos@example.test", "commit", "-qm", "first commit");
}

/** Adds a plan whole, under another name first. */
function addPlan(world: World, planId: string, count: number): void {
  const plans = join(world.home, "state", "plans");
  const draft = join(world.home, "state", `.draft-${planId}`);
  mkdirSync(join(draft, "tickets"), { recursive: true });
  mkdirSync(plans, { recursive: true });
  const ids = Array.from({ length: count }, (_, i) => `T${i + 1}`);
  const blockers = (i: number) => (i % 3 === 2 ? [ids[i - 1]] : i % 5 === 4 ? [ids[i - 2], ids[i - 4]] : []);
  for (const ticketId of ids) {
    const ticket = { planId, ticketId, title: ticketId, description: "", acceptanceCriteria: [], status: "queued" };
    writeFileSync(join(draft, "tickets", `${ticketId}.json`), JSON.stringify(ticket, null, 2));
    world.tickets.push({ planId, ticketId });
  }
  const listed = ids.map((ticketId, i) => ({ ticketId, order: i, blockedBy: blockers(i) }));
  const plan = {
    id: planId,
    repo: join(world.dir, "repo"),
    workflow: "chaos",
    status: "active",
    worktreeRoot: join(world.dir, "trees", planId),
  };
  writeFileSync(join(draft, "plan.json"), JSON.stringify({ ...plan, tickets: listed }, null, 2));
  renameSync(draft, join(plans, planId));
}

function environment({ dir, home = "" }: { dir: string; home?: string }): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: join(dir, "user"), ORCHESTRATOR_HOME: home, GIT_CONFIG_NOSYSTEM: "1", NO_COLOR: "1" };
}

/** Sets what goes wrong in processes that start from now on. */
export function setFaults(world: World, faults: Partial<Faults>): void {
  const all: Faults = { seed: world.seed, once: {}, p: 0, stalls: {}, ...faults };
  writeFileSync(join(world.home, "..", "faults.json"), JSON.stringify(all));
}

export function violate(world: World, kind: Violation["kind"], what: string): void {
  world.violations.push({ kind, what });
}

export function count(world: World, figure: string, by = 1): void {
  world.figures[figure] = (world.figures[figure] ?? 0) + by;
}

/** Starts a daemon; its output goes to daemon.out. */
function startDaemon(world: World): Daemon {
  const log = openSync(join(world.dir, "daemon.out"), "a");
  const child = spawn(process.execPath, [world.cli, "daemon"], { env: environment(world), stdio: ["ignore", log, log] });
  closeSync(log);
  let hasEnded = false;
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once("exit", (code, signal) => {
      hasEnded = true;
      appendFileSync(join(world.dir, "daemon.out"), `-- ${child.pid} ended: ${code ?? signal}\n`);
      resolve(code ?? signal);
    });
  });
  const isUp = () => {
    try {
      return JSON.parse(readFileSync(join(world.home, "daemon.json"), "utf8")).pid === child.pid;
    } catch {
      return false;
    }
  };
  count(world, "starts");
  return { child, pid: child.pid ?? 0, ended, hasEnded: () => hasEnded, isUp };
}

/** Starts the daemon again whenever it was killed, until the world's `stop` is called. One that ends by itself is a violation. */
export function keepDaemonRunning(world: World, options: { secondEvery?: number } = {}): void {
  let stopped = false;
  let current: Daemon | undefined;
  const loop = (async () => {
    while (!stopped) {
      const wasFull = world.isFull;
      const daemon = startDaemon(world);
      current = daemon;
      // While the second one is looked at, nobody kills the first.
      world.daemon = undefined;
      if (options.secondEvery && world.figures.starts && world.figures.starts % options.secondEvery === 0)
        await trySecondDaemon(world, daemon);
      world.daemon = daemon;
      const end = await daemon.ended;
      if (end === 1 && (wasFull || world.isFull)) {
        count(world, "refused to start");
        await pause(world, 50, 200);
      } else if (end !== "SIGKILL" && !stopped) {
        violate(world, "crash", `the daemon ended with ${end}: ${tail(join(world.dir, "daemon.out"))}`);
        stopped = true;
      }
    }
  })();
  world.stop = async () => {
    stopped = true;
    // One that has hardly begun would die of the signal.
    await until(() => current?.isUp() || current?.hasEnded() || isSpoilt(world), world.patienceMs).catch(() => undefined);
    if (isSpoilt(world)) killEverything(world);
    current?.child.kill("SIGTERM");
    await loop;
    const end = await current?.ended;
    if (end !== 0 && end !== "SIGKILL")
      violate(world, "crash", `asked to stop, the daemon ended with ${end}: ${tail(join(world.dir, "daemon.out"))}`);
  };
}

/** Whoever comes second is to be refused, at once and with the exit code for conflicts. */
async function trySecondDaemon(world: World, first: Daemon): Promise<void> {
  await until(() => first.isUp() || first.hasEnded(), world.patienceMs, "the daemon's start");
  const second = startDaemon(world);
  await until(() => second.hasEnded() || second.isUp() || first.hasEnded(), world.patienceMs, "the second daemon's end");
  // Whoever has just died may leave its place to the second before we hear of it.
  const isFree = () => until(first.hasEnded, 2000).catch(() => false);
  if (second.isUp() && !(await isFree())) violate(world, "daemons", `${second.pid} works beside ${first.pid}`);
  second.child.kill("SIGKILL");
  const end = await second.ended;
  if (end === 4) count(world, "refused");
  else if (!first.hasEnded() && end !== "SIGKILL") violate(world, "daemons", `the second daemon ended with ${end} instead of 4`);
}

/** The end of a text file. */
export function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").slice(-1500) : "(no output)";
}

export function ticketFile(world: World, { planId, ticketId }: TicketRef): string {
  return join(world.home, "state", "plans", planId, "tickets", `${ticketId}.json`);
}

/** The ticket as it was committed last; its file as long as it never was. Undefined while that has no name. */
export function truth(world: World, ref: TicketRef): Ticket | undefined {
  const revs = join(world.home, "state", "plans", ref.planId, ".orch", "revs", ref.ticketId);
  const numbers = existsSync(revs)
    ? readdirSync(revs).flatMap((name) => (/^\d+\.json$/.test(name) ? [Number.parseInt(name, 10)] : []))
    : [];
  try {
    if (numbers.length > 0) return JSON.parse(readFileSync(join(revs, `${Math.max(...numbers)}.json`), "utf8")).ticket;
    return JSON.parse(readFileSync(ticketFile(world, ref), "utf8"));
  } catch (error) {
    if (numbers.length === 0 || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export function hasEnded(world: World, ref: TicketRef): boolean {
  return truth(world, ref)?.activity?.state === "finished";
}

/** Resolves when every ticket has ended, when something is wrong already, or when nothing moves any more. */
export async function allEnded(world: World): Promise<void> {
  let seen = "";
  let since = performance.now();
  await until(
    () => {
      const open = world.tickets.filter((ref) => !hasEnded(world, ref));
      const now = `${open.map((ref) => `${ref.planId}/${ref.ticketId} ${truth(world, ref)?.rev}`)}`;
      if (now !== seen) [seen, since] = [now, performance.now()];
      return open.length === 0 || isSpoilt(world) || performance.now() - since > world.patienceMs;
    },
    3_600_000,
    "the end of the campaign",
  );
}

/** Something has gone wrong: what follows would only hide it. */
export function isSpoilt(world: World): boolean {
  return world.violations.length > 0 || readFileSync(join(world.dir, "ledger"), "utf8").includes("OVERLAP");
}

/** Processes that belong to this world: its daemons, shims and agents, and what these started. */
export function processesOf({ dir, home }: World): { pid: number; command: string }[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return [];
    const file = (what: string) => {
      try {
        return readFileSync(`/proc/${name}/${what}`, "latin1").replaceAll("\0", " ");
      } catch {
        return "";
      }
    };
    const command = file("cmdline");
    const isOurs = [dir, home].some((path) => command.includes(`${path}/`) || file("environ").includes(`${path}/`));
    return isOurs && !/^\d+ \(.*\) Z/.test(file("stat")) ? [{ pid: Number(name), command }] : [];
  });
}

/** Ends everything that belongs to the world, as when the machine loses power: nobody sees anybody else's death. */
export function killEverything(world: World): number {
  const stopped = new Set<number>();
  for (let grown = -1; grown !== stopped.size; ) {
    grown = stopped.size;
    for (const { pid } of processesOf(world)) if (signal(pid, "SIGSTOP")) stopped.add(pid);
  }
  for (const pid of stopped) signal(pid, "SIGKILL");
  return stopped.size;
}

/** Sends a signal; false when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** A time to let pass, in milliseconds. */
export function pause(world: World, least: number, most: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, between(world.next, least, most)));
}

/** Ends all that is left of a world and takes its folder away, or keeps it to be looked at. */
export function closeWorld(world: World, keep: boolean): void {
  killEverything(world);
  worlds.delete(world);
  const disk = join(world.home, "..");
  if (disk !== world.dir) {
    if (keep) cpSync(world.home, join(world.dir, "home"), { recursive: true });
    execFileSync("umount", [disk]);
  }
  if (!keep) rmSync(world.dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

/** For whoever interrupts a campaign. */
export function removeAllWorlds(): void {
  for (const world of worlds) closeWorld(world, false);
}
