import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { UserError } from "../domain/errors.ts";
import type { RunFacts, TicketEvent } from "../domain/event.ts";
import type { IsolationBreach } from "../domain/ticket.ts";
import { type Difference, differences } from "../git/checkout-diff.ts";
import { readCheckout, saveState } from "../git/checkout-state.ts";
import {
  type Checkout,
  type CheckoutState,
  checkoutStore,
  checkoutsOf,
  markedBranches,
  ownChangesSince,
  savedState,
  withStore,
} from "../git/checkout-store.ts";
import { GitError, type Repo, shellWord } from "../git/git.ts";
import { type TracedCommand, traceVariables, verbOf, writingCommands } from "../git/git-trace.ts";
import { createRedactor } from "../lib/redact.ts";
import { makeDir, writeDurable } from "../state/atomic-write.ts";
import type { PhaseContext } from "./phase.ts";

/** checkout.json of a run's folder: how the user's checkouts stood before the run. */
interface Before {
  schema: 1;
  checkouts: { checkout: Checkout; sha: string; ref: string }[];
}

/** checkout-after.json: what the comparison found. Looking again later would blame the run for what a person did since. */
interface After {
  schema: 1;
  breach: Breach | null;
}

/** The user's checkout is not what it was before a run. */
export interface Breach extends IsolationBreach {
  /** Whether it keeps the ticket from going on; else a person is told. */
  stops: boolean;
}

const shownCommands = 5;

/** Where an agent's git commands are noted. */
function traceDir(runDir: string): string {
  return join(runDir, "git-trace");
}

/**
 * Keeps the state of the user's checkouts for the comparison after the run, and returns the variables by which git tells what
 * the run did with it. Does nothing when `checkoutGuard` is off. Throws UserError when a checkout cannot be read.
 */
export async function guardBefore(context: PhaseContext, repo: Repo): Promise<Record<string, string>> {
  if (context.config.checkoutGuard === "off") return {};
  await makeDir(traceDir(context.runDir));
  rmSync(join(context.runDir, "checkout-after.json"), { force: true });
  const before: Before = { schema: 1, checkouts: [] };
  const isOwn = await ownBranches(context, repo.commonDir);
  for (const checkout of await checkoutsOf(repo, (path) => isWorktreeOfOurs(context, path))) {
    const store = checkoutStore(context.config.home, context.lockDir, checkout);
    const { sha, ref } = await withStore(store, async () =>
      saveState(store, await readCheckout(store, { now: context.now(), isOwn })),
    ).catch((error: unknown) => {
      if (!(error instanceof GitError)) throw error;
      throw new UserError(`Your checkout ${checkout.workTree} cannot be watched over: ${error.message}.`, {
        hint: `mend it, or set "checkoutGuard: off" in ${context.config.file}`,
        cause: error,
      });
    });
    before.checkouts.push({ checkout, sha, ref });
  }
  await writeDurable(join(context.runDir, "checkout.json"), JSON.stringify(before));
  return traceVariables(traceDir(context.runDir));
}

/**
 * Compares the user's checkouts with what they were before the run; undefined when nothing differs. The answer is written down,
 * and given again when asked again. `wasLost`: nobody knows when the run ended, so that only its own git commands can accuse it.
 */
export async function guardAfter(context: PhaseContext, options: { runDir?: string; wasLost?: boolean } = {}): Promise<Breach | undefined> {
  const { runDir = context.runDir, wasLost = false } = options;
  const before = read<Before>(join(runDir, "checkout.json"));
  if (before === undefined || context.config.checkoutGuard === "off") return undefined;
  const file = join(runDir, "checkout-after.json");
  const known = read<After>(file);
  const breach = known === undefined ? await compare(context, before, runDir, wasLost) : (known.breach ?? undefined);
  if (known === undefined) await writeDurable(file, JSON.stringify({ schema: 1, breach: breach ?? null } satisfies After));
  // Command lines may hold what nobody should keep.
  rmSync(traceDir(runDir), { recursive: true, force: true });
  return breach;
}

/** The comparison after a run of this ticket that was lost: nobody has looked since. */
export async function guardAfterLost(context: PhaseContext): Promise<Breach | undefined> {
  const last = context.ticket.phaseHistory.at(-1);
  if (last?.status !== "lost" || last.runId === undefined) return undefined;
  return guardAfter(context, { runDir: join(dirname(context.runDir), last.runId), wasLost: true });
}

/** The news of a run after which the checkout differs: a failure that stops the ticket, or its own news with the finding. */
export function withBreach(context: PhaseContext, event: TicketEvent, breach: Breach): TicketEvent {
  const { stops, ...isolation } = breach;
  const { at, runId } = { at: event.at, runId: context.ref.runId };
  if (event.type === "faulted") return { ...event, reason: `${event.reason} ${breach.evidence}` };
  if (stops && context.config.checkoutGuard === "stop") {
    const facts = event.type === "passed" || event.type === "failed" ? factsOf(event) : {};
    return { type: "failed", at, runId, category: "isolation", reason: breach.evidence, ...facts, isolation };
  }
  return event.type === "passed" || event.type === "failed" || event.type === "interrupted" ? { ...event, isolation } : event;
}

function factsOf(event: Extract<TicketEvent, { type: "passed" | "failed" }>): RunFacts {
  const { output, agent, session, head, usage, costUsd, captured, baseSha } = event;
  const facts = { output, agent, session, head, usage, costUsd, captured, baseSha };
  return JSON.parse(JSON.stringify(facts)) as RunFacts;
}

async function compare(context: PhaseContext, before: Before, runDir: string, wasLost: boolean): Promise<Breach | undefined> {
  const commands = await writingCommands(traceDir(runDir));
  let worst: Breach | undefined;
  for (const { checkout, sha, ref } of before.checkouts) {
    const found = await differencesOf(context, checkout, sha);
    if (found.length === 0) continue;
    const breach = describe(context, { checkout, ref, found, commands, wasLost });
    if (worst === undefined || (breach.stops && !worst.stops)) worst = breach;
  }
  return worst;
}

/** What differs now, but for what commands of ours changed at the person's request. */
async function differencesOf(context: PhaseContext, checkout: Checkout, sha: string): Promise<Difference[]> {
  const store = checkoutStore(context.config.home, context.lockDir, checkout);
  const saved = await savedState(store, sha);
  if (saved === undefined) throw new Error(`the state ${sha} of ${checkout.workTree} is gone from ${store.dir}`);
  const isOwn = await ownBranches(context, checkout.commonDir);
  return withStore(store, async () => {
    let now: CheckoutState;
    try {
      now = await readCheckout(store, { now: context.now(), isOwn });
    } catch (error) {
      if (!(error instanceof GitError) && !isMissing(error)) throw error;
      return [{ kind: "files", text: `it cannot be read any more: ${(error as Error).message}` }];
    }
    // Compared piece by piece: up to each change of ours, and on from it.
    let from = saved.state;
    const found: Difference[] = [];
    for (const change of await ownChangesSince(store, saved.state.at)) {
      found.push(...(await differences(store, from, change.before, isOwn)));
      from = change.after;
    }
    return [...found, ...(await differences(store, from, now, isOwn))];
  });
}

interface Found {
  checkout: Checkout;
  ref: string;
  found: Difference[];
  commands: TracedCommand[];
  wasLost: boolean;
}

function describe(context: PhaseContext, { checkout, ref, found, commands, wasLost }: Found): Breach {
  const { config, ref: run } = context;
  const path = checkout.workTree;
  const kinds = new Set(found.map(({ kind }) => kind));
  const there = commands.filter(({ worktree }) => worktree === path);
  const elsewhere = commands.filter(({ worktree, argv }) => worktree !== path && reaches(verbOf(argv), kinds));
  const evident = [...there, ...elsewhere];
  const lines = evident
    .slice(0, shownCommands)
    .map(({ argv, worktree }) => `${createRedactor([])(argv.join(" ")).slice(0, 200)} (in ${worktree ?? "no work tree"})`);
  const who =
    lines.length === 0
      ? "None of the git commands that the agent was seen to run did this: it may have been you, or another run of that time."
      : `The agent ran: ${lines.join("; ")}.`;
  const restore = `orchestrator restore --checkout --repo ${shellWord(path)} --ref ${ref}`;
  const evidence = [
    `The checkout ${path} is not what it was before the run: ${found.map(({ text }) => text).join("; ")}.`,
    who,
    `To take it back: ${restore}.`,
    `If it was you: orchestrator retry ${run.planId} ${run.ticketId}; "checkoutGuard: warn" in ${config.file} lets tickets go on.`,
  ].join(" ");
  // Of other worktrees, and of the time after a lost run, a run cannot be accused without its own commands.
  const isNamed = checkout.shared || path === context.resolved.repo;
  return { evidence, restore, stops: evident.length > 0 || (isNamed && !wasLost) };
}

/** Whether a command can change from another worktree what differs. */
function reaches(verb: string, kinds: ReadonlySet<Difference["kind"]>): boolean {
  if (kinds.has("stash") && verb === "stash") return true;
  if (kinds.has("branches") && ["branch", "update-ref", "fetch", "push", "pull", "checkout", "switch"].includes(verb)) return true;
  return kinds.has("configuration") && ["config", "remote", "branch", "submodule", "push"].includes(verb);
}

async function ownBranches(context: PhaseContext, commonDir: string): Promise<(ref: string) => boolean> {
  const marked = await markedBranches(commonDir);
  return (ref) => marked.has(ref) || context.isOwnBranch(ref);
}

function isWorktreeOfOurs({ config, plan, resolved }: PhaseContext, path: string): boolean {
  const roots = [config.worktreeRoot, plan.worktreeRoot, resolved.worktree];
  return roots.some((root) => typeof root === "string" && (path === root || path.startsWith(root + sep)));
}

function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EACCES"].includes(String((error as NodeJS.ErrnoException).code));
}

function read<T>(file: string): T | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8")) as T;
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
