import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openRepo } from "../src/git/git.ts";
import { deleteTrash, trashIn } from "../src/git/trash.ts";
import { ensureWorktree } from "../src/git/worktree.ts";
import { removeWorktree } from "../src/git/worktree-removal.ts";
import { type Figure, format, informing, median } from "./figure.ts";
import { withHome } from "./home.ts";

const files = 20_000;
const rounds = 3;
/** How many times as long a plain `git worktree add` takes at least. */
const leastGain = 5;

/** Setup and removal of a ticket's worktree in a large repository, against a plain `git worktree add` in the same round. */
export async function worktrees(): Promise<Figure[]> {
  return withHome({}, async ({ dir, env }) => {
    const path = join(dir, "large");
    const git = (...args: string[]) => execFileSync("git", args, { cwd: path, env, stdio: ["ignore", "pipe", "inherit"] });
    writeFiles(path);
    git("init", "--quiet", "--initial-branch=main");
    git("add", "--all");
    git("-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "files");
    const startSha = git("rev-parse", "HEAD").toString().trim();
    const repo = await openRepo(path);
    const root = join(dir, "worktrees");
    const place = (ticketId: string) => ({
      repo,
      lockDir: join(dir, "locks"),
      path: join(root, ticketId),
      branch: `orch/plan/${ticketId}`,
      recovery: { planId: "plan", ticketId },
    });
    const ensure = (ticketId: string) => timed(() => ensureWorktree({ ...place(ticketId), startSha, reuse: true }));
    const remove = (ticketId: string, park: number) =>
      timed(() => removeWorktree({ ...place(ticketId), mergedInto: ["main"], now: new Date().toISOString(), park }));

    const plain: number[] = [];
    const fresh: number[] = [];
    const reused: number[] = [];
    const removed: number[] = [];
    for (let n = 0; n < rounds; n++) {
      plain.push(await timed(async () => git("worktree", "add", "--quiet", "-b", `plain-${n}`, join(dir, `plain-${n}`), startSha)));
      git("worktree", "remove", "--force", join(dir, `plain-${n}`));
      fresh.push(await ensure(`fresh-${n}`));
      leaveWork(join(root, `fresh-${n}`), n);
      await remove(`fresh-${n}`, 1);
      reused.push(await ensure(`reused-${n}`));
      removed.push(await remove(`reused-${n}`, 0));
      for (const trash of await trashIn(root)) await deleteTrash(trash);
    }
    const gain = median(plain) / median(reused);
    const what = `A worktree of ${files.toLocaleString("en")} files`;
    return [
      informing(`${what}: plain \`git worktree add\``, median(plain), "ms"),
      informing(`${what}: setup, the first of a plan`, median(fresh), "ms"),
      {
        what: `${what}: setup by reuse`,
        measured: `${format(median(reused), "ms")} (${gain.toFixed(1)} × as fast as the plain one)`,
        limit: `≥ ${leastGain.toFixed(1)} × as fast`,
        ok: gain >= leastGain,
      },
      informing(`${what}: removal`, median(removed), "ms"),
    ];
  });
}

function writeFiles(path: string): void {
  for (let i = 0; i < files; i++) {
    const folder = join(path, `d${i % 200}`);
    if (i < 200) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `f${i}.txt`), `file ${i}\n`.repeat(600));
  }
}

/** What a ticket leaves: a commit's worth of edits, new files and some output. */
function leaveWork(worktree: string, round: number): void {
  for (let i = 0; i < 50; i++) writeFileSync(join(worktree, `d${i}`, `f${i}.txt`), `edited in round ${round}\n`);
  mkdirSync(join(worktree, "out"));
  for (let i = 0; i < 200; i++) writeFileSync(join(worktree, "out", `o${i}`), "output\n");
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
