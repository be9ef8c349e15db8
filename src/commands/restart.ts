import type { Context } from "../app.ts";
import { startInBackground } from "./background.ts";
import type { Ending } from "./command.ts";
import { argumentsOf } from "./daemon.ts";
import { secondsOf } from "./seconds.ts";
import { restartService } from "./service.ts";
import { findDaemon, stopDaemon } from "./stop.ts";

/** A daemon that does not hang ends at once when it may leave its runs. */
const patience = "60s";

/** Has this program take the place of the running daemon; what runs goes on. */
export async function run(context: Context, _args: string[], options: { timeout?: string }): Promise<Ending> {
  const timeout = secondsOf(options.timeout ?? patience, "--timeout");
  const config = await context.config();
  const daemon = findDaemon(config.home);
  if (!daemon?.daemon) return startInBackground(context, config, { arguments: argumentsOf(config, {}), cwd: context.cwd });
  const { service, cwd } = daemon.daemon;
  if (service !== null) return restartService(context, config, daemon, timeout);
  const ending = await stopDaemon(context, config, daemon, "detach", timeout);
  if (ending !== "ok") return ending;
  // A configuration that is named now is meant instead of the one before.
  const args = context.configFile === undefined ? daemon.daemon.arguments : [...daemon.daemon.arguments, "--config", config.file];
  const started = await startInBackground(context, config, { arguments: args, cwd });
  if (started !== "ok") {
    context.say("The daemon before has ended and the new one did not start. What ran goes on; the next daemon that starts takes it up.");
  }
  return started;
}
