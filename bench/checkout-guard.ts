import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCheckout, saveState } from "../src/git/checkout-state.ts";
import { type CheckoutStore, checkoutStore, checkoutsOf, withStore } from "../src/git/checkout-store.ts";
import { openRepo } from "../src/git/git.ts";
import { isNamedByUs } from "../src/git/refs.ts";
import { type Figure, informing, limited, median } from "./figure.ts";
import { hostilePlans } from "./hostile-plans.ts";

const files = 20_000;
const looks = 15;

/** What watching over the user's checkout costs a run, and whether what a hostile agent did to it is always found and taken back. */
export async function checkoutGuard(): Promise<Figure[]> {
  return [...(await cost()), ...(await hostilePlans())];
}

interface Place {
  repo: string;
  store: CheckoutStore;
  git(...args: string[]): string;
}

async function withCheckout<T>(fill: (repo: string) => void, measure: (place: Place) => Promise<T>): Promise<T> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "orch-bench-")));
  try {
    const repo = join(dir, "repo");
    mkdirSync(repo);
    const who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"];
    const git = (...args: string[]) =>
      execFileSync("git", [...who, ...args], { cwd: repo, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    git("init", "--quiet");
    fill(repo);
    git("add", "--all");
    git("commit", "--quiet", "-m", "first");
    const [checkout] = await checkoutsOf(await openRepo(repo), () => false);
    if (!checkout) throw new Error("the repository has no checkout");
    return await measure({ repo, git, store: checkoutStore(join(dir, "home"), join(dir, "locks"), checkout) });
  } finally {
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

function save(store: CheckoutStore) {
  return withStore(store, async () => saveState(store, await readCheckout(store, { now: new Date().toISOString(), isOwn: isNamedByUs })));
}

async function cost(): Promise<Figure[]> {
  const fill = (repo: string) => {
    for (let i = 0; i < files; i++) {
      const folder = join(repo, `d${i % 200}`);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `f${i}.txt`), `${i}\n${"some text in every file\n".repeat(40)}`);
    }
  };
  return withCheckout(fill, async ({ repo, git, store }) => {
    writeFileSync(join(repo, "untracked.txt"), "untracked\n");
    git("status");
    const first = await timed(() => save(store));
    const [same, changed]: [number[], number[]] = [[], []];
    for (let i = 0; i < looks; i++) same.push(await timed(() => save(store)));
    for (let i = 0; i < looks; i++) {
      writeFileSync(join(repo, "untracked.txt"), `untracked ${i}\n`);
      changed.push(await timed(() => save(store)));
    }
    const where = `Checkout of ${files.toLocaleString("en")} files:`;
    return [
      informing(`${where} first look`, first, "ms"),
      limited(`${where} look before or after a run`, median(same), 300, "ms"),
      limited(`${where} look that saves a change`, median(changed), 300, "ms"),
    ];
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
