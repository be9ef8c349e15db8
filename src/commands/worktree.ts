import { join, resolve } from "node:path";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { instant } from "../domain/time.ts";
import { type Base, detectBase, integrationRef, startPoint } from "../git/base.ts";
import { commitOf, openRepo, type Repo } from "../git/git.ts";
import { ensureWorktree } from "../git/worktree.ts";
import { poolSize } from "../git/worktree-pool.ts";
import { type Owner, removeWorktree } from "../git/worktree-removal.ts";
import { loadConfig } from "../inputs/config.ts";
import type { CommandModule, Ending } from "./command.ts";
import { printLine } from "./print.ts";

interface Options {
  repo?: string;
  branch?: string;
  path?: string;
}

/** Makes a ticket's worktree, or leaves it as it is, and prints its path. */
export const ensure: CommandModule = {
  async run(context: Context, _args: string[], options: Options): Promise<Ending> {
    const { repo, base, lockDir, branch, path, config } = await placeOf(context, options);
    const startSha = context.env.ORCH_BASE_SHA || (await startPoint(repo, base));
    const worktree = await ensureWorktree({
      repo,
      lockDir,
      path,
      branch,
      startSha,
      recovery: ownerOf(context),
      reuse: config.reuseWorktrees,
    });
    printLine(context, worktree.path);
    return "ok";
  },
};

/** Removes a ticket's worktree, and its branch once that is merged; what is not merged is saved first. */
export const remove: CommandModule = {
  async run(context: Context, _args: string[], options: Options): Promise<Ending> {
    const { repo, base, lockDir, branch, path, config } = await placeOf(context, options);
    const integration = integrationRef(base);
    const mergedInto = [base.ref, ...((await commitOf(repo, integration)) === null ? [] : [integration])];
    const recovery = ownerOf(context);
    const now = instant(Date.now());
    const park = config.reuseWorktrees && context.env.ORCH_PLAN ? { park: poolSize(config.maxConcurrency) } : {};
    const removal = await removeWorktree({ repo, lockDir, path, branch, mergedInto, recovery, now, ...park });
    printLine(context, `worktree ${removal.worktree}${removal.keptAt === null ? "" : ` at ${removal.keptAt}`}, branch ${removal.branch}`);
    if (removal.recovery !== null) printLine(context, `saved as ${removal.recovery}`);
    return "ok";
  },
};

/** The ticket that the script works for. */
function ownerOf({ env }: Context): Owner {
  return { planId: env.ORCH_PLAN || "none", ticketId: env.ORCH_TICKET || "none" };
}

async function placeOf(
  context: Context,
  options: Options,
): Promise<{ repo: Repo; base: Base; lockDir: string; branch: string; path: string; config: Config }> {
  const { env, cwd } = context;
  // Scripts run in an environment of their own, which names the daemon's configuration.
  const { config } = loadConfig({ explicit: context.configFile ?? (env.ORCH_CONFIG || undefined), env, cwd });
  const repoPath = required(options.repo || env.ORCH_REPO, "--repo");
  const branch = required(options.branch, "--branch");
  const path = resolve(cwd, required(options.path, "--path"));
  const repo = await openRepo(resolve(cwd, repoPath));
  return { repo, base: await detectBase(repo, env.ORCH_BASE || undefined), lockDir: join(config.home, "lock"), branch, path, config };
}

function required(value: string | undefined, option: string): string {
  if (value) return value;
  throw new UserError(`${option} is missing.`, { exit: "usage" });
}
