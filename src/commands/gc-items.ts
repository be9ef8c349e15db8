import { readdir, rmdir, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { mayRunOn, worktreeRoots } from "../daemon/housekeeping.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { type Resolved, resolveTicket, type Ticket } from "../domain/ticket.ts";
import { epochMs, type Instant, secondsBetween } from "../domain/time.ts";
import type { PlanView, World } from "../engine/world.ts";
import { detectBase, integrationRef } from "../git/base.ts";
import { checkoutPlan, shared } from "../git/checkout-state.ts";
import { forgetSaved, knownStores, lastSaved, type SavedCheckout, savedStates, withStore } from "../git/checkout-store.ts";
import { commitOf, openRepo, type Repo } from "../git/git.ts";
import { isMerged } from "../git/merged.ts";
import { listRecovery } from "../git/recovery.ts";
import { deleteTrash, moveToTrash, trashIn } from "../git/trash.ts";
import { worktreeState } from "../git/worktree.ts";
import { canonicalPath, listWorktrees, type WorktreeEntry } from "../git/worktree-list.ts";
import { integrationMark, isOurs, readMark } from "../git/worktree-place.ts";
import { parkedIn } from "../git/worktree-pool.ts";
import { deleteSaved, dropParked, removeIntegrationWorktree, removeWorktree } from "../git/worktree-removal.ts";
import { treeSize } from "../lib/tree-size.ts";
import { lockDir, ticketLogFile } from "../state/layout.ts";
import { loadTicket } from "../state/load.ts";

/** Something that takes up room, and what is to become of it. */
export interface GcItem {
  kind: "worktree" | "branch" | "parked" | "trash" | "runs" | "log" | "saved" | "checkout" | "other";
  /** A path, or the full name of a ref. */
  what: string;
  planId?: string;
  ticketId?: string;
  /** Why it goes, or why it stays. */
  reason: string;
  bytes?: number;
  ageSeconds?: number;
  /** Whether its commits are provably in the base or the integration branch. */
  merged?: boolean;
  /** Removes it, and says what came of that beyond its being gone; absent for what stays. Throws when that may no longer be. */
  remove?: () => Promise<string | undefined>;
}

export interface GcOptions {
  now: Instant;
  /** Only what belongs to this plan. */
  planId?: string;
  /** Seconds since its end before anything goes; the configuration says otherwise for runs, logs and bad ends. */
  olderThan?: number;
  /** Whether saved states go whose content is merged. */
  saved: boolean;
  /** Seconds after which saved states go, merged or not. */
  savedOlderThan?: number;
}

interface Search extends GcOptions {
  config: Config;
  world: World;
}

/** A ticket, and where its work is. */
interface Place {
  view: PlanView;
  ticket: Ticket;
  resolved: Resolved;
}

interface OpenedRepo {
  repo: Repo;
  entries: WorktreeEntry[];
  mergedInto: Map<string | null, string[]>;
}

/** Everything that could go and everything that stays although it looks as if it could. Changes nothing. */
export async function findItems(config: Config, world: World, options: GcOptions): Promise<GcItem[]> {
  const search: Search = { ...options, config, world };
  const places = placesOf(search);
  const repos = new Map<string, OpenedRepo | GcItem>();
  const items: GcItem[] = [];
  for (const place of places) items.push(...(await itemsOfTicket(search, place, repos)));
  items.push(...(await itemsOfRoots(search, places)));
  for (const planId of planIds(search)) items.push(...(await itemsOfRuns(search, planId)));
  if (search.planId === undefined) items.push(...(await checkoutItems(search)));
  for (const opened of repos.values()) items.push(...("repo" in opened ? await savedItems(search, opened) : [opened]));
  return items;
}

function planIds({ world, planId }: Search): string[] {
  return [...world.plans.keys()].filter((id) => planId === undefined || id === planId);
}

function placesOf(search: Search): Place[] {
  return planIds(search).flatMap((planId) => {
    const view = search.world.plans.get(planId);
    if (!view) return [];
    return [...view.tickets.values()].map((ticket) => ({
      view,
      ticket,
      resolved: resolveTicket(ticket, view.plan, search.config.worktreeRoot),
    }));
  });
}

async function itemsOfTicket(search: Search, place: Place, repos: Map<string, OpenedRepo | GcItem>): Promise<GcItem[]> {
  const { view, ticket, resolved } = place;
  const owner = { planId: view.plan.id, ticketId: ticket.ticketId };
  const opened = resolved.repo === null ? undefined : await openOnce(resolved.repo, repos);
  const path = await canonicalPath(resolved.worktree);
  const stands = await isThere(path);
  const keep = (reason: string): GcItem[] => (stands ? [{ kind: "worktree", what: path, ...owner, reason }] : []);
  const { activity } = ticket;
  const broken = view.broken.get(ticket.ticketId);
  if (broken !== undefined) return keep(`its ticket cannot be read: ${broken}`);
  if (activity.state !== "finished") return keep(`its ticket is ${ticket.status}`);
  if (!opened || !("repo" in opened)) return keep("its repository cannot be opened");
  const ageSeconds = secondsBetween(activity.at, search.now);
  const endedBadly = activity.outcome === "failed" || activity.outcome === "needs_attention";
  const wait = search.olderThan ?? (endedBadly ? search.config.keepRunsDays * 86_400 : 0);
  if (ageSeconds < wait) {
    return keep(
      endedBadly && search.olderThan === undefined ? `its ticket is ${ticket.status}: a person may want it` : "it is not old enough",
    );
  }
  const mergedInto = await targetsOf(opened, resolved.baseBranch);
  const remove = removalOf(search, opened.repo, { owner, path, branch: resolved.branch, mergedInto });
  const found: GcItem[] = [];
  const reason = `its ticket is ${ticket.status}`;
  if (stands) {
    const entry = opened.entries.find((each) => each.path === path);
    if (!(await isOurs(opened.repo, path))) return keep(`it is no worktree of ${opened.repo.path}`);
    if (entry?.locked != null && entry.locked !== "initializing")
      return keep(`it is locked${entry.locked === "" ? "" : `: ${entry.locked}`}`);
    const state = await stateOf(opened, entry, path, mergedInto);
    found.push({
      kind: "worktree",
      what: path,
      ...owner,
      reason: `${reason}${state.note}`,
      bytes: await treeSize(path),
      ageSeconds,
      ...(state.merged === undefined ? {} : { merged: state.merged }),
      remove: () => remove({ keepBranch: true }),
    });
  }
  found.push(...(await branchItems(opened, resolved, owner, { reason, ageSeconds, mergedInto, remove: () => remove({}) })));
  for (const left of [`${path}.before`, join(search.config.worktreeRoot, ".integration", `${owner.planId}-${owner.ticketId}`)]) {
    found.push(...(await leftoverItems(search, opened, left, owner)));
  }
  return found;
}

/** What a worktree holds that is not merged, in words. One that git cannot read is saved all the same before it goes. */
async function stateOf(
  { repo }: OpenedRepo,
  entry: WorktreeEntry | undefined,
  path: string,
  mergedInto: string[],
): Promise<{ merged?: boolean; note: string }> {
  if (!entry) return { note: "; its registration was lost" };
  try {
    const { head, changedFiles } = await worktreeState({ gitDir: entry.gitDir, commonDir: repo.commonDir, workTree: path });
    const changes = changedFiles.length === 0 ? "" : `; ${changedFiles.length} changed files are saved first`;
    return { merged: await isMerged(repo, head, mergedInto), note: changes };
  } catch (error) {
    return { note: `; git cannot read it: ${error instanceof Error ? error.message : String(error)}` };
  }
}

async function branchItems(
  { repo }: OpenedRepo,
  { branch }: Resolved,
  owner: { planId: string; ticketId: string },
  facts: { reason: string; ageSeconds: number; mergedInto: string[]; remove: () => Promise<string | undefined> },
): Promise<GcItem[]> {
  const tip = await commitOf(repo, `refs/heads/${branch}`);
  if (tip === null) return [];
  const { reason, ageSeconds, mergedInto, remove } = facts;
  const merged = await isMerged(repo, tip, mergedInto);
  const item: GcItem = { kind: "branch", what: `refs/heads/${branch}`, ...owner, reason, ageSeconds, merged };
  if (branch !== `orch/${owner.planId}/${owner.ticketId}`) return [{ ...item, reason: "its name was chosen by a person" }];
  if (!merged) return [{ ...item, reason: "it is not merged" }];
  return [{ ...item, remove }];
}

/** Worktrees that checks and merges throw away themselves, unless they are killed. */
async function leftoverItems(
  search: Search,
  { repo, entries }: OpenedRepo,
  place: string,
  owner: { planId: string; ticketId: string },
): Promise<GcItem[]> {
  const path = await canonicalPath(place);
  const entry = entries.find((each) => each.path === path);
  if (!entry || (await readMark(entry.gitDir)) !== integrationMark) return [];
  const remove = async () => {
    checkEnded(search.config, owner);
    await removeIntegrationWorktree({ repo, lockDir: lockDir(search.config.home), path });
    return undefined;
  };
  return [{ kind: "worktree", what: path, ...owner, reason: "a run of checks left it", bytes: await treeSize(path), remove }];
}

function removalOf(
  { config, now }: Search,
  repo: Repo,
  { owner, path, branch, mergedInto }: { owner: { planId: string; ticketId: string }; path: string; branch: string; mergedInto: string[] },
): (options: { keepBranch?: boolean }) => Promise<string | undefined> {
  return async (options) => {
    // With the lock of the path: whoever starts the ticket now waits for it, and makes the worktree anew.
    const check = () => checkEnded(config, owner);
    const removal = await removeWorktree({
      repo,
      lockDir: lockDir(config.home),
      path,
      branch,
      mergedInto,
      recovery: owner,
      now,
      check,
      ...options,
    });
    if (removal.keptAt !== null) return `holds repositories of its own and is kept at ${removal.keptAt}`;
    return removal.recovery === null ? undefined : `saved as ${removal.recovery}`;
  };
}

/** Throws when the ticket is not at its end any more: somebody had it go on meanwhile. */
function checkEnded({ stateDir }: Config, { planId, ticketId }: { planId: string; ticketId: string }): void {
  const { ticket, problem } = loadTicket({ stateDir, planId, ticketId }, Date.now(), true);
  if (problem === null && ticket?.activity.state === "finished") return;
  throw new UserError(`Ticket ${planId}/${ticketId} goes on.`, { exit: "conflict" });
}

async function openOnce(path: string, repos: Map<string, OpenedRepo | GcItem>): Promise<OpenedRepo | GcItem> {
  const known = repos.get(path);
  if (known) return known;
  const opened = await openRepo(path).then(
    async (repo): Promise<OpenedRepo> => ({ repo, entries: await listWorktrees(repo), mergedInto: new Map() }),
    (error: unknown): GcItem => ({ kind: "other", what: path, reason: error instanceof Error ? error.message : String(error) }),
  );
  repos.set(path, opened);
  return opened;
}

/** Where work has to be to count as merged. */
async function targetsOf({ repo, mergedInto }: OpenedRepo, baseBranch: string | null): Promise<string[]> {
  const known = mergedInto.get(baseBranch);
  if (known) return known;
  const base = await detectBase(repo, baseBranch ?? undefined).catch(() => undefined);
  const targets = base ? [base.ref, integrationRef(base)] : [];
  mergedInto.set(baseBranch, targets);
  return targets;
}

/** What stands beside the worktrees of tickets. */
async function itemsOfRoots(search: Search, places: readonly Place[]): Promise<GcItem[]> {
  const { config, world, planId } = search;
  const all = planId === undefined ? await worktreeRoots(world, config) : new Set(places.map(({ resolved }) => dirname(resolved.worktree)));
  const roots = new Set(await Promise.all([...all].map(canonicalPath)));
  const tickets = new Set(
    await Promise.all(places.flatMap(({ resolved }) => [canonicalPath(resolved.worktree), canonicalPath(`${resolved.worktree}.before`)])),
  );
  const items: GcItem[] = [];
  for (const root of roots) {
    const parked = await parkedIn(root);
    for (const each of parked) if (planId === undefined || each.planId === planId) items.push(await parkedItem(search, each));
    const trash = await trashIn(root);
    for (const path of trash) items.push(await trashItem(search, path));
    if (basename(root) === ".integration") continue;
    const ours = new Set([...tickets, ...trash, ...parked.map(({ path }) => path)]);
    for (const name of await readdir(root).catch(() => [])) {
      const path = join(root, name);
      if (ours.has(path) || planId !== undefined || roots.has(path)) continue;
      items.push({
        kind: "other",
        what: path,
        reason: /\.kept-/.test(name)
          ? "it holds repositories of its own: look, then remove it yourself"
          : "it is of no ticket that is known here",
      });
    }
  }
  return items;
}

async function parkedItem({ config, world }: Search, { path, planId }: { path: string; planId: string }): Promise<GcItem> {
  const item: GcItem = { kind: "parked", what: path, planId, reason: "", bytes: await treeSize(path) };
  if (mayRunOn(world, planId)) return { ...item, reason: "later tickets of its plan use it" };
  const remove = async () => {
    await dropParked(path, lockDir(config.home));
    return undefined;
  };
  return { ...item, reason: world.plans.has(planId) ? "its plan has ended" : "its plan is gone", remove };
}

async function trashItem({ now }: Search, path: string): Promise<GcItem> {
  const remove = async () => {
    await deleteTrash(path);
    return undefined;
  };
  return { kind: "trash", what: path, reason: "it was removed already", bytes: await treeSize(path), ...(await ageOf(path, now)), remove };
}

/** Runs and logs of a plan that has ended. */
async function itemsOfRuns(search: Search, planId: string): Promise<GcItem[]> {
  const { config, world, now } = search;
  const view = world.plans.get(planId);
  const runs = join(config.home, "run", planId);
  if (!view) return [];
  const logs = [...view.tickets.keys()].map((ticketId) => ticketLogFile(config.home, planId, ticketId));
  const isLogged = (await Promise.all(logs.map(isThere))).some((there) => there);
  if (!(await isThere(runs)) && !isLogged) return [];
  if (mayRunOn(world, planId)) return [{ kind: "runs", what: runs, planId, reason: "its plan has not ended" }];
  const endedAt =
    [...view.tickets.values()]
      .map(({ activity }) => (activity.state === "finished" ? activity.at : now))
      .sort()
      .at(-1) ?? now;
  const ageSeconds = secondsBetween(endedAt, now);
  if (ageSeconds < (search.olderThan ?? config.keepRunsDays * 86_400)) {
    return [{ kind: "runs", what: runs, planId, reason: "it is not old enough", ageSeconds, bytes: await treeSize(runs) }];
  }
  const items: GcItem[] = [];
  for (const ticketId of await readdir(runs).catch(() => [])) {
    const folder = join(runs, ticketId);
    const known = await readdir(folder).catch(() => []);
    const remove = async () => {
      checkEnded(config, { planId, ticketId });
      // Runs that begin from now on have other names.
      for (const run of known) await deleteTrash(await moveToTrash(join(folder, run), join(folder, run), now));
      await removeEmpty(folder);
      await removeEmpty(runs);
      return undefined;
    };
    items.push({
      kind: "runs",
      what: folder,
      planId,
      ticketId,
      reason: "its plan has ended",
      bytes: await treeSize(folder),
      ageSeconds,
      remove,
    });
  }
  for (const [i, ticketId] of [...view.tickets.keys()].entries()) {
    const file = logs[i] ?? "";
    if (!(await isThere(file))) continue;
    const remove = async () => {
      checkEnded(config, { planId, ticketId });
      await unlink(file);
      await removeEmpty(dirname(file));
      return undefined;
    };
    items.push({
      kind: "log",
      what: file,
      planId,
      ticketId,
      reason: "its plan has ended",
      bytes: await treeSize(file),
      ageSeconds,
      remove,
    });
  }
  return items;
}

/** States of people's own checkouts, kept for the case that an agent changed them; the newest of each always stays. */
async function checkoutItems({ config, now, olderThan }: Search): Promise<GcItem[]> {
  const items: GcItem[] = [];
  for (const store of await knownStores(config.home, lockDir(config.home))) {
    const isOld = ({ state }: SavedCheckout) => secondsBetween(state.at, now) >= (olderThan ?? config.keepRunsDays * 86_400);
    const states = await savedStates(store);
    const count = states.slice(0, -1).filter(isOld).length;
    const what = store.checkout.workTree;
    if (count === 0) {
      if (states.length > 0)
        items.push({ kind: "checkout", what, reason: `${states.length} states of this checkout are not old enough, or the newest` });
      continue;
    }
    const remove = () =>
      withStore(store, async () => {
        const newest = await lastSaved(store);
        for (const saved of (await savedStates(store)).slice(0, -1).filter(isOld)) {
          if (saved.sha === newest?.sha) continue;
          if ((await commitOf(shared(store.checkout), saved.ref)) === saved.sha)
            await deleteSaved(shared(store.checkout), saved.ref, saved.sha);
          await forgetSaved(store, saved);
        }
        return undefined;
      });
    const ageSeconds = secondsBetween(states[0]?.state.at ?? now, now);
    items.push({ kind: "checkout", what, reason: `${count} of ${states.length} states of this checkout are old`, ageSeconds, remove });
  }
  return items;
}

/** What was saved before something was removed: it goes when a person says so, and stays else. */
async function savedItems(search: Search, opened: OpenedRepo): Promise<GcItem[]> {
  const { world, config, now, planId } = search;
  const items: GcItem[] = [];
  for (const { ref, sha, at, ...owner } of await listRecovery(opened.repo, planId)) {
    if (owner.planId === checkoutPlan) continue;
    const view = world.plans.get(owner.planId);
    const ticket = view?.tickets.get(owner.ticketId);
    const ageSeconds = secondsBetween(at, now);
    const item: GcItem = { kind: "saved", what: ref, ...owner, reason: "only --saved and --saved-older-than remove it", ageSeconds };
    if (!search.saved && search.savedOlderThan === undefined) {
      items.push(item);
      continue;
    }
    const merged = await isMerged(opened.repo, sha, await targetsOf(opened, view?.plan.baseBranch ?? null));
    const isOld = search.savedOlderThan !== undefined && ageSeconds >= search.savedOlderThan;
    const reason =
      search.saved && merged
        ? "what it holds is merged"
        : isOld
          ? "it is old enough"
          : merged
            ? "it is not old enough"
            : "what it holds is not merged";
    const isBroken = view?.broken.has(owner.ticketId) || world.brokenPlans.has(owner.planId);
    const isLive = isBroken || (ticket !== undefined && ticket.activity.state !== "finished");
    const remove = async () => {
      if (ticket) checkEnded(config, owner);
      await deleteSaved(opened.repo, ref, sha);
      return undefined;
    };
    const goes = !isLive && ((search.saved && merged) || isOld);
    items.push({ ...item, merged, reason: isLive ? "its ticket has not ended" : reason, ...(goes ? { remove } : {}) });
  }
  return items;
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function ageOf(path: string, now: Instant): Promise<{ ageSeconds?: number }> {
  const info = await stat(path).catch(() => undefined);
  return info ? { ageSeconds: Math.max(0, (epochMs(now) - info.ctimeMs) / 1000) } : {};
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST" && error.code !== "ENOENT") throw error;
  });
}
