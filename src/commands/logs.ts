import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import type { Context } from "../app.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import type { AgentEvent } from "../domain/session.ts";
import type { Instant } from "../domain/time.ts";
import { runFiles } from "../executors/run-files.ts";
import { printable } from "../lib/printable.ts";
import { daemonLogFile, journalFile, runDir, ticketLogFile } from "../state/layout.ts";
import { type TimelineEvent, timelineText } from "../views/timeline.ts";
import { transcriptText } from "../views/transcript.ts";
import type { Ending } from "./command.ts";
import { sinceOf } from "./seconds.ts";
import { onStopSignals } from "./signals.ts";
import { readWorld, takePlan, takeTicket, unknown } from "./world.ts";

interface Options {
  phase?: string;
  run?: string;
  follow?: boolean;
  raw?: boolean;
  since?: string;
}

interface Ticket {
  planId: string;
  ticketId: string;
}

/** A file that grows, and what to print of each of its lines. */
interface Source {
  file: string;
  /** undefined: the line is not shown. */
  show(line: string): string | undefined;
}

const lookEveryMs = 200;
const blockBytes = 256 * 1024;

/** Shows what was written about the daemon, a plan or a ticket, and with --follow what is written from now on. */
export async function run(context: Context, args: string[], options: Options): Promise<Ending> {
  const config = await context.config();
  const target = targetOf(config, args);
  const since = options.since === undefined ? undefined : sinceOf(options.since, Date.now());
  const newest = () => (target?.ticketId === undefined ? undefined : newestRun(config, target as Ticket, options.phase));
  if (options.run !== undefined) return showRun(context, config, target, options);
  if (options.raw && target?.ticketId === undefined) {
    throw new UserError("--raw shows the output of a ticket's run; which ticket?", {
      hint: "orchestrator logs <planId> <ticketId> --raw",
      exit: "usage",
    });
  }

  const readers = new Map<string, LineReader>();
  const pump = (source: Source) => {
    let reader = readers.get(source.file);
    if (!reader) {
      reader = lineReader(source.file);
      readers.set(source.file, reader);
    }
    for (const line of reader()) {
      const text = source.show(line);
      if (text !== undefined) context.stdout.write(`${text}\n`);
    }
  };
  const log = options.raw ? undefined : logSource(config, target, options, since);
  let shown: string | undefined;
  const look = () => {
    if (log) pump(log);
    const runId = newest();
    if (runId === undefined || target?.ticketId === undefined) return;
    const sources = runSources(config, target as Ticket, runId, options.raw ?? false);
    if (shown !== runId && !options.raw) context.stdout.write(`${context.style("bold", `── ${runId} ──`)}\n`);
    shown = runId;
    for (const source of sources) pump(source);
  };
  look();
  return options.follow ? followUntilStopped(look) : "ok";
}

async function followUntilStopped(look: () => void): Promise<Ending> {
  const signals = onStopSignals();
  try {
    const stopped = new Promise<true>((resolve) => signals.listen(() => resolve(true)));
    for (;;) {
      const pause = new Promise<false>((resolve) => setTimeout(resolve, lookEveryMs, false));
      if (await Promise.race([stopped, pause])) return signals.ending();
      look();
    }
  } finally {
    signals.close();
  }
}

/** The whole output of one run that is named. */
function showRun(context: Context, config: Config, target: Partial<Ticket> | undefined, options: Options): Ending {
  if (target?.planId === undefined || target.ticketId === undefined) {
    throw new UserError("--run names a run of a ticket; which ticket?", {
      hint: "orchestrator logs <planId> <ticketId> --run <id>",
      exit: "usage",
    });
  }
  const ticket = { planId: target.planId, ticketId: target.ticketId };
  const runs = runIds(config, ticket);
  const runId = options.run ?? "";
  if (!runs.includes(runId)) {
    throw unknown(
      `Ticket ${ticket.planId}/${ticket.ticketId} has no run "${runId}".`,
      runId,
      runs,
      `its runs: ${runs.join(", ") || "none"}`,
    );
  }
  for (const source of runSources(config, ticket, runId, options.raw ?? false)) {
    for (const line of lineReader(source.file)()) {
      const text = source.show(line);
      if (text !== undefined) context.stdout.write(`${text}\n`);
    }
  }
  return "ok";
}

function targetOf(config: Config, args: string[]): Partial<Ticket> | undefined {
  const [first, second] = args;
  if (first === undefined) return undefined;
  const { world, index } = readWorld(config);
  index.close();
  const isPlan = world.plans.has(first) || world.brokenPlans.has(first);
  if (isPlan && second === undefined) return { planId: takePlan(world, first) };
  const { planId, ticketId } = takeTicket(world, args);
  return { planId, ticketId };
}

function logSource(config: Config, target: Partial<Ticket> | undefined, options: Options, since: Instant | undefined): Source {
  const young = (at: unknown) => since === undefined || (typeof at === "string" && at >= since);
  if (target?.planId === undefined) {
    return { file: daemonLogFile(config.home), show: (line) => daemonLine(line, young) };
  }
  if (target.ticketId === undefined || options.phase !== undefined) {
    const { planId, ticketId } = target;
    return { file: journalFile(config.stateDir, planId), show: (line) => journalLine(line, ticketId, options.phase, young) };
  }
  return {
    file: ticketLogFile(config.home, target.planId, target.ticketId),
    // Lines that begin with no time continue the one before.
    show: (line) => (since === undefined || !/^\d{4}-/.test(line) || young(line.slice(0, 24)) ? printable(line) : undefined),
  };
}

function daemonLine(line: string, young: (at: unknown) => boolean): string | undefined {
  const record = parsed<{ time?: string; level?: number; msg?: string; plan?: string; ticket?: string; err?: { message?: string } }>(line);
  if (!record || !young(record.time)) return undefined;
  const about = [record.plan, record.ticket].filter((id) => id !== undefined).join("/");
  const severity = (record.level ?? 0) >= 50 ? "error: " : (record.level ?? 0) >= 40 ? "warning: " : "";
  const cause = record.err?.message ? `: ${record.err.message}` : "";
  return printable(`${record.time} ${about ? `[${about}] ` : ""}${severity}${record.msg ?? ""}${cause}`);
}

function journalLine(
  line: string,
  ticketId: string | undefined,
  phase: string | undefined,
  young: (at: unknown) => boolean,
): string | undefined {
  const event = parsed<TimelineEvent>(line);
  if (!event || !young(event.at)) return undefined;
  if (ticketId !== undefined && event.ticketId !== ticketId) return undefined;
  if (phase !== undefined && event.phase !== phase && !String(event.runId ?? "").endsWith(`-${phase}`)) return undefined;
  return printable(`${event.at} ${timelineText(event)}`);
}

/** What a run has said: its transcript where an agent ran, its output otherwise. */
function runSources(config: Config, ticket: Ticket, runId: string, raw: boolean): Source[] {
  const files = runFiles(runDir(config.home, { ...ticket, runId }));
  if (raw)
    return [
      { file: files.stdout, show: (line) => line },
      { file: files.stderr, show: (line) => line },
    ];
  const isAgent = parsed<{ reader?: unknown }>(textOf(files.spec))?.reader;
  if (isAgent) return [{ file: files.transcript, show: transcriptLine }];
  return [
    { file: files.stdout, show: printable },
    { file: files.stderr, show: printable },
  ];
}

function transcriptLine(line: string): string | undefined {
  const event = parsed<AgentEvent>(line);
  const text = event && transcriptText(event);
  return text === undefined ? undefined : printable(text);
}

/** The runs of a ticket, oldest first. */
function runIds(config: Config, { planId, ticketId }: Ticket): string[] {
  try {
    const names = readdirSync(join(config.home, "run", planId, ticketId)).filter((name) => /^\d+-/.test(name));
    return names.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  } catch {
    return [];
  }
}

function newestRun(config: Config, ticket: Ticket, phase: string | undefined): string | undefined {
  return runIds(config, ticket).findLast((id) => phase === undefined || id.replace(/^\d+-/, "") === phase);
}

/** The instant that `90s`, `10m`, `2h`, `3d` before now or a date means. */
function parsed<T>(line: string): T | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Gives the whole lines that are new since it was last called. */
type LineReader = () => string[];

/** Reads a file that need not exist yet, and begins anew when another one has taken its place. */
function lineReader(file: string): LineReader {
  let offset = 0;
  let inode = 0;
  let rest = "";
  let decoder = new StringDecoder("utf8");

  function next(): string[] {
    let fd: number;
    try {
      fd = openSync(file, "r");
    } catch {
      return [];
    }
    try {
      const stat = fstatSync(fd);
      if (stat.ino !== inode || stat.size < offset) {
        offset = 0;
        rest = "";
        decoder = new StringDecoder("utf8");
        inode = stat.ino;
      }
      const buffer = Buffer.alloc(blockBytes);
      for (let read = readSync(fd, buffer, 0, blockBytes, offset); read > 0; read = readSync(fd, buffer, 0, blockBytes, offset)) {
        offset += read;
        rest += decoder.write(buffer.subarray(0, read));
      }
    } finally {
      closeSync(fd);
    }
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    return lines;
  }

  return next;
}
