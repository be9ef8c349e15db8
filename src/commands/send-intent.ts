import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Answer, Intent } from "../domain/event.ts";
import { awaitAnswer, sendIntent } from "../state/inbox.ts";
import { acquireDaemonLock } from "../state/lock.ts";

const answerMs = 5000;

/**
 * Has an intent applied: by the daemon through the inbox while one runs, else here under the daemon's lock, by the same
 * code. undefined: the daemon has it but did not answer in time.
 */
export async function sendOrApply(context: Context, config: Config, intent: Intent): Promise<Answer | undefined> {
  const lock = acquireDaemonLock(config.home);
  if (lock) {
    lock.release();
    const answer = await applyHere(context, config, intent);
    if (answer) return answer;
  }
  const id = await sendIntent(config.home, intent);
  return awaitAnswer(config.home, id, answerMs);
}

/** undefined: a daemon took the lock meanwhile. */
async function applyHere(context: Context, config: Config, intent: Intent): Promise<Answer | undefined> {
  const [{ openRunner }, { openLog }] = await Promise.all([import("../daemon/open.ts"), import("./log.ts")]);
  const log = openLog(context, config, { console: false });
  let opened: Awaited<ReturnType<typeof openRunner>>;
  try {
    opened = await openRunner({ config, log, env: context.env, version: context.version });
  } catch (error) {
    if (error instanceof UserError && error.exit === "conflict") return undefined;
    throw error;
  }
  try {
    opened.runner.setDispatching(false);
    return await opened.runner.intend(intent);
  } finally {
    await opened.close();
  }
}
