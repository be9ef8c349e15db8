import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Context } from "../app.ts";
import { configTemplate, defaultHome } from "../inputs/config.ts";
import type { Ending } from "./command.ts";
import { findProgram } from "./find-program.ts";
import { columns, printLine } from "./print.ts";

const folders = ["state", "logs"];
/** In the order in which one becomes the default. */
const knownAgents = ["claude", "codex", "pi"];

/** Makes the home folder and a configuration that names the agents of this machine. Overwrites nothing. */
export async function run(context: Context, _args: string[], options: { dir?: string }): Promise<Ending> {
  const home = options.dir === undefined ? defaultHome(context.env) : resolve(context.cwd, options.dir);
  const made = mkdirSync(home, { recursive: true, mode: 0o700 });
  if (made === undefined) chmodSync(home, 0o700);
  for (const folder of folders) mkdirSync(join(home, folder), { recursive: true, mode: 0o700 });
  const agents = knownAgents.map((name) => ({ name, path: findProgram(name, context.env) }));
  const file = join(home, "config.yaml");
  const chosen = agents.find((agent) => agent.path !== undefined)?.name ?? knownAgents[0] ?? "";
  const isNew = writeNew(file, configTemplate().replace(/^defaultAgent: .*$/m, `defaultAgent: ${chosen}`));

  printLine(context, `home           ${home}`);
  for (const folder of folders) printLine(context, `${folder.padEnd(15)}${join(home, folder)}`);
  printLine(context, `configuration  ${file}${isNew ? "" : " (was there, left as it is)"}`);
  printLine(context);
  const rows = agents.map(({ name, path }) => [name, path ?? "not found on PATH", name === chosen && isNew ? "the default agent" : ""]);
  for (const line of columns(rows)) printLine(context, line);
  if (agents.every((agent) => agent.path === undefined)) {
    context.say("warning: none of the known agents is on PATH; install one, or set its command in the configuration");
  }
  context.say(`\nNext: orchestrator doctor${options.dir === undefined ? "" : ` --config ${file}`}`);
  return "ok";
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
