import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HistoryEntry } from "../src/domain/ticket.ts";
import { until } from "../src/testing/until.ts";
import { hasPeople } from "./actors.ts";
import { count, isSpoilt, processesOf, type TicketRef, ticketFile, truth, violate, type World } from "./world.ts";

/** What the history says of a run whose claim the daemon won. */
const neverStarted = "It was never started.";

interface Start {
  phase: string;
  runId: string;
}

/** Checks everything that has to hold once all tickets have ended and the daemon was stopped. */
export async function checkWorld(world: World, options: { tokens: Map<string, string[]>; runsMayBeLost: boolean }): Promise<void> {
  const gone = () => processesOf(world).length === 0;
  await until(gone, 15_000, "the end of all processes").catch(() => {
    for (const { pid, command } of processesOf(world)) violate(world, "process", `${pid} is left: ${command}`);
  });
  const starts = readLedger(world);
  for (const ref of world.tickets) checkTicket(world, ref, starts.get(nameOf(ref)) ?? [], options);
  for (const id of globSync("*.json", { cwd: join(world.home, "inbox", "new") })) violate(world, "answer", `${id} is still in the inbox`);
  for (const file of globSync("{state,run}/**/*.json", { cwd: world.home })) checkWhole(world, join(world.home, file));
  if (world.git) checkRepository(world);
}

/** Waits until every public file shows what was committed last, that of the plan included. */
export async function shown(world: World): Promise<void> {
  if (isSpoilt(world)) return;
  const behind = () => world.tickets.filter((ref) => publicRev(world, ref) !== truth(world, ref)?.rev);
  await until(() => behind().length === 0, 15_000).catch(() => {
    for (const ref of behind())
      violate(world, "edit", `${ticketFile(world, ref)} shows revision ${publicRev(world, ref)} of ${truth(world, ref)?.rev}`);
  });
  const active = () => [...new Set(world.tickets.map(({ planId }) => planId))].filter((planId) => isActive(world, planId));
  await until(() => active().length === 0, 15_000).catch(() => violate(world, "edit", `all tickets have ended, and ${active()} is active`));
}

function isActive(world: World, planId: string): boolean {
  const file = join(world.home, "state", "plans", planId, "plan.json");
  return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).status === "active";
}

function publicRev(world: World, ref: TicketRef): unknown {
  const file = ticketFile(world, ref);
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rev : undefined;
}

function nameOf({ planId, ticketId }: TicketRef): string {
  return `${planId}/${ticketId}`;
}

/** What the agents say: ticket → its starts in order. */
function readLedger(world: World): Map<string, Start[]> {
  const starts = new Map<string, Start[]>();
  for (const line of readFileSync(join(world.dir, "ledger"), "utf8").split("\n")) {
    const [what = "", ticket = "", phase = "", runId = ""] = line.split(" ");
    if (what === "OVERLAP") violate(world, "overlap", `${ticket}: ${runId} started while a program of the ticket was alive`);
    if (what !== "START") continue;
    count(world, "runs");
    starts.set(ticket, [...(starts.get(ticket) ?? []), { phase, runId }]);
  }
  return starts;
}

function checkTicket(
  world: World,
  ref: TicketRef,
  starts: Start[],
  { tokens, runsMayBeLost }: { tokens: Map<string, string[]>; runsMayBeLost: boolean },
): void {
  const name = nameOf(ref);
  const ticket = truth(world, ref);
  const history = ticket?.phaseHistory ?? [];
  const path = history.map(
    ({ phase, status, runId, reason }) => `${runId ?? phase} ${status}${status === "success" ? "" : ` (${reason})`}`,
  );
  if (ticket?.activity?.state !== "finished" || ticket.activity.outcome !== "complete") {
    // A campaign that something else has ended leaves tickets as they are.
    if (world.violations.some(({ kind }) => kind !== "unfinished")) return;
    violate(
      world,
      "unfinished",
      `${name} is ${ticket?.status} by ${ticket?.hold?.by} in ${ticket?.currentPhase}: ${ticket?.error ?? path.join(", ")}`,
    );
    return;
  }
  const passed = history.flatMap(({ phase, status }) => (status === "success" ? [phase] : []));
  const others = history.filter(({ status }) => status !== "success" && status !== "lost" && status !== "interrupted");
  if (passed.join() !== world.path.join() || others.length > 0) violate(world, "path", `${name} went ${path.join(", ")}`);
  const lost = history.filter(({ status }) => status === "lost");
  count(world, "lost", lost.length);
  count(world, "revoked", history.filter(({ reason }) => reason === neverStarted).length);
  if (lost.length > 0 && !runsMayBeLost) violate(world, "twice", `${name} lost runs that nobody killed: ${path.join(", ")}`);
  checkStarts(world, name, starts, history);
  const mayStop = hasPeople(ref) || runsMayBeLost;
  for (const phase of world.path) {
    const times = starts.filter((start) => start.phase === phase).length;
    // Bundled scripts and merges leave no line in the ledger.
    const expected = world.git && phase !== "implement" ? 0 : 1;
    if (mayStop ? times < expected : times !== expected)
      violate(world, "twice", `${phase} of ${name} started ${times} times: ${path.join(", ")}`);
  }
  for (const token of tokens.get(name) ?? []) {
    if (!ticket.description.includes(token)) violate(world, "edit", `${name}: ${token} is gone; its description is ${ticket.description}`);
  }
}

/** Every run starts once, has one entry, and only a run whose end is recorded as lost or interrupted is followed by another of its phase. */
function checkStarts(world: World, name: string, starts: Start[], history: HistoryEntry[]): void {
  for (const [i, { phase, runId }] of starts.entries()) {
    const entries = history.filter((entry) => entry.runId === runId);
    const again = starts.findIndex((start) => start.runId === runId) !== i;
    if (again) violate(world, "twice", `${runId} of ${name} started twice`);
    if (entries.length !== 1) violate(world, "path", `${runId} of ${name} started and has ${entries.length} entries in the history`);
    const [entry] = entries;
    if (entry?.status === "interrupted" && entry.reason === neverStarted) violate(world, "revoked", `${runId} of ${name} did start`);
    if (entry?.status === "success" && starts.slice(i + 1).some((start) => start.phase === phase)) {
      violate(world, "twice", `${phase} of ${name} started again after ${runId} had passed`);
    }
  }
}

function checkWhole(world: World, file: string): void {
  try {
    JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    violate(world, "torn", `${file}: ${error}`);
  }
}

/** The worktrees that the repository has, the main one first, a line each. */
export function worktreesOf({ dir }: World): string[] {
  return execFileSync("git", ["-C", join(dir, "repo"), "worktree", "list"], { encoding: "utf8" })
    .trim()
    .split("\n");
}

/** All work is in the integration branch, once, and the user's checkout is as it was. */
function checkRepository(world: World): void {
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", join(world.dir, "repo"), ...args], { encoding: "utf8" })
      .trim()
      .split("\n");
  const merges = git("log", "--merges", "--format=%s", "orchestrator/main");
  const files = git("ls-tree", "--name-only", "orchestrator/main");
  for (const { ticketId } of world.tickets) {
    const times = merges.filter((subject) => subject.startsWith(`Merge ${ticketId}:`)).length;
    if (times !== 1) violate(world, "git", `${ticketId} was merged ${times} times`);
    if (!files.includes(`${ticketId}.txt`)) violate(world, "git", `the file of ${ticketId} is not in the branch`);
  }
  const changes = git("status", "--porcelain");
  if (changes.join("") !== "") violate(world, "git", `the checkout was changed: ${changes.join(", ")}`);
  const trees = worktreesOf(world);
  if (trees.length !== 1) violate(world, "git", `worktrees are left: ${trees.join(", ")}`);
}
