import { join } from "node:path";
import { addAbortSignal } from "node:stream";
import { text } from "node:stream/consumers";
import type { Context } from "../app.ts";
import { formatFinding, UserError } from "../domain/errors.ts";
import { connectMs } from "../planner/mcp-bridge.ts";
import { loadPi } from "../planner/pi-host.ts";
import { planAlone, requestOf } from "../planner/plan-alone.ts";
import { keepPlannerRun, type PlannerRun } from "../planner/planner-run.ts";
import { openSession } from "../planner/session.ts";
import { planTools, runTool } from "../planner/tools.ts";
import type { Ending } from "./command.ts";
import { userOf } from "./intents.ts";
import { agentEnv, launcherOf, piFolder, piSetup } from "./interactive.ts";
import { counted, oneLine, printData, printLine } from "./print.ts";
import { secondsOf } from "./seconds.ts";
import { onStopSignals } from "./signals.ts";

interface Options {
  prompt?: string;
  from?: string;
  repo?: string;
  workflow?: string;
  worktreeRoot?: string;
  role?: string;
  yes?: boolean;
  json?: boolean;
  timeout?: string;
  maxUsd?: string;
  maxTickets?: number;
}

/** What a run may take and cost where nobody says otherwise. */
const usualSeconds = 900;
const usualUsd = 5;
/** The longest time that a timer takes, in milliseconds. */
const longestTimer = 2 ** 31 - 1;
/** How much of the state of things a prompt holds, in characters. */
const longestState = 12_000;

/** Plans without a terminal: a request or a source becomes a plan, which is a draft unless somebody has said yes beforehand. */
export async function run(context: Context, _args: string[], options: Options): Promise<Ending> {
  if (options.prompt === undefined && options.from === undefined) throw nothingAsked();
  const maxUsd = usdOf(options.maxUsd);
  const seconds = options.timeout === undefined ? usualSeconds : secondsOf(options.timeout, "--timeout");
  const config = await context.config();
  const launcher = launcherOf(config, "pi");
  const pi = loadPi(piFolder(config));
  pi.catch(() => {});
  const stop = new AbortController();
  const told = new Error("it was told to stop");
  const signals = onStopSignals();
  signals.listen(() => stop.abort(told));
  const late = setTimeout(() => stop.abort(new Error(`it has taken ${seconds} s`)), Math.min(seconds * 1000, longestTimer));
  const by = userOf(context);
  try {
    const world = { config, env: context.env, cwd: context.cwd, by };
    const prompt = options.prompt === "-" ? await text(addAbortSignal(stop.signal, process.stdin)) : options.prompt;
    if (options.from === undefined && !prompt?.trim()) throw nothingAsked();
    const request = await requestOf({ prompt, from: options.from }, { ...world, signal: stop.signal });
    if (request === "nothing") {
      if (options.json) printData(context, { result: "nothing", plans: [] });
      else printLine(context, "Nothing is open there that is not planned already, so there is nothing to plan.");
      return "ok";
    }
    for (const finding of request.findings) context.say(oneLine(formatFinding(finding)));
    const session = openSession(
      {
        ...options,
        isInteractive: false,
        isApproved: options.yes ?? false,
        listsSkills: false,
        state: await stateText(world),
      },
      world,
    );
    try {
      Object.assign(process.env, session.env, agentEnv(context, launcher.agent));
      const done = await planAlone(
        await pi,
        {
          ...piSetup(context, config, launcher, session, connectMs.headless),
          prompt: `${session.prompt}\nCall \`report\` once, when everything else is done.\n`,
          // --continue of a person goes on with none of these.
          sessionDir: join(piFolder(config), "planner-runs"),
        },
        request,
        { signal: stop.signal, maxUsd, maxTickets: options.maxTickets },
      );
      const { file, kept } = keepPlannerRun(config.stateDir, done, context.env);
      if (options.json) printData(context, kept);
      else show(context, kept, file);
      if (done.error === told.message) return signals.ending();
      return done.result === "failed" ? "failed" : "ok";
    } finally {
      session.dispose();
    }
  } catch (error) {
    if (stop.signal.reason === told) return signals.ending();
    if (!stop.signal.aborted) throw error;
    throw new UserError(`Nothing is planned: ${(stop.signal.reason as Error).message}.`, {
      hint: "--timeout allows it more",
      cause: error,
    });
  } finally {
    clearTimeout(late);
    signals.close();
  }
}

function nothingAsked(): UserError {
  return new UserError("What is to be planned?", {
    hint: "name it: --prompt '…', --prompt - for standard input, or --from <source>; orchestrator plan --help lists what else there is",
    exit: "usage",
  });
}

function show(context: Context, { result, plans, approved, report, servers, error, costUsd, turns }: PlannerRun, file: string): void {
  for (const line of servers) context.say(line);
  for (const { id, how } of plans) {
    const next =
      how === "changed" ? "" : approved ? "; it is active" : `; it is a draft until somebody says: orchestrator plan approve ${id}`;
    printLine(context, `Plan "${id}" is ${how}${next}`);
  }
  if (result === "nothing") printLine(context, "The planner found nothing to plan.");
  for (const { title, reason } of report?.deferred ?? []) printLine(context, `deferred: ${oneLine(title)} (${oneLine(reason)})`);
  if (report) context.say(oneLine(report.reasoning, 2000));
  for (const text of report?.assumptions ?? []) context.say(`taken for granted: ${oneLine(text)}`);
  for (const text of report?.risks ?? []) context.say(`risk: ${oneLine(text)}`);
  if (error !== undefined) context.say(`error: ${oneLine(error, 1000)}`);
  context.say(`${counted(turns, "turn")}, $${costUsd.toFixed(2)}; all of it is in ${file}`);
}

/** The state of things for a planner that cannot be told, bounded. */
async function stateText(world: Parameters<typeof requestOf>[1]): Promise<string | undefined> {
  const tool = planTools.find(({ name }) => name === "status");
  if (!tool) return undefined;
  const { text } = await runTool(tool, {}, world);
  return text.length > longestState ? `${text.slice(0, longestState)}…` : text;
}

function usdOf(text: string | undefined): number {
  if (text === undefined) return usualUsd;
  const usd = Number(text);
  if (text.trim() !== "" && Number.isFinite(usd) && usd > 0) return usd;
  throw new UserError(`--max-usd does not understand ${JSON.stringify(text)}.`, { hint: "write a sum such as 2.50", exit: "usage" });
}
