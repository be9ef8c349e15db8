import { setFlagsFromString } from "node:v8";
import type { Context } from "../app.ts";
import { runDaemon } from "../daemon/daemon.ts";
import type { Config } from "../domain/config.ts";
import type { Ending } from "./command.ts";
import { findProgram } from "./find-program.ts";
import { openLog } from "./log.ts";
import { onStopSignals } from "./signals.ts";
import { unknown } from "./world.ts";

/** Works all plans until a signal stops it. */
export async function run(context: Context, _args: string[], options: { concurrency?: number; agent?: string }): Promise<Ending> {
  // V8 keeps up to 64 MiB for young objects once it has used them. A daemon mostly waits, and every run it starts copies its page tables.
  setFlagsFromString("--semi-space-growth-factor=1");
  const config = await context.config();
  if (options.agent !== undefined) checkAgent(config, options.agent);
  const log = openLog(context, config, { console: true });
  for (const [name, { command }] of Object.entries(config.agents)) {
    if (findProgram(command, context.env)) continue;
    log.warn(
      {},
      `agent ${name}: ${command} was not found on PATH (${context.env.PATH ?? "not set"}); tickets it is to work will need attention`,
    );
  }
  const signals = onStopSignals();
  try {
    const end = await runDaemon({
      config,
      log,
      env: context.env,
      version: context.version,
      override: {
        ...(options.concurrency === undefined ? {} : { maxConcurrency: options.concurrency }),
        ...(options.agent === undefined ? {} : { defaultAgent: options.agent }),
      },
      onStopRequest: signals.listen,
      onReady: ({ index }) =>
        log.info({}, `daemon ${context.version} (pid ${process.pid}) works ${config.home}: ${index.plans.size} plans`),
    });
    return end === "drained" ? "ok" : signals.ending();
  } finally {
    signals.close();
  }
}

function checkAgent({ agents, file }: Config, name: string): void {
  if (Object.hasOwn(agents, name)) return;
  const names = Object.keys(agents);
  throw unknown(`${file} defines no agent "${name}".`, name, names, `it defines ${names.join(", ")}`);
}
