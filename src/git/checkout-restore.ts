import { randomUUID } from "node:crypto";
import { chmod, copyFile, lstat, mkdir, open, rename, rm, rmdir, symlink, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "../domain/errors.ts";
import type { Instant } from "../domain/time.ts";
import { changedBetween, type Difference, differences, movedBranches } from "./checkout-diff.ts";
import { gitFilePath, lensOf, readCheckout, readGitFiles, readSettings, sameState, saveState, shared } from "./checkout-state.ts";
import {
  type CheckoutState,
  type CheckoutStore,
  type KeptFile,
  knownStores,
  rememberOwnChange,
  type SavedCheckout,
  withStore,
} from "./checkout-store.ts";
import { git, gitFields, gitText, type Repo } from "./git.ts";
import { isNamedByUs } from "./refs.ts";

/**
 * Brings a checkout back to a saved state: configuration and hooks, files, branches, HEAD, stash and index. The only code but
 * `land` that writes to a person's checkout, and only at the person's own command. What is there now is saved first; `saved`
 * names that ref. `left` says what could not be brought back.
 * Throws UserError while git works in the checkout.
 */
export async function restoreCheckout(
  store: CheckoutStore,
  target: SavedCheckout,
  options: { now: () => Instant; isOwn: (ref: string) => boolean },
): Promise<{ saved: SavedCheckout; left: Difference[] }> {
  const { checkout } = store;
  return withStore(store, async () => {
    const release = await holdIndex(store);
    try {
      const present = await readGitFiles(checkout, await readSettings(store));
      // First: git answers nothing where the configuration is broken.
      await restoreGitFiles(store, present, target.state.gitFiles, (key) => /^(common\/(config|info\/)|own\/config)/.test(key));
      const before = await stateToSave(store, target.state, present, options);
      const saved = await saveState(store, before);
      await restoreFiles(store, before, target.state);
      await restoreRefs(store, before, target.state, options.isOwn);
      const now = await readGitFiles(checkout, await readSettings(store));
      await restoreGitFiles(store, now, target.state.gitFiles, () => true);
      await release(target.state.index);
      await restoreFiltered(store, before, target.state);
      const after = await readCheckout(store, { now: options.now(), isOwn: options.isOwn });
      await rememberOwnChange(store, { by: "restore", before, after });
      return { saved, left: await differences(store, target.state, after, options.isOwn) };
    } finally {
      await release();
    }
  });
}

/**
 * Does `work`, which writes to a checkout at the person's request, and remembers what it changed, so that no run is blamed for
 * it. A checkout that was never watched is not looked at; that one cannot be read does not keep `work` from being done.
 */
export async function asOwnChange<T>(home: string, lockDir: string, repo: Repo, by: string, work: () => Promise<T>): Promise<T> {
  const watched = (await knownStores(home, lockDir)).filter(({ checkout }) => checkout.commonDir === repo.commonDir);
  return watched.reduce<() => Promise<T>>((inner, store) => () => noted(store, by, inner), work)();
}

async function noted<T>(store: CheckoutStore, by: string, work: () => Promise<T>): Promise<T> {
  const look = () => readCheckout(store, { now: new Date().toISOString(), isOwn: isNamedByUs }).catch(() => undefined);
  return withStore(store, async () => {
    const before = await look();
    const result = await work();
    const after = before && (await look());
    if (before && after && !sameState(before, after)) await rememberOwnChange(store, { by, before, after });
    return result;
  });
}

/**
 * Keeps git out of the index, as git itself does. The function it returns writes the index (null removes it) and
 * lets go of it, or without an argument just lets go; once it has let go it does nothing.
 */
async function holdIndex(store: CheckoutStore): Promise<(content?: CheckoutState["index"]) => Promise<void>> {
  const { gitDir, workTree } = store.checkout;
  const [index, lock] = [join(gitDir, "index"), join(gitDir, "index.lock")];
  const file = await open(lock, "wx").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
    throw new UserError(`git is at work in ${workTree}: ${lock} exists.`, {
      hint: `let it end; if no git runs there, remove the file, then try again`,
      exit: "conflict",
    });
  });
  await file.close();
  let held = true;
  return async (content) => {
    if (!held) return;
    held = false;
    if (content === undefined) return rm(lock, { force: true });
    if (content === null) {
      await rm(index, { force: true });
      return rm(lock, { force: true });
    }
    await writeBlob(store, content.blob, lock);
    await chmod(lock, content.mode & 0o777);
    await rename(lock, index);
  };
}

/** The bytes of a blob as a file. */
async function writeBlob(store: CheckoutStore, blob: string, path: string): Promise<void> {
  const { tree, env, dir } = lensOf(store);
  // It makes a file of bytes in the folder that git is started in, where everything else of ours would read text.
  const made = join(dir, await gitText({ ...tree, workTree: null }, ["unpack-file", blob], { env }));
  await copyFile(made, path);
  await rm(made, { force: true });
}

/** What is there now, with files that the saved state has and that are ignored now: they would be overwritten. */
async function stateToSave(
  store: CheckoutStore,
  target: CheckoutState,
  gitFiles: Record<string, KeptFile>,
  options: { now: () => Instant; isOwn: (ref: string) => boolean },
): Promise<CheckoutState> {
  const seen = await readCheckout(store, { now: options.now(), isOwn: options.isOwn });
  const fresh = (await changedBetween(store, seen.files, target.files)).filter(({ status }) => status === "A").map(({ path }) => path);
  const extra: string[] = [];
  for (const path of fresh) if (await exists(join(store.checkout.workTree, path))) extra.push(path);
  const state = extra.length === 0 ? seen : await readCheckout(store, { now: options.now(), isOwn: options.isOwn, extra });
  return { ...state, gitFiles };
}

async function restoreFiles(store: CheckoutStore, from: CheckoutState, to: CheckoutState): Promise<void> {
  const { workTree } = store.checkout;
  const changed = await changedBetween(store, from.files, to.files);
  for (const { path, status } of changed) if (status === "D" || status === "T") await removeFile(workTree, path);
  const wanted = changed.filter(({ status }) => status !== "D").map(({ path }) => path);
  if (wanted.length === 0) return;
  const { tree, dir } = lensOf(store);
  const index = join(dir, `restore-${randomUUID()}`);
  const env = { ...lensOf(store).env, GIT_INDEX_FILE: index };
  try {
    await git({ ...tree, workTree: null }, ["read-tree", to.files], { env });
    await git(tree, ["checkout-index", "--force", "-z", "--stdin"], { env, input: wanted.map((path) => `${path}\0`).join("") });
  } finally {
    await rm(index, { force: true });
  }
}

/** Files of a filter (LFS) that were unchanged are kept as the blob of their commit: the filter itself has to make them again. */
async function restoreFiltered(store: CheckoutStore, from: CheckoutState, to: CheckoutState): Promise<void> {
  const { checkout } = store;
  const changed = (await changedBetween(store, from.files, to.files)).filter(({ status }) => status !== "D");
  if (changed.length === 0 || to.index === null) return;
  const staged = new Map((await changedBetween(store, await emptyTree(store), to.index.tree)).map(({ path, sha }) => [path, sha]));
  const unchanged = changed.filter(({ path, sha }) => staged.get(path) === sha).map(({ path }) => path);
  if (unchanged.length === 0) return;
  const input = unchanged.map((path) => `${path}\0`).join("");
  const fields = await gitFields(checkout, ["check-attr", "-z", "--stdin", "filter"], { input });
  const filtered = unchanged.filter((_, i) => !["unspecified", "unset"].includes(fields[3 * i + 2] ?? "unspecified"));
  if (filtered.length === 0) return;
  const paths = filtered.map((path) => `${path}\0`).join("");
  await git(checkout, ["checkout-index", "--force", "-z", "--stdin"], { input: paths, env: { GIT_LFS_SKIP_SMUDGE: "0" } });
}

function emptyTree(store: CheckoutStore): Promise<string> {
  const { tree, env } = lensOf(store);
  return gitText({ ...tree, workTree: null }, ["mktree"], { env, input: "" });
}

async function restoreRefs(store: CheckoutStore, from: CheckoutState, to: CheckoutState, isOwn: (ref: string) => boolean): Promise<void> {
  const { checkout } = store;
  const repo = shared(checkout);
  if (!to.refs) return;
  const why = ["-m", "orchestrator: restore"];
  if (checkout.shared) {
    for (const ref of await movedBranches(store, to, from, isOwn)) {
      const sha = to.refs.branches[ref];
      if (sha) await git(repo, ["update-ref", ...why, ref, sha]);
    }
    const top = to.refs.stash[0]?.sha;
    if (JSON.stringify(from.refs?.stash) !== JSON.stringify(to.refs.stash)) {
      if (top === undefined) await git(repo, ["update-ref", "-d", "refs/stash"]);
      else {
        await git(repo, ["update-ref", "--create-reflog", ...why, "refs/stash", top]);
        if (to.refs.stashLog !== null) await writeFile(join(checkout.commonDir, "logs", "refs", "stash"), to.refs.stashLog);
      }
    }
  }
  if (from.refs?.branch === to.refs.branch && from.refs?.head === to.refs.head) return;
  if (to.refs.branch !== null) await git(checkout, ["symbolic-ref", ...why, "HEAD", to.refs.branch]);
  else if (to.refs.head !== null) await git(checkout, ["update-ref", "--no-deref", ...why, "HEAD", to.refs.head]);
}

async function restoreGitFiles(
  { checkout }: CheckoutStore,
  from: Record<string, KeptFile>,
  to: Record<string, KeptFile>,
  isMeant: (key: string) => boolean,
): Promise<void> {
  for (const key of Object.keys(from).filter((each) => isMeant(each) && to[each] === undefined)) {
    await unlink(gitFilePath(checkout, key));
    // The folder of an operation that was not under way before.
    if (/^own\/.+\//.test(key)) await rmdir(dirname(gitFilePath(checkout, key))).catch(() => undefined);
  }
  for (const [key, file] of Object.entries(to)) {
    if (!isMeant(key) || file.content === null || (from[key]?.digest === file.digest && from[key]?.mode === file.mode)) continue;
    await writeKept(gitFilePath(checkout, key), file, Buffer.from(file.content, "base64"));
  }
}

async function writeKept(path: string, file: KeptFile, content: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID().slice(0, 8)}`;
  if ((file.mode & 0o170000) === 0o120000) await symlink(content.toString(), temporary);
  else {
    await writeFile(temporary, content, { flag: "wx" });
    await chmod(temporary, file.mode & 0o7777);
  }
  await rename(temporary, path);
}

/** Removes a file and the folders that are empty without it. */
async function removeFile(root: string, path: string): Promise<void> {
  await unlink(join(root, path)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" && error.code !== "ENOTDIR") throw error;
  });
  for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) {
    try {
      await rmdir(join(root, folder));
    } catch {
      return;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
