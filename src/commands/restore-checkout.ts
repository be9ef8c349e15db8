import { realpathSync } from "node:fs";
import { resolve, sep } from "node:path";
import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { restoreCheckout } from "../git/checkout-restore.ts";
import { readCheckout, sameState } from "../git/checkout-state.ts";
import { type CheckoutStore, knownStores, markedBranches, type SavedCheckout, savedStates, withStore } from "../git/checkout-store.ts";
import { isNamedByUs } from "../git/refs.ts";
import { lockDir } from "../state/layout.ts";
import type { Ending } from "./command.ts";
import { columns, printData, printLine } from "./print.ts";

interface Options {
  list?: boolean;
  ref?: string;
  to?: string;
  repo?: string;
  json?: boolean;
}

/** Lists saved states of the person's checkout, or brings one back. */
export async function run(context: Context, args: string[], options: Options): Promise<Ending> {
  if (args.length > 0 || options.to !== undefined) {
    throw new UserError("--checkout takes neither a plan nor --to: it is about your own checkout.", {
      hint: "name the checkout with --repo <path>",
      exit: "usage",
    });
  }
  const { home } = await context.config();
  const stores = await knownStores(home, lockDir(home));
  const store = storeOf(stores, resolve(context.cwd, options.repo ?? "."));
  const saved = store ? await savedStates(store) : [];
  if (options.list) return list(context, store, saved, options);
  if (!store) {
    throw new UserError(`No state of ${options.repo ?? context.cwd} is saved.`, {
      hint: `name the checkout with --repo <path>; known are: ${stores.map(({ checkout }) => checkout.workTree).join(", ") || "none"}`,
      exit: "notFound",
    });
  }
  const marked = await markedBranches(store.checkout.commonDir);
  const isOwn = (ref: string) => isNamedByUs(ref) || marked.has(ref);
  const target = options.ref === undefined ? await newestOther(store, saved, isOwn) : saved.find(({ ref }) => ref === options.ref);
  if (!target) {
    throw new UserError(
      options.ref === undefined
        ? "Your checkout is as it was saved last."
        : `There is no saved state ${options.ref} of ${store.checkout.workTree}.`,
      { hint: "orchestrator restore --checkout --list shows what there is", exit: "notFound" },
    );
  }
  const { saved: present, left } = await restoreCheckout(store, target, { now: () => instant(Date.now()), isOwn });
  if (options.json) printData(context, { ref: target.ref, path: store.checkout.workTree, saved: present.ref, left });
  else {
    printLine(context, `${store.checkout.workTree} is as it was at ${target.state.at}.`);
    printLine(context, `What was there is saved as ${present.ref}.`);
    for (const { text } of left) printLine(context, `Not brought back: ${text}.`);
  }
  return left.length === 0 ? "ok" : "failed";
}

/** The watched checkout that holds a path: the innermost one. */
function storeOf(stores: readonly CheckoutStore[], path: string): CheckoutStore | undefined {
  const place = realPath(path);
  const holding = stores.filter(({ checkout }) => place === checkout.workTree || place.startsWith(checkout.workTree + sep));
  return holding.sort((a, b) => b.checkout.workTree.length - a.checkout.workTree.length)[0];
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** The newest state that is not the present one: a later phase may have begun on what an earlier one left. */
async function newestOther(
  store: CheckoutStore,
  saved: readonly SavedCheckout[],
  isOwn: (ref: string) => boolean,
): Promise<SavedCheckout | undefined> {
  const present = await withStore(store, () => readCheckout(store, { now: instant(Date.now()), isOwn }));
  return saved.findLast(({ state }) => !sameState(state, present));
}

function list(context: Context, store: CheckoutStore | undefined, saved: readonly SavedCheckout[], options: Options): Ending {
  const rows = saved.map(({ ref, sha, state }) => ({ ref, sha, at: state.at, path: store?.checkout.workTree }));
  if (options.json) printData(context, rows);
  else if (rows.length === 0) printLine(context, "Nothing is saved of this checkout.");
  else for (const line of columns(rows.map(({ at, sha, ref }) => [at, sha.slice(0, 12), ref]))) printLine(context, line);
  return "ok";
}
