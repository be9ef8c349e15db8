import { randomUUID } from "node:crypto";
import { open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { lensOf } from "./checkout-state.ts";
import type { CheckoutState, CheckoutStore, KeptFile } from "./checkout-store.ts";
import { type GitDir, GitError, gitFields } from "./git.ts";
import { isAncestor } from "./refs.ts";

/** One thing that is not as it was, in words for people. */
export interface Difference {
  kind: "head" | "index" | "files" | "stash" | "branches" | "configuration" | "hooks" | "operation";
  text: string;
}

const shownPaths = 10;
const shownReflog = 5;

/**
 * What differs between two states of a checkout. Branches that `isOwn` names, and stash entries made on them, do not count; nor
 * does a branch that moved forward to what was merged for it.
 */
export async function differences(
  store: CheckoutStore,
  before: CheckoutState,
  after: CheckoutState,
  isOwn: (ref: string) => boolean,
): Promise<Difference[]> {
  const found: Difference[] = [];
  const add = (kind: Difference["kind"], text: string | undefined) => {
    if (text !== undefined) found.push({ kind, text });
  };
  add("head", await headText(store, before, after));
  for (const text of await branchTexts(store, before, after, isOwn)) add("branches", text);
  add("index", await indexText(store, before, after));
  add("files", await filesText(store, before, after));
  add("stash", stashText(before, after, isOwn));
  add("configuration", await configurationText(store, before, after, isOwn));
  const isHook = (key: string) => key.startsWith("common/hooks/") || key.startsWith("tree/");
  add("hooks", gitFilesText("hooks", before, after, isHook));
  add(
    "configuration",
    gitFilesText("git files", before, after, (key) => key.startsWith("common/info/")),
  );
  const isOperation = (key: string) => key.startsWith("own/") && key !== "own/ORIG_HEAD" && key !== "own/config.worktree";
  add("operation", gitFilesText("operation under way", before, after, isOperation));
  return found;
}

/** The paths that differ between two trees of a checkout's repository. */
export async function changedBetween(
  store: CheckoutStore,
  from: string,
  to: string,
): Promise<{ status: string; mode: string; sha: string; path: string }[]> {
  if (from === to) return [];
  const { tree, env } = lensOf(store);
  const fields = await gitFields({ ...tree, workTree: null }, ["diff-tree", "-r", "-z", "--no-renames", from, to], { env });
  const changed: { status: string; mode: string; sha: string; path: string }[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [, mode = "", , sha = "", status = ""] = (fields[i] ?? "").split(" ");
    changed.push({ status, mode, sha, path: fields[i + 1] ?? "" });
  }
  return changed;
}

async function headText(store: CheckoutStore, before: CheckoutState, after: CheckoutState): Promise<string | undefined> {
  const [from, to] = [before.refs, after.refs];
  if (!from || !to || (from.branch === to.branch && from.head === to.head)) return undefined;
  const said = await reflogSince(store, before.headLogBytes);
  const why = said.length === 0 ? "" : ` (reflog: ${said.join("; ")})`;
  return `HEAD moved from ${headName(from)} to ${headName(to)}${why}`;
}

function headName({ branch, head }: { branch: string | null; head: string | null }): string {
  return `${branch?.replace("refs/heads/", "") ?? "detached"}@${head?.slice(0, 12) ?? "no commit"}`;
}

/** What HEAD's reflog says since it was this long, the last few lines of it. */
async function reflogSince({ checkout }: CheckoutStore, bytes: number): Promise<string[]> {
  const file = await open(join(checkout.gitDir, "logs", "HEAD")).catch(() => undefined);
  if (!file) return [];
  try {
    const { size } = await file.stat();
    const length = Math.max(0, Math.min(size - bytes, 64 * 1024));
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const lines = buffer
      .toString()
      .split("\n")
      .filter((line) => line.includes("\t"));
    return lines.slice(-shownReflog).map((line) => line.slice(line.indexOf("\t") + 1).slice(0, 120));
  } finally {
    await file.close();
  }
}

async function branchTexts(
  store: CheckoutStore,
  before: CheckoutState,
  after: CheckoutState,
  isOwn: (ref: string) => boolean,
): Promise<string[]> {
  if (!before.refs || !after.refs) return [];
  const texts: string[] = [];
  for (const ref of await movedBranches(store, before, after, isOwn)) {
    // HEAD says so already.
    if (ref === before.refs.branch && ref === after.refs.branch) continue;
    const [from = "", to] = [before.refs.branches[ref], after.refs.branches[ref]];
    const name = ref.replace("refs/heads/", "");
    texts.push(
      to === undefined
        ? `branch ${name} is gone (it was at ${from.slice(0, 12)})`
        : `branch ${name} moved from ${from.slice(0, 12)} to ${to.slice(0, 12)}`,
    );
  }
  return texts.slice(0, shownPaths);
}

/** Branches that stood before and stand elsewhere now, or nowhere. A new branch harms nobody. */
export async function movedBranches(
  { checkout }: CheckoutStore,
  before: CheckoutState,
  after: CheckoutState,
  isOwn: (ref: string) => boolean,
): Promise<string[]> {
  const moved: string[] = [];
  const repo: GitDir = { gitDir: checkout.commonDir, commonDir: checkout.commonDir };
  for (const [ref, from] of Object.entries(before.refs?.branches ?? {})) {
    const to = after.refs?.branches[ref];
    if (from === to || isOwn(ref)) continue;
    // The base branch follows what was merged for it, where nobody has it checked out.
    const merged = `refs/heads/orchestrator/${ref.slice("refs/heads/".length)}`;
    const follows =
      ref !== before.refs?.branch && to !== undefined && (await isForward(repo, from, to)) && (await isForward(repo, to, merged));
    if (!follows) moved.push(ref);
  }
  return moved;
}

async function isForward(repo: GitDir, from: string, to: string): Promise<boolean> {
  return isAncestor(repo, from, to).catch(() => false);
}

async function indexText(store: CheckoutStore, before: CheckoutState, after: CheckoutState): Promise<string | undefined> {
  const [from, to] = [before.index, after.index];
  if (from === null || to === null) return from === to ? undefined : `the index ${to === null ? "is gone" : "is new"}`;
  if (from.tree === to.tree && from.entries === to.entries && from.unmerged === to.unmerged) return undefined;
  const paths = (await changedBetween(store, from.tree, to.tree)).map(({ path }) => path);
  return paths.length === 0
    ? "index: flags or unmerged entries differ"
    : `index: ${counted(paths.length, "entry differs", "entries differ")}: ${listed(paths)}`;
}

async function filesText(store: CheckoutStore, before: CheckoutState, after: CheckoutState): Promise<string | undefined> {
  const changed = (await changedBetween(store, before.files, after.files)).filter(
    ({ path }) => !(path in before.large) && !(path in after.large),
  );
  const gone = new Set(changed.filter(({ status }) => status === "D").map(({ path }) => path));
  const fresh = new Set(changed.filter(({ status }) => status === "A").map(({ path }) => path));
  const paths = {
    changed: changed.filter(({ path }) => !gone.has(path) && !fresh.has(path)).map(({ path }) => path),
    deleted: [...gone],
    new: [...fresh],
  };
  for (const path of new Set([...Object.keys(before.large), ...Object.keys(after.large)])) {
    if (before.large[path] === after.large[path]) continue;
    paths[before.large[path] === undefined ? "new" : after.large[path] === undefined ? "deleted" : "changed"].push(path);
  }
  const parts = Object.entries(paths).flatMap(([what, names]) =>
    names.length === 0 ? [] : [`${names.length} ${what} (${listed(names)})`],
  );
  return parts.length === 0 ? undefined : `files: ${parts.join(", ")}`;
}

function stashText(before: CheckoutState, after: CheckoutState, isOwn: (ref: string) => boolean): string | undefined {
  if (!before.refs || !after.refs) return undefined;
  const entries = (state: CheckoutState) => (state.refs?.stash ?? []).filter(({ message }) => !isOwn(`refs/heads/${stashedOn(message)}`));
  const [from, to] = [entries(before), entries(after)];
  if (from.map(({ sha }) => sha).join() === to.map(({ sha }) => sha).join()) return undefined;
  const missing = from.filter(({ sha }) => !to.some((each) => each.sha === sha));
  const added = to.filter(({ sha }) => !from.some((each) => each.sha === sha));
  const parts = [
    missing.length === 0
      ? ""
      : `${counted(missing.length, "entry is", "entries are")} gone (${listed(missing.map(({ message }) => message))})`,
    added.length === 0 ? "" : `${counted(added.length, "entry is", "entries are")} new (${listed(added.map(({ message }) => message))})`,
  ].filter((part) => part !== "");
  return `stash: ${parts.length === 0 ? "its order differs" : parts.join(", ")}`;
}

/** The branch on which an entry was made, as git words it: "WIP on main: …", "On main: …". */
function stashedOn(message: string): string {
  return /^(?:WIP on|On) (.+?): /.exec(message)?.[1] ?? "";
}

async function configurationText(
  store: CheckoutStore,
  before: CheckoutState,
  after: CheckoutState,
  isOwn: (ref: string) => boolean,
): Promise<string | undefined> {
  const keys: string[] = [];
  for (const file of ["common/config", "own/config.worktree"]) {
    const [from, to] = [before.gitFiles[file], after.gitFiles[file]];
    if (from?.digest === to?.digest) continue;
    const [old, now] = [await settingsOf(store, from), await settingsOf(store, to)];
    if (now === null) return `configuration: git cannot read ${file.slice(file.indexOf("/") + 1)} any more`;
    const isOurs = (key: string) => {
      const branch = /^branch\.(.+)\.[^.]+$/.exec(key)?.[1];
      // What git notes of a branch that was not there before, or is ours, is no setting of the user.
      return branch !== undefined && (isOwn(`refs/heads/${branch}`) || before.refs?.branches[`refs/heads/${branch}`] === undefined);
    };
    for (const key of new Set([...(old?.keys() ?? []), ...now.keys()])) {
      if (old?.get(key) !== now.get(key) && !isOurs(key)) keys.push(key);
    }
  }
  return keys.length === 0 ? undefined : `configuration: ${counted(keys.length, "setting differs", "settings differ")}: ${listed(keys)}`;
}

/** Key → values of a configuration file; null when git cannot read it. */
async function settingsOf(store: CheckoutStore, file: KeptFile | undefined): Promise<Map<string, string> | null> {
  const settings = new Map<string, string>();
  if (file?.content === undefined || file.content === null) return settings;
  const { tree, dir, env } = lensOf(store);
  const copy = join(dir, `config-${randomUUID()}`);
  try {
    await writeFile(copy, Buffer.from(file.content, "base64"), { mode: 0o600 });
    for (const field of await gitFields({ ...tree, workTree: null }, ["config", "--file", copy, "--no-includes", "-z", "--list"], {
      env,
    })) {
      const end = field.indexOf("\n");
      const key = end < 0 ? field : field.slice(0, end);
      settings.set(key, `${settings.get(key) ?? ""}\n${end < 0 ? "" : field.slice(end)}`);
    }
    return settings;
  } catch (error) {
    if (error instanceof GitError) return null;
    throw error;
  } finally {
    await rm(copy, { force: true });
  }
}

function gitFilesText(what: string, before: CheckoutState, after: CheckoutState, isMeant: (key: string) => boolean): string | undefined {
  const parts: string[] = [];
  const name = (key: string) => key.replace(/^(common\/hooks|common|own|tree)\//, "");
  for (const key of [...new Set([...Object.keys(before.gitFiles), ...Object.keys(after.gitFiles)])].filter(isMeant).sort()) {
    const [from, to] = [before.gitFiles[key], after.gitFiles[key]];
    if (from === undefined) parts.push(`${name(key)} is new`);
    else if (to === undefined) parts.push(`${name(key)} is gone`);
    else if (from.digest !== to.digest) parts.push(`${name(key)} has changed`);
    else if (from.mode !== to.mode) parts.push(`${name(key)} has other permissions`);
  }
  return parts.length === 0 ? undefined : `${what}: ${listed(parts)}`;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

function listed(names: readonly string[]): string {
  const more = names.length - shownPaths;
  return `${names.slice(0, shownPaths).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
