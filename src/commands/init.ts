import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { knownAdapters } from "../agents/adapters.ts";
import type { Adapter } from "../agents/agent.ts";
import { incompatibility } from "../agents/cli-facts.ts";
import type { Context } from "../app.ts";
import { probeAgent } from "../executors/agent-probe.ts";
import { configTemplate, defaultHome } from "../inputs/config.ts";
import type { Ending } from "./command.ts";
import { columns, printLine } from "./print.ts";

const folders = ["state", "logs"];
/** Agents that every configuration names; others where they are installed. */
const alwaysNamed = ["claude", "codex", "pi"];

/** Makes the home folder and a configuration that names the agents of this machine. Overwrites nothing. */
export async function run(context: Context, _args: string[], options: { dir?: string }): Promise<Ending> {
  const home = options.dir === undefined ? defaultHome(context.env) : resolve(context.cwd, options.dir);
  const made = mkdirSync(home, { recursive: true, mode: 0o700 });
  if (made === undefined) chmodSync(home, 0o700);
  for (const folder of folders) mkdirSync(join(home, folder), { recursive: true, mode: 0o700 });
  const agents = await Promise.all(knownAdapters.map((adapter) => lookFor(context, adapter, home)));
  const file = join(home, "config.yaml");
  const chosen = agents.find((agent) => agent.isUsable)?.name ?? alwaysNamed[0] ?? "";
  const more = agents.filter(({ name, isUsable }) => isUsable && !alwaysNamed.includes(name)).map(({ name }) => name);
  const isNew = writeNew(file, configTemplate(more).replace(/^defaultAgent: .*$/m, `defaultAgent: ${chosen}`));

  printLine(context, `home           ${home}`);
  for (const folder of folders) printLine(context, `${folder.padEnd(15)}${join(home, folder)}`);
  printLine(context, `configuration  ${file}${isNew ? "" : " (was there, left as it is)"}`);
  printLine(context);
  const rows = agents.map(({ name, found }) => [name, found, name === chosen && isNew ? "the default agent" : ""]);
  for (const line of columns(rows)) printLine(context, line);
  if (!agents.some((agent) => agent.isUsable)) {
    context.say("warning: none of the known agents is there and can be used; install one, or set its command in the configuration");
  }
  context.say(`\nNext: orchestrator doctor${options.dir === undefined ? "" : ` --config ${file}`}`);
  return "ok";
}

/** What there is of an agent on this machine, in words, and whether work can be given to it. */
async function lookFor({ env, cwd }: Context, adapter: Adapter, home: string): Promise<{ name: string; found: string; isUsable: boolean }> {
  const { probing, provider } = adapter;
  const name = provider;
  const probed = await probeAgent({ adapter, command: name, defaultArgs: adapter.suggestedArgs, env, cwd, home });
  if (probed === undefined) return { name, found: `not found on PATH${probing ? `; ${probing.install}` : ""}`, isUsable: false };
  const problem = probing && incompatibility(provider, probing, probed.cli, adapter.suggestedArgs);
  const version = probed.cli?.version ? ` ${probed.cli.version}` : "";
  return { name, found: problem ? `${probed.program}: ${problem.message}` : `${probed.program}${version}`, isUsable: !problem };
}

/** Writes the file unless there is one; tells whether it did. */
function writeNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}
