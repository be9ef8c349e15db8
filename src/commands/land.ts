import { resolve } from "node:path";
import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { type Base, detectBase } from "../git/base.ts";
import { asOwnChange } from "../git/checkout-restore.ts";
import { openRepo, type Repo } from "../git/git.ts";
import { land } from "../git/integrate.ts";
import { lockDir } from "../state/layout.ts";
import type { Ending } from "./command.ts";
import { printLine } from "./print.ts";

/** Fast-forwards the user's own checkout to the work that was merged. */
export async function run(context: Context, _args: string[], options: { repo?: string; base?: string }): Promise<Ending> {
  const repo = await openRepo(resolve(context.cwd, options.repo ?? "."));
  const base = await detectBase(repo, options.base);
  const result = await landKnown(context, repo, base);
  if (!result.landed) throw new UserError(`Nothing was landed on ${base.name}: ${result.reason}.`, { exit: "unsafe" });
  printLine(context, `${base.name} moved from ${result.from.slice(0, 12)} to ${result.to.slice(0, 12)} in ${repo.path}.`);
  return "ok";
}

/** Lands so that runs under way are not blamed for it. Without a configuration there are none. */
async function landKnown(context: Context, repo: Repo, base: Base): Promise<Awaited<ReturnType<typeof land>>> {
  const config = await context.config().catch(() => undefined);
  const work = () => land(repo, base);
  return config === undefined ? work() : asOwnChange(config.home, lockDir(config.home), repo, "land", work);
}
