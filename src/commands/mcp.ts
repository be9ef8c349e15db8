import type { Context } from "../app.ts";
import { UserError } from "../domain/errors.ts";
import { serveTools } from "../planner/mcp-server.ts";
import { planTools } from "../planner/tools.ts";
import type { Ending } from "./command.ts";
import { onStopSignals } from "./signals.ts";

/** Serves the plan tools to the MCP client at stdin and stdout until it leaves. */
export async function run(context: Context, _args: string[], options: { clientApproves?: boolean; draftsOnly?: boolean }): Promise<Ending> {
  const { env, cwd, version } = context;
  if (options.clientApproves && options.draftsOnly) {
    throw new UserError("--client-approves and --drafts-only exclude each other.", { exit: "usage", hint: "use one of them" });
  }
  const config = await context.config();
  if (process.stdin.isTTY) context.say("This speaks MCP: an agent starts it (docs/mcp.md). Ctrl-D ends it.");
  const stop = new AbortController();
  const signals = onStopSignals();
  signals.listen(() => stop.abort());
  try {
    await serveTools({
      tools: planTools,
      bench: { config, env, cwd },
      approval: options.clientApproves ? "client" : options.draftsOnly ? "nobody" : "ask",
      version,
      input: process.stdin,
      output: process.stdout,
      signal: stop.signal,
      log: (line) => context.stderr.write(`${line}\n`),
    });
  } finally {
    signals.close();
  }
  return stop.signal.aborted ? signals.ending() : "ok";
}
