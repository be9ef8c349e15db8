import type { Context } from "../app.ts";
import type { Ending } from "./command.ts";
import { printData, printLine } from "./print.ts";

/** Prints the version. */
export async function run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
  const { version } = context;
  if (options.json) printData(context, { version, node: process.version, platform: process.platform, arch: process.arch });
  else printLine(context, version);
  return "ok";
}
