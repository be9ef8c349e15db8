import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { createLogger, type Logger } from "../lib/logger.ts";
import { secretValues } from "../lib/redact.ts";
import { daemonLogFile } from "../state/layout.ts";

/** The log of whatever works tickets. ORCHESTRATOR_LOG_LEVEL sets how much it says. */
export function openLog(context: Context, config: Config, options: { console: boolean }): Logger {
  return createLogger({
    file: daemonLogFile(config.home),
    console: options.console && !context.quiet,
    level: context.env.ORCHESTRATOR_LOG_LEVEL ?? "info",
    secrets: secretValues(context.env),
  });
}
