import { createHash } from "node:crypto";
import { lstat, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Instant } from "../domain/time.ts";
import type { Repo } from "./git.ts";
import type { Tree } from "./recovery.ts";
import { withLock } from "./repo-lock.ts";
import { listWorktrees } from "./worktree-list.ts";
import { readMark } from "./worktree-place.ts";

/** A work tree that is not ours: the main one of a repository, or one that a person linked to it. */
export interface Checkout extends Tree {
  /** "main", or the name under which git has the linked worktree. */
  name: string;
  /** Whether it answers for what all worktrees share: branches, stash, configuration and hooks. */
  shared: boolean;
}

/** A file of a git folder or a hook. */
export interface KeptFile {
  mode: number;
  /** Base64; null when the file is too large to be kept, and then `digest` alone tells a change. */
  content: string | null;
  digest: string;
}

/** What a checkout held at one moment. Trees and blobs lie in its repository's object database. */
export interface CheckoutState {
  schema: 1;
  at: Instant;
  /** Null where git could not be asked, because the repository's configuration was broken. */
  refs: {
    /** Full ref that HEAD names; null when it is detached. */
    branch: string | null;
    head: string | null;
    /** Every local branch but ours, and its commit. */
    branches: Record<string, string>;
    /** Newest first. */
    stash: { sha: string; message: string }[];
    /** The reflog of the stash as it stands in its file. */
    stashLog: string | null;
  } | null;
  /** Length of HEAD's reflog. */
  headLogBytes: number;
  index: {
    /** The entries as trees: the merged ones, and the objects of unmerged ones. */
    tree: string;
    unmerged: string | null;
    /** Digest of all entries with their flags. */
    entries: string;
    /** Digest of the file, and the blob that holds a file with the same entries. */
    file: string;
    blob: string;
    mode: number;
  } | null;
  /** Every file, tracked or not, but for ignored ones, byte for byte. */
  files: string;
  /** Files that are too large to be kept: path → size and time of their last change. */
  large: Record<string, string>;
  /** What lies in git folders and hook folders. Keys: see gitFilePath(). */
  gitFiles: Record<string, KeptFile>;
}

/** A state that a recovery ref keeps. */
export interface SavedCheckout {
  ref: string;
  sha: string;
  state: CheckoutState;
}

/** A change that a command of ours made at the person's request, such as `land`. */
export interface OwnChange {
  by: string;
  before: CheckoutState;
  after: CheckoutState;
}

/** What the program remembers of one checkout, in a folder of its home. */
export interface CheckoutStore {
  dir: string;
  lockDir: string;
  checkout: Checkout;
}

const ownChangesKept = 20;

/** The store of a checkout. */
export function checkoutStore(home: string, lockDir: string, checkout: Checkout): CheckoutStore {
  const key = createHash("sha256").update(checkout.gitDir).digest("hex").slice(0, 16);
  return { dir: join(home, "checkouts", key), lockDir, checkout };
}

/** The stores that a home has; none is made. They need no working git, so that a broken configuration can be mended. */
export async function knownStores(home: string, lockDir: string): Promise<CheckoutStore[]> {
  const stores: CheckoutStore[] = [];
  for (const name of await readdir(join(home, "checkouts")).catch(() => [])) {
    const dir = join(home, "checkouts", name);
    const checkout = await readJson<Checkout>(join(dir, "checkout.json"));
    if (checkout) stores.push({ dir, lockDir, checkout });
  }
  return stores;
}

/** Runs `work` while nobody else of ours looks at the checkout or writes to it. Not reentrant. */
export async function withStore<T>(store: CheckoutStore, work: () => Promise<T>): Promise<T> {
  return withLock(store.lockDir, `${store.checkout.gitDir}:checkout`, async () => {
    await mkdir(join(store.dir, "states"), { recursive: true, mode: 0o700 });
    await writeJson(join(store.dir, "checkout.json"), store.checkout);
    return work();
  });
}

/** The checkouts of a repository: its main work tree, and linked ones that `isOurs` does not claim. */
export async function checkoutsOf(repo: Repo, isOurs: (path: string) => boolean): Promise<Checkout[]> {
  const found: Checkout[] = [];
  for (const [i, entry] of (await listWorktrees(repo)).entries()) {
    const isMain = i === 0;
    const path = isMain && repo.gitDir === repo.commonDir ? repo.workTree : entry.path;
    // A bare repository has no work tree, and a registration may have lost its folder.
    const exists = path !== null && (await lstat(join(path, ".git")).catch(() => undefined)) !== undefined;
    if (
      path === null ||
      !exists ||
      entry.gitDir === "" ||
      (!isMain && (isOurs(entry.path) || (await readMark(entry.gitDir)) !== undefined))
    )
      continue;
    // It becomes part of a ref.
    const name = isMain ? "main" : basename(entry.gitDir).replaceAll(/[^\w-]/g, "_");
    found.push({ name, shared: found.length === 0, workTree: path, gitDir: entry.gitDir, commonDir: repo.commonDir });
  }
  return found;
}

/** Branches that worktrees of ours say are theirs. */
export async function markedBranches(commonDir: string): Promise<Set<string>> {
  const root = join(commonDir, "worktrees");
  const names = await readdir(root).catch(() => []);
  const marks = await Promise.all(names.map((name) => readMark(join(root, name))));
  return new Set(marks.filter((mark) => mark !== undefined).map((mark) => `refs/heads/${mark}`));
}

/** The newest saved state; undefined when there is none. */
export async function lastSaved(store: CheckoutStore): Promise<SavedCheckout | undefined> {
  const last = await readJson<{ sha: string }>(join(store.dir, "last.json"));
  return last && savedState(store, last.sha);
}

/** The state saved under this commit; undefined when this home did not save it. */
export async function savedState(store: CheckoutStore, sha: string): Promise<SavedCheckout | undefined> {
  return readJson<SavedCheckout>(join(store.dir, "states", `${sha}.json`));
}

/** All saved states, oldest first. */
export async function savedStates(store: CheckoutStore): Promise<SavedCheckout[]> {
  const names = (await readdir(join(store.dir, "states")).catch(() => [])).filter((name) => /^[0-9a-f]+\.json$/.test(name));
  const states = await Promise.all(names.map((name) => readJson<SavedCheckout>(join(store.dir, "states", name))));
  return states.filter((each) => each !== undefined).sort((a, b) => a.state.at.localeCompare(b.state.at));
}

/** Forgets a saved state whose ref is gone. */
export async function forgetSaved(store: CheckoutStore, { sha }: SavedCheckout): Promise<void> {
  await rm(join(store.dir, "states", `${sha}.json`), { force: true });
}

/** Remembers a saved state, as the newest one. */
export async function rememberSaved(store: CheckoutStore, saved: SavedCheckout): Promise<void> {
  await writeJson(join(store.dir, "states", `${saved.sha}.json`), saved);
  await writeJson(join(store.dir, "last.json"), { sha: saved.sha });
}

/** What commands of ours changed since `at`, oldest first. */
export async function ownChangesSince(store: CheckoutStore, at: Instant): Promise<OwnChange[]> {
  const changes = (await readJson<OwnChange[]>(join(store.dir, "own-changes.json"))) ?? [];
  return changes.filter((change) => change.before.at >= at);
}

/** Remembers a change that a command of ours made. */
export async function rememberOwnChange(store: CheckoutStore, change: OwnChange): Promise<void> {
  const file = join(store.dir, "own-changes.json");
  const changes = (await readJson<OwnChange[]>(file)) ?? [];
  await writeJson(file, [...changes, change].slice(-ownChangesKept));
}

/** A JSON file of a store; undefined when there is none. Throws when it is unreadable. */
export async function readJson<T>(file: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return JSON.parse(text) as T;
}

/** Writes a JSON file of a store whole or not at all; only its owner may read it. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value)}\n`;
  if ((await readFile(file, "utf8").catch(() => "")) === text) return;
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}
