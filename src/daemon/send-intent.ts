import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { Answer, Intent } from "../domain/event.ts";
import { awaitAnswer, sendIntent, withdrawIntent } from "../state/inbox.ts";
import { daemonLogFile } from "../state/layout.ts";
import { acquireDaemonLock } from "../state/lock.ts";

/** Who sends an intent, and under which configuration. */
export interface Sender {
  config: Config;
  env: Readonly<Record<string, string | undefined>>;
  version: string;
}

const answerMs = 5000;
/** Between two looks whether anybody still holds the home. */
const lookMs = 250;

/**
 * Has an intent applied: by the daemon through the inbox while one runs, else here under the daemon's lock, by the same
 * code. undefined: the daemon has it but did not answer in time.
 */
export async function sendOrApply(sender: Sender, intent: Intent): Promise<Answer | undefined> {
  const { home } = sender.config;
  const deadline = performance.now() + answerMs;
  let id: string | undefined;
  while (id === undefined || performance.now() < deadline) {
    const lock = acquireDaemonLock(home);
    if (lock) {
      // Other commands hold a home for moments and answer nobody; a daemon may have ended meanwhile.
      const answered = id === undefined ? undefined : await withdrawIntent(home, id);
      lock.release();
      const answer = answered ?? (await applyHere(sender, intent, id));
      if (answer) return answer;
      id = undefined;
    }
    id ??= await sendIntent(home, intent);
    const answer = await awaitAnswer(home, id, lookMs);
    if (answer) return answer;
  }
  return undefined;
}

/** undefined: a daemon took the lock meanwhile. */
async function applyHere({ config, env, version }: Sender, intent: Intent, id: string | undefined): Promise<Answer | undefined> {
  const [{ openRunner }, { createLogger }, { secretValues }] = await Promise.all([
    import("./open.ts"),
    import("../lib/logger.ts"),
    import("../lib/redact.ts"),
  ]);
  const level = env.ORCHESTRATOR_LOG_LEVEL ?? "info";
  const log = createLogger({ file: daemonLogFile(config.home), console: false, level, secrets: secretValues(env) });
  let opened: Awaited<ReturnType<typeof openRunner>>;
  try {
    opened = await openRunner({ config, log, env, version });
  } catch (error) {
    if (error instanceof UserError && error.exit === "conflict") return undefined;
    throw error;
  }
  try {
    opened.runner.setDispatching(false);
    return await opened.runner.intend(intent, id);
  } finally {
    await opened.close();
  }
}
