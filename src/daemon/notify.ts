import { execa } from "execa";
import type { Config } from "../domain/config.ts";
import type { Logger } from "../lib/logger.ts";

/** What a person should hear of. */
export interface Notice {
  /** Absent when it concerns everything. */
  planId?: string;
  ticketId?: string;
  status: string;
  reason: string;
}

/**
 * Tells the configured program, with the notice as one JSON object on its standard input; it has 30 seconds.
 * Never throws and is not waited for: a broken notifier is a line in the log, not a stopped ticket.
 */
export function notify(config: Config, log: Logger, notice: Notice): void {
  const where = [notice.planId, notice.ticketId].filter((id) => id !== undefined).join("/") || "orchestrator";
  log.warn({ ...notice }, `${where} ${notice.status}: ${notice.reason}`);
  if (config.notifyCommand === undefined) return;
  const [program, ...args] = typeof config.notifyCommand === "string" ? ["bash", "-c", config.notifyCommand] : config.notifyCommand;
  execa(program ?? "", args, { input: `${JSON.stringify(notice)}\n`, timeout: 30_000, reject: false, stdout: "ignore", stderr: "ignore" })
    .then((result) => {
      if (result.failed) log.error({ notice }, `notifyCommand failed: ${result.shortMessage}`);
    })
    .catch((error: unknown) => log.error({ err: error, notice }, "notifyCommand could not be started"));
}
