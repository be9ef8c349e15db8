import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { execa } from "execa";
import * as z from "zod";
import type { Adapter } from "../agents/agent.ts";
import {
  type CliFacts,
  flagsToTry,
  incompatibility,
  type Probing,
  readHelp,
  readVersion,
  refusedFlags,
  sentinel,
} from "../agents/cli-facts.ts";
import { findProgram } from "../lib/find-program.ts";
import { withTempDir } from "../lib/temp-dir.ts";
import { makeDirBelow, writeDurable } from "../state/atomic-write.ts";
import { probesDir } from "../state/layout.ts";

/** Of one question to a CLI. Any CLI answers in a second or two; one that does not is run as if nobody had asked. */
const answerTimeoutMs = 10_000;

const Facts = z.object({
  version: z.string().nullable(),
  flags: z.record(z.string(), z.string()),
  tried: z.record(z.string(), z.boolean()),
});
const Kept = z.object({ schema: z.literal(1), program: z.string(), stamp: z.string(), cli: Facts });

/** Which CLI is meant, and where what was found is kept. */
export interface ProbeRequest {
  adapter: Pick<Adapter, "provider" | "probing">;
  /** As configured: a name on PATH, or a path that counts from `cwd`. */
  command: string;
  defaultArgs: string[];
  /** Only PATH is of interest. */
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  home: string;
}

/** An installed CLI. `cli` is undefined when it is of no known kind, or does not say what it takes. */
export interface ProbedAgent {
  program: string;
  cli: CliFacts | undefined;
}

/** Why nothing can be run with what was found, and what to do about it; undefined when nothing speaks against it. */
export function programProblem(
  { adapter, command, defaultArgs, env }: Pick<ProbeRequest, "adapter" | "command" | "defaultArgs" | "env">,
  found: ProbedAgent | undefined,
): { message: string; hint: string } | undefined {
  const { provider, probing } = adapter;
  if (found) return probing === null ? undefined : incompatibility(provider, probing, found.cli, defaultArgs);
  const where = command.includes("/")
    ? "does not exist, or may not be executed"
    : `was not found on PATH (${env.PATH ?? "PATH is not set"})`;
  const install = probing === null ? "install it" : `install it (${probing.install})`;
  return { message: `${command} ${where}`, hint: `${install}, or correct its command, or give the work to another agent` };
}

/** Questions under way or without an answer: nobody asks the same program the same twice. */
const asked = new Map<string, Promise<CliFacts | undefined>>();

/**
 * Finds an agent's program and asks it, once for each installed file, what it takes. It is asked in an empty folder and an empty
 * environment, so that nobody's settings run. Undefined when there is no such program. Throws system errors of a machine that is full.
 */
export async function probeAgent(request: ProbeRequest): Promise<ProbedAgent | undefined> {
  const { adapter, command, env, cwd, home, defaultArgs } = request;
  const program = findProgram(command, env, cwd);
  if (program === undefined) return undefined;
  const { provider, probing } = adapter;
  if (probing === null) return { program, cli: undefined };
  const stamp = stampOf(program);
  const file = keptFile(home, provider, program);
  const known = readKept(file, program, stamp);
  if (known && flagsToTry(probing, known, defaultArgs).length === 0) return { program, cli: known };
  const key = JSON.stringify([file, stamp, defaultArgs]);
  const answer =
    asked.get(key) ??
    ask({ program, probing, known, defaultArgs, path: env.PATH ?? "" }).then((cli) => keep({ home, file, program, stamp }, cli));
  asked.set(key, answer);
  // A machine that is full says nothing about the program. One without readable help stays without until it is replaced.
  const cli = await answer.catch((error: unknown) => {
    asked.delete(key);
    throw error;
  });
  if (cli !== undefined) asked.delete(key);
  return { program, cli };
}

/** Only a copy: without it the program is asked again. */
async function keep(
  { home, file, program, stamp }: { home: string; file: string; program: string; stamp: string },
  cli: CliFacts | undefined,
): Promise<CliFacts | undefined> {
  if (cli === undefined) return cli;
  const text = JSON.stringify({ schema: 1, program, stamp, cli } satisfies z.input<typeof Kept>);
  await makeDirBelow(home, probesDir(home))
    .then(() => writeDurable(file, `${text}\n`))
    .catch(() => undefined);
  return cli;
}

/** Has the programs of a provider asked again: what was found of one of them has led to a run that it refused. */
export function forgetProbes(home: string, provider: string): void {
  asked.clear();
  const dir = probesDir(home);
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) if (name.startsWith(`${provider}-`)) rmSync(join(dir, name), { force: true });
}

function keptFile(home: string, provider: string, program: string): string {
  return join(probesDir(home), `${provider}-${createHash("sha256").update(program).digest("hex").slice(0, 16)}.json`);
}

function readKept(file: string, program: string, stamp: string): CliFacts | undefined {
  try {
    const kept = Kept.parse(JSON.parse(readFileSync(file, "utf8")));
    return kept.program === program && kept.stamp === stamp ? kept.cli : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Changes when the program is replaced. A launcher may stay the same from release to release, down to its time, so the
 * package.json of the package that it belongs to counts as well.
 */
function stampOf(program: string): string {
  const path = realpathSync(program);
  const near = [path, ...[1, 2, 3].map((levels) => join(up(path, levels), "package.json"))];
  return near
    .map((file) => ({ file, stat: statSync(file, { throwIfNoEntry: false }) }))
    .flatMap(({ file, stat }) => (stat ? [`${file === path ? path : basename(file)} ${stat.size} ${stat.mtimeMs} ${stat.ino}`] : []))
    .join("\n");
}

function up(path: string, levels: number): string {
  return levels === 0 ? path : up(dirname(path), levels - 1);
}

/** undefined when it has no readable help. */
async function ask(question: {
  program: string;
  probing: Probing;
  known: CliFacts | undefined;
  defaultArgs: string[];
  path: string;
}): Promise<CliFacts | undefined> {
  const { program, probing, known, defaultArgs, path } = question;
  return withTempDir("orchestrator-probe-", async (dir) => {
    const env = { ...probing.env, PATH: path, HOME: dir, TMPDIR: dir, NO_COLOR: "1" };
    const say = (args: string[]) => answer(program, args, { cwd: dir, env });
    const cli = known ?? (await introduction(probing, say));
    return cli && { ...cli, tried: { ...cli.tried, ...(await tried(probing, flagsToTry(probing, cli, defaultArgs), say)) } };
  });
}

type Say = (args: string[]) => Promise<{ code: number | undefined; stdout: string; stderr: string }>;

async function introduction(probing: Probing, say: Say): Promise<CliFacts | undefined> {
  const [version, ...texts] = await Promise.all([["--version"], ...probing.help].map(say));
  const flags = Object.assign({}, ...texts.map(({ code, stdout, stderr }) => (code === 0 ? readHelp(`${stdout}\n${stderr}`) : {})));
  if (Object.keys(flags).length === 0) return undefined;
  return { version: readVersion(version?.stdout ?? "") ?? readVersion(version?.stderr ?? ""), flags, tried: {} };
}

/** Has the CLI parse flags that its help does not name, with one behind them that it refuses in any case. */
async function tried({ tryWith }: Probing, flags: string[], say: Say): Promise<CliFacts["tried"]> {
  let left = flags;
  const found: CliFacts["tried"] = {};
  while (left.length > 0 && tryWith !== null) {
    const { stdout, stderr } = await say([...tryWith, ...left.flatMap((flag) => [flag, "x"]), sentinel]);
    const refused = refusedFlags(`${stderr}\n${stdout}`, left);
    for (const flag of refused ?? []) found[flag] = false;
    left = left.filter((flag) => found[flag] === undefined);
    if (refused === undefined || refused.length === 0) break;
  }
  return { ...Object.fromEntries(left.map((flag) => [flag, true])), ...found };
}

async function answer(program: string, args: string[], where: { cwd: string; env: Record<string, string> }): ReturnType<Say> {
  const { exitCode, stdout, stderr } = await execa(program, args, {
    ...where,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout: answerTimeoutMs,
    killSignal: "SIGKILL",
    killDescendants: true,
    maxBuffer: 1024 * 1024,
  });
  return { code: exitCode, stdout: stdout ?? "", stderr: stderr ?? "" };
}
