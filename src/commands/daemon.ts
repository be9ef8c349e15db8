import { setFlagsFromString } from "node:v8";
import type { Context } from "../app.ts";
import { runDaemon } from "../daemon/daemon.ts";
import type { Config } from "../domain/config.ts";
import { exitCodes } from "../domain/errors.ts";
import { findProgram } from "../lib/find-program.ts";
import type { Logger } from "../lib/logger.ts";
import { startInBackground } from "./background.ts";
import type { Ending } from "./command.ts";
import { openLog } from "./log.ts";
import { serviceVariable } from "./service-unit.ts";
import { onStopSignals } from "./signals.ts";
import { unknown } from "./world.ts";

interface DaemonOptions {
  concurrency?: number;
  agent?: string;
  detach?: boolean;
}

/** Works all plans until it is asked to stop; with --detach, has another process do so. */
export async function run(context: Context, _args: string[], options: DaemonOptions): Promise<Ending> {
  const config = await context.config();
  if (options.agent !== undefined) checkAgent(config, options.agent);
  const start = { arguments: argumentsOf(config, options), cwd: context.cwd };
  if (options.detach) return startInBackground(context, config, start);
  // V8 keeps up to 64 MiB for young objects once it has used them. A daemon mostly waits, and every run it starts copies its page tables.
  setFlagsFromString("--semi-space-growth-factor=1");
  const log = openLog(context, config, { console: true });
  endOnBug(log);
  for (const [name, { command }] of Object.entries(config.agents)) {
    if (findProgram(command, context.env)) continue;
    log.warn(
      {},
      `agent ${name}: ${command} was not found on PATH (${context.env.PATH ?? "not set"}); tickets it is to work will need attention`,
    );
  }
  // Never given back: a late signal must not turn the end of the process into a death.
  const signals = onStopSignals();
  let isSignalled = false;
  let isReady = false;
  signals.listen(() => {
    isSignalled = true;
  });
  const end = await runDaemon({
    config,
    log,
    env: context.env,
    version: context.version,
    override: {
      ...(options.concurrency === undefined ? {} : { maxConcurrency: options.concurrency }),
      ...(options.agent === undefined ? {} : { defaultAgent: options.agent }),
    },
    daemon: { ...start, service: context.env[serviceVariable] || null },
    onStopRequest: signals.listen,
    onReady({ index }) {
      isReady = true;
      log.info({}, `daemon ${context.version} (pid ${process.pid}) works ${config.home}: ${index.plans.size} plans`);
    },
  }).catch((error: unknown) => {
    // Before that, whoever started it is told on stderr.
    if (isReady) log.fatal({ err: error }, "the daemon cannot go on");
    throw error;
  });
  // What is being prepared for a run dies with us, as with a kill: the next daemon begins it anew.
  if (end === "detached") process.exit(exitCodes.ok);
  return end === "stopped" && isSignalled ? signals.ending() : "ok";
}

/** The arguments behind `orchestrator daemon` that start the same again, from anywhere. */
export function argumentsOf({ file }: Config, { concurrency, agent }: DaemonOptions): string[] {
  return [
    ...["--config", file],
    ...(concurrency === undefined ? [] : ["--concurrency", String(concurrency)]),
    ...(agent === undefined ? [] : ["--agent", agent]),
  ];
}

/** What nobody caught may have left anything half done: state on disk is whole, so the next daemon goes on. */
function endOnBug(log: Logger): void {
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "the daemon ends because of a bug; the next one goes on from here");
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(exitCodes.bug);
  });
}

function checkAgent({ agents, file }: Config, name: string): void {
  if (Object.hasOwn(agents, name)) return;
  const names = Object.keys(agents);
  throw unknown(`${file} defines no agent "${name}".`, name, names, `it defines ${names.join(", ")}`);
}
