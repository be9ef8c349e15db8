import { createHash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import {
  access,
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import type { Instant } from "../domain/time.ts";
import {
  type Checkout,
  type CheckoutState,
  type CheckoutStore,
  type KeptFile,
  lastSaved,
  readJson,
  rememberSaved,
  type SavedCheckout,
  writeJson,
} from "./checkout-store.ts";
import { commitOf, type GitDir, GitError, git, gitFields, gitText } from "./git.ts";
import { ownIdentity } from "./identity.ts";
import { saveCommit, type Tree } from "./recovery.ts";

/** Larger files are watched but not kept: a copy of a data set in the object database helps nobody. */
const largestFile = 64 * 1024 * 1024;
const largestGitFile = 1024 * 1024;
const mostGitFiles = 2000;

/**
 * Our own git folder beside the user's: with an index that is kept between looks, so that only what changed is read, and with
 * none of the repository's configuration, so that nothing it names (filters, hooks, file system monitors) can run. It
 * shares the object database.
 */
interface Lens {
  tree: Tree;
  dir: string;
  env: Record<string, string>;
  isNew: boolean;
  /** The rules of what is ignored are not those of the last look. */
  rulesChanged: boolean;
}

interface Settings {
  config: Record<string, string>;
}

/**
 * What a checkout holds now. Nothing is written to it, and no program that its repository names is run. To be called under
 * withStore(). `isOwn` tells branches that are ours; `extra` names files to be looked at even though they are ignored.
 * Throws GitError or a system error when it cannot be read.
 */
export async function readCheckout(
  store: CheckoutStore,
  options: { now: Instant; isOwn: (ref: string) => boolean; extra?: string[] },
): Promise<CheckoutState> {
  const { checkout } = store;
  const last = await lastSaved(store);
  // One after the other where the settings and the kept index are concerned; the rest at the same time.
  const [refs, headLogBytes, { gitFiles, index, work }] = await Promise.all([
    readRefs(checkout, options.isOwn),
    stat(join(checkout.gitDir, "logs", "HEAD")).then(
      ({ size }) => size,
      () => 0,
    ),
    readSettings(store).then(async (settings) => {
      const lens = await openLens(store, settings);
      const [gitFiles, index, work] = await Promise.all([
        readGitFiles(checkout, settings),
        readIndex(lens, checkout, last?.state.index ?? null),
        readWork(lens, checkout, options.extra ?? []),
      ]);
      return { gitFiles, index, work };
    }),
  ]);
  return { schema: 1, at: options.now, refs, headLogBytes, index, ...work, gitFiles };
}

/** Whether two states are the same for whoever would bring one back. */
export function sameState(a: CheckoutState, b: CheckoutState): boolean {
  const parts = ({ refs, index, files, large, gitFiles }: CheckoutState) => {
    const { tree, unmerged, entries } = index ?? {};
    return JSON.stringify([refs, tree, unmerged, entries, files, large, Object.entries(gitFiles).sort(([x], [y]) => (x < y ? -1 : 1))]);
  };
  return parts(a) === parts(b);
}

/**
 * Keeps a state under `refs/orchestrator/recovery/_checkout/<name>/<time>` and returns the ref. The newest saved state is
 * used again when it is the same. To be called under withStore().
 */
export async function saveState(store: CheckoutStore, state: CheckoutState): Promise<SavedCheckout> {
  const { checkout } = store;
  const last = await lastSaved(store);
  if (last && sameState(last.state, state) && (await commitOf(shared(checkout), last.ref)) === last.sha) return last;
  const lens = lensOf(store);
  const entries = [
    `040000 tree ${state.files}\tfiles`,
    ...(state.index ? [`040000 tree ${state.index.tree}\tindex`, `100644 blob ${state.index.blob}\tindex-file`] : []),
    ...(state.index?.unmerged ? [`040000 tree ${state.index.unmerged}\tunmerged`] : []),
  ];
  const tree = await gitText(lens.tree, ["mktree", "-z", "--missing"], {
    env: lens.env,
    input: entries.map((each) => `${each}\0`).join(""),
  });
  const parents = await commitsToKeep(checkout, state);
  const env = {
    ...lens.env,
    GIT_AUTHOR_NAME: ownIdentity.name,
    GIT_AUTHOR_EMAIL: ownIdentity.email,
    GIT_COMMITTER_NAME: ownIdentity.name,
    GIT_COMMITTER_EMAIL: ownIdentity.email,
    GIT_AUTHOR_DATE: state.at,
    GIT_COMMITTER_DATE: state.at,
  };
  const message = `recovery: checkout ${checkout.workTree} at ${state.at}\n`;
  const sha = await gitText(lens.tree, ["commit-tree", tree, ...parents.flatMap((parent) => ["-p", parent])], { env, input: message });
  const ref = await saveCommit(shared(checkout), sha, { planId: checkoutPlan, ticketId: checkout.name, now: state.at });
  const saved = { ref, sha, state };
  await rememberSaved(store, saved);
  return saved;
}

/** Stands where recovery refs of tickets have their plan; no plan can be called so. */
export const checkoutPlan = "_checkout";

/** Git commands on what all worktrees of a checkout's repository share. */
export function shared(checkout: Checkout): GitDir {
  return { gitDir: checkout.commonDir, commonDir: checkout.commonDir };
}

/** Our git folder of a checkout that was looked at before. */
export function lensOf(store: CheckoutStore): Pick<Lens, "tree" | "env" | "dir"> {
  const dir = join(store.dir, "git");
  const tree = { gitDir: dir, commonDir: dir, workTree: store.checkout.workTree };
  return { dir, tree, env: { GIT_OBJECT_DIRECTORY: join(store.checkout.commonDir, "objects") } };
}

/** Where a kept file of a git folder lies: `common/…` in the shared git folder, `own/…` in the checkout's, `tree/…` in its files. */
export function gitFilePath(checkout: Checkout, key: string): string {
  const [place = "", ...rest] = key.split("/");
  const roots: Record<string, string> = { common: checkout.commonDir, own: checkout.gitDir, tree: checkout.workTree };
  return join(roots[place] ?? "", ...rest);
}

/** The files of git folders and hook folders. Needs no git, so that it works on a broken configuration. */
export async function readGitFiles(checkout: Checkout, settings: Settings): Promise<Record<string, KeptFile>> {
  const names = ["own/config.worktree", ...operationFiles.map((name) => `own/${name}`), "own/ORIG_HEAD"];
  if (checkout.shared) names.push("common/config", "common/info/exclude", "common/info/attributes", "common/hooks");
  const hooks = settings.config["core.hookspath"];
  const hooksPath = hooks === undefined ? undefined : resolve(checkout.workTree, hooks);
  // Hooks of the person that lie elsewhere are not the repository's.
  if (checkout.shared && hooksPath?.startsWith(checkout.workTree + sep))
    names.push(`tree/${hooksPath.slice(checkout.workTree.length + 1)}`);
  const found: Record<string, KeptFile> = {};
  for (const name of names) await readInto(found, name, gitFilePath(checkout, name));
  return found;
}

/** Where git keeps an operation that is under way. */
const operationFiles = [
  "MERGE_HEAD",
  "MERGE_MODE",
  "MERGE_MSG",
  "AUTO_MERGE",
  "CHERRY_PICK_HEAD",
  "REVERT_HEAD",
  "REBASE_HEAD",
  "SQUASH_MSG",
  "BISECT_LOG",
  "BISECT_START",
  "BISECT_NAMES",
  "BISECT_TERMS",
  "rebase-merge",
  "rebase-apply",
  "sequencer",
];

async function readInto(found: Record<string, KeptFile>, key: string, path: string): Promise<void> {
  const info = await lstat(path).catch(() => undefined);
  if (!info || Object.keys(found).length >= mostGitFiles) return;
  if (info.isDirectory()) {
    for (const name of (await readdir(path)).sort()) await readInto(found, `${key}/${name}`, join(path, name));
    return;
  }
  if (!info.isFile() && !info.isSymbolicLink()) return;
  const isLarge = info.size > largestGitFile;
  const bytes = isLarge
    ? Buffer.from(`${info.size} ${info.mtimeMs}`)
    : info.isFile()
      ? await readFile(path)
      : Buffer.from(await readlink(path));
  found[key] = { mode: info.mode, content: isLarge ? null : bytes.toString("base64"), digest: sha256(bytes) };
}

/** The settings of the repository that decide what its files are; those of the last look when they cannot be read. */
export async function readSettings(store: CheckoutStore): Promise<Settings> {
  const file = join(store.dir, "settings.json");
  const keys =
    "^(core\\.(filemode|symlinks|ignorecase|precomposeunicode|trustctime|checkstat|excludesfile|hookspath)|extensions\\.objectformat)$";
  try {
    const fields = await gitFields(store.checkout, ["config", "-z", "--get-regexp", keys], { okCodes: [0, 1] });
    const config = Object.fromEntries(
      fields.map((field): [string, string] => {
        const end = field.indexOf("\n");
        return end < 0 ? [field, "true"] : [field.slice(0, end), field.slice(end + 1)];
      }),
    );
    await writeJson(file, { config });
    return { config };
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    return (await readJson<Settings>(file)) ?? { config: {} };
  }
}

async function openLens(store: CheckoutStore, { config }: Settings): Promise<Lens> {
  const lens = lensOf(store);
  const { dir } = lens;
  const { checkout } = store;
  for (const folder of ["info", "refs", "objects"]) await mkdir(join(dir, folder), { recursive: true, mode: 0o700 });
  // Nobody else uses it while we hold its lock: this one was left by a git that was killed.
  await rm(join(dir, "index.lock"), { force: true });
  const lines = Object.entries(config).flatMap(([key, value]) => {
    const [section = "", name = ""] = key.split(".");
    return name === "hookspath" ? [] : [`[${section}]`, `\t${name} = ${JSON.stringify(value)}`];
  });
  const version = config["extensions.objectformat"] === undefined ? 0 : 1;
  const excludes = await readFile(join(checkout.commonDir, "info", "exclude"), "utf8").catch(() => "");
  await writeChanged(join(dir, "HEAD"), "ref: refs/heads/none\n");
  const changed = [
    await writeChanged(
      join(dir, "config"),
      `${[`[core]`, `\trepositoryformatversion = ${version}`, "\tbare = false", ...lines].join("\n")}\n`,
    ),
    await writeChanged(join(dir, "info", "exclude"), excludes),
  ];
  // Bytes are kept as they are, and no filter program is started.
  await writeChanged(join(dir, "info", "attributes"), "* -text !eol -ident -filter !working-tree-encoding\n");
  const isNew = (await stat(join(dir, "index")).catch(() => undefined)) === undefined;
  return { ...lens, isNew, rulesChanged: isNew || changed.includes(true) };
}

/** Writes a file unless it has this text already; says whether it wrote. */
async function writeChanged(file: string, text: string): Promise<boolean> {
  if ((await readFile(file, "utf8").catch(() => null)) === text) return false;
  await writeFile(file, text, { mode: 0o600 });
  return true;
}

async function readWork(lens: Lens, checkout: Checkout, extra: string[]): Promise<Pick<CheckoutState, "files" | "large">> {
  try {
    return await lookAtFiles(lens, checkout, extra);
  } catch (error) {
    if (!(error instanceof GitError) || lens.isNew) throw error;
    // A kept index that cannot be used is made anew.
    await rm(join(lens.dir, "index"), { force: true });
    return lookAtFiles({ ...lens, isNew: true, rulesChanged: true }, checkout, extra);
  }
}

async function lookAtFiles(lens: Lens, checkout: Checkout, extra: string[]): Promise<Pick<CheckoutState, "files" | "large">> {
  const { tree, env } = lens;
  if (lens.isNew) await beginIndex(lens, checkout);
  const listed = await gitFields(tree, ["ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"], { env });
  const large: Record<string, string> = {};
  const [there, gone]: [string[], string[]] = [[], []];
  const isReal = realFolders(tree.workTree);
  for (const path of new Set([...listed, ...extra])) {
    // A repository of its own.
    if (path.endsWith("/")) continue;
    const what = (await isReal(dirname(path))) ? await kindOf(join(tree.workTree, path)) : "gone";
    if (what === "file") there.push(path);
    else if (what === "gone") gone.push(path);
    else large[path] = what.large;
  }
  const changed = [...there, ...gone];
  const kept = join(lens.dir, "files.json");
  const last = changed.length === 0 && !lens.rulesChanged ? await readJson<{ tree: string }>(kept) : undefined;
  if (last) return { files: last.tree, large };
  // Before the index changes: after a crash in between, the old tree would be taken for true.
  await rm(kept, { force: true });
  await updateIndex(lens, ["--force-remove"], gone);
  await updateIndex(lens, ["--add", "--replace"], there);
  if (lens.rulesChanged || changed.some((path) => /(^|\/)\.gitignore$/.test(path))) await dropIgnored(lens, checkout, extra);
  const files = await gitText(tree, ["write-tree", "--missing-ok"], { env });
  // git writes it for everybody to read.
  await chmod(join(lens.dir, "index"), 0o600).catch(() => undefined);
  await writeJson(kept, { tree: files });
  return { files, large };
}

/** Whether a folder of the tree is one, and not reached through a symbolic link. */
function realFolders(root: string): (folder: string) => Promise<boolean> {
  const known = new Map<string, Promise<boolean>>();
  return (folder) => {
    const path = join(root, folder);
    const answer =
      known.get(folder) ??
      Promise.all([realpath(path), realpath(root)])
        .then(([real, top]) => real === join(top, folder))
        .catch(() => false);
    known.set(folder, answer);
    return answer;
  };
}

/** What a path is: a file (or link), nothing that git would keep, or a file told by `large` alone, for its size or its permissions. */
async function kindOf(path: string): Promise<"file" | "gone" | { large: string }> {
  const info = await lstat(path).catch(() => undefined);
  if (!info || info.isDirectory()) return "gone";
  if (!info.isFile()) return "file";
  const isReadable = await access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
  return info.size > largestFile || !isReadable ? { large: `${info.size} ${info.mtimeMs}` } : "file";
}

/** Begins with the user's own index, which knows which files are unchanged since they were last read. */
async function beginIndex(lens: Lens, checkout: Checkout): Promise<void> {
  const { tree, env, dir } = lens;
  const from = join(checkout.gitDir, "index");
  const info = await stat(from).catch(() => undefined);
  if (!info) return;
  for (const name of await readdir(checkout.gitDir)) {
    if (name.startsWith("sharedindex.")) await copyFile(join(checkout.gitDir, name), join(dir, name));
  }
  await copyFile(from, join(dir, "index"));
  // A file as young as the index is read again by git; a copy must not look younger than its model.
  const seconds = Math.floor(info.mtimeMs / 1000);
  await utimes(join(dir, "index"), seconds, seconds);
  const staged = (await gitFields(tree, ["ls-files", "-z", "--stage", "-v"], { env })).map((line) => {
    const [head = "", path = ""] = [line.slice(0, line.indexOf("\t")), line.slice(line.indexOf("\t") + 1)];
    const [tag = "", mode = "", sha = "", stage = ""] = head.split(" ");
    return { tag, mode, sha, stage, path };
  });
  const gitlinks = staged.filter(({ mode }) => mode === "160000").map(({ path }) => path);
  await updateIndex(lens, ["--force-remove"], gitlinks);
  const assumed = staged.filter(({ tag }) => tag !== tag.toUpperCase()).map(({ path }) => path);
  await updateIndex(lens, ["--no-assume-unchanged"], assumed);
  const converted = new Set(
    await convertedPaths(
      checkout,
      staged.map(({ path }) => path),
    ),
  );
  const reset = staged.filter(({ path, stage, mode }) => stage === "0" && mode !== "160000" && converted.has(path));
  if (reset.length === 0) return;
  const input = reset.map(({ mode, sha, path }) => `${mode} ${sha}\t${path}\0`).join("");
  await git(tree, ["update-index", "-z", "--index-info"], { env, input });
}

/**
 * Files whose bytes are not those of their blob, as line ends are converted: they are read once, so that the kept index has their
 * very bytes. Files of filters, such as large ones of LFS, stay known by their blob until they change.
 */
async function convertedPaths(checkout: Checkout, paths: string[]): Promise<string[]> {
  const autocrlf = (await git(checkout, ["config", "--get", "core.autocrlf"], { okCodes: [0, 1] })).stdout.trim();
  const attributes = ["text", "eol", "crlf", "ident", "working-tree-encoding", "filter"];
  const fields = await gitFields(checkout, ["check-attr", "-z", "--stdin", ...attributes], {
    input: paths.map((path) => `${path}\0`).join(""),
  });
  const converted = new Set<string>(/^(true|input)$/.test(autocrlf) ? paths : []);
  const filtered = new Set<string>();
  for (let i = 0; i + 2 < fields.length; i += 3) {
    const [path = "", attribute, value = ""] = fields.slice(i, i + 3);
    if (value === "unspecified" || value === "unset") continue;
    (attribute === "filter" ? filtered : converted).add(path);
  }
  return [...converted].filter((path) => !filtered.has(path));
}

/** Files that were not ignored when they were first seen and are now, unless the user tracks them. */
async function dropIgnored({ tree, env, dir }: Lens, checkout: Checkout, extra: string[]): Promise<void> {
  const ignored = await gitFields(tree, ["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"], { env });
  if (ignored.length === 0) return;
  const copy = join(dir, `user-index-${randomUUID()}`);
  try {
    const hasIndex = await copyFile(join(checkout.gitDir, "index"), copy).then(
      () => true,
      () => false,
    );
    const tracked = hasIndex ? await gitFields(tree, ["ls-files", "-z"], { env: { ...env, GIT_INDEX_FILE: copy } }) : [];
    const keep = new Set([...tracked, ...extra]);
    const gone = ignored.filter((path) => !keep.has(path));
    await updateIndex({ tree, env }, ["--force-remove"], gone);
  } finally {
    await rm(copy, { force: true });
  }
}

async function updateIndex({ tree, env }: Pick<Lens, "tree" | "env">, options: string[], paths: string[]): Promise<void> {
  if (paths.length === 0) return;
  await git(tree, ["update-index", ...options, "-z", "--stdin"], { env, input: paths.map((path) => `${path}\0`).join("") });
}

async function readIndex(lens: Lens, checkout: Checkout, last: CheckoutState["index"]): Promise<CheckoutState["index"]> {
  const bytes = await readFile(join(checkout.gitDir, "index")).catch(() => undefined);
  if (!bytes) return null;
  const file = sha256(bytes);
  const { mode } = await stat(join(checkout.gitDir, "index"));
  if (last?.file === file) return { ...last, mode };
  const copy = join(lens.dir, `index-${randomUUID()}`);
  const env = { ...lens.env, GIT_INDEX_FILE: copy };
  const { tree } = lens;
  try {
    await writeFile(copy, bytes, { mode: 0o600 });
    const sharedParts = (await readdir(checkout.gitDir)).filter((name) => name.startsWith("sharedindex."));
    for (const name of sharedParts) await copyFile(join(checkout.gitDir, name), join(lens.dir, name));
    if (sharedParts.length > 0) await git(tree, ["update-index", "--no-split-index"], { env });
    const lines = await gitFields(tree, ["ls-files", "-z", "--stage", "-v"], { env });
    const entries = sha256(Buffer.from(lines.join("\0")));
    if (last?.entries === entries) return { ...last, file, mode };
    // As git hashes it: what filters and line ends do to files is not meant for an index.
    const blob = await gitText(tree, ["hash-object", "-w", "--no-filters", copy], { env });
    const unmergedLines = lines.filter((line) => / [1-3]\t/.test(line.slice(0, line.indexOf("\t") + 1)));
    const unmerged = await keepUnmerged(lens, unmergedLines);
    await updateIndex({ tree, env }, ["--force-remove"], [...new Set(unmergedLines.map((line) => line.slice(line.indexOf("\t") + 1)))]);
    return { tree: await gitText(tree, ["write-tree", "--missing-ok"], { env }), unmerged, entries, file, blob, mode };
  } finally {
    await rm(copy, { force: true });
  }
}

/** A tree of the blobs that unmerged entries name, so that they live as long as the state. */
async function keepUnmerged({ tree, env }: Lens, lines: string[]): Promise<string | null> {
  if (lines.length === 0) return null;
  const blobs = lines.map((line) => line.split(" ")).filter(([, mode]) => mode !== "160000");
  const names = [...new Set(blobs.map(([, , sha = ""]) => sha))].sort();
  return gitText(tree, ["mktree", "-z"], { env, input: names.map((sha) => `100644 blob ${sha}\t${sha}\0`).join("") });
}

async function readRefs(checkout: Checkout, isOwn: (ref: string) => boolean): Promise<CheckoutState["refs"]> {
  try {
    const format = "--format=%(objectname) %(refname)";
    const listed = await gitText(shared(checkout), ["for-each-ref", format, "refs/heads", "refs/stash"]);
    const refs = new Map(
      listed.split("\n").flatMap((line) => (line === "" ? [] : [[line.slice(line.indexOf(" ") + 1), line.split(" ")[0] ?? ""]])),
    );
    const top = refs.get("refs/stash");
    refs.delete("refs/stash");
    const stashLog = top === undefined ? null : await readFile(join(checkout.commonDir, "logs", "refs", "stash"), "utf8").catch(() => null);
    const head = await readHead(checkout, refs);
    if (!checkout.shared) return { ...head, branches: {}, stash: [], stashLog: null };
    const branches = Object.fromEntries([...refs].filter(([ref]) => !isOwn(ref)));
    return { ...head, branches, stash: top === undefined ? [] : stashEntries(top, stashLog), stashLog };
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    return null;
  }
}

/** HEAD as its file has it, where that says all; git is asked only where it does not. */
async function readHead(checkout: Checkout, refs: ReadonlyMap<string, string>): Promise<{ branch: string | null; head: string | null }> {
  const text = (await readFile(join(checkout.gitDir, "HEAD"), "utf8").catch(() => "")).trim();
  const named = /^ref: (refs\/heads\/.+)$/.exec(text)?.[1];
  const sha = named === undefined ? undefined : refs.get(named);
  if (named !== undefined && sha !== undefined) return { branch: named, head: sha };
  if (/^[0-9a-f]{40,64}$/.test(text)) return { branch: null, head: text };
  const branch = await git(checkout, ["symbolic-ref", "--quiet", "HEAD"], { okCodes: [0, 1] });
  return { branch: branch.code === 0 ? branch.stdout.trim() : null, head: await commitOf(checkout, "HEAD") };
}

function stashEntries(top: string, log: string | null): { sha: string; message: string }[] {
  const lines = (log ?? "").split("\n").filter((line) => line !== "");
  if (lines.length === 0) return [{ sha: top, message: "" }];
  return lines.reverse().map((line) => ({ sha: line.split(" ")[1] ?? "", message: line.slice(line.indexOf("\t") + 1) }));
}

/** Commits that only this state may know of. */
async function commitsToKeep(checkout: Checkout, { refs, gitFiles }: CheckoutState): Promise<string[]> {
  const named = ["own/MERGE_HEAD", "own/CHERRY_PICK_HEAD", "own/REVERT_HEAD", "own/ORIG_HEAD"].flatMap((key) =>
    Buffer.from(gitFiles[key]?.content ?? "", "base64")
      .toString()
      .split("\n")
      .filter((line) => /^[0-9a-f]{40,64}$/.test(line)),
  );
  const existing = await Promise.all(named.map((sha) => commitOf(shared(checkout), sha)));
  const stash = refs?.stash.map(({ sha }) => sha) ?? [];
  return [...new Set([refs?.head, ...Object.values(refs?.branches ?? {}), ...stash, ...existing])].filter(
    (sha) => sha !== null && sha !== undefined,
  );
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
