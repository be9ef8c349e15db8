import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Intent } from "../src/domain/event.ts";
import { sendIntent } from "../src/state/inbox.ts";
import { until } from "../src/testing/until.ts";
import { between, pick } from "./random.ts";
import { count, hasEnded, isSpoilt, pause, type TicketRef, ticketFile, truth, violate, type World } from "./world.ts";

/** Whoever works on the home beside the daemon, until told to stop. */
type Actor = () => Promise<void>;

/** Files that an actor has written in part: they are nobody else's fault. */
const inParts = new Set<string>();

/** A third of the tickets is paused and resumed by people; the others have nobody but the daemon to blame. */
export function hasPeople({ ticketId }: TicketRef): boolean {
  return Number(ticketId.slice(1)) % 3 === 0;
}

/** Starts an actor that takes its turns on tickets of its own until it is stopped. */
function act(world: World, tickets: TicketRef[], turn: (ref: TicketRef) => Promise<void>): Actor {
  let stopped = false;
  const work = (async () => {
    while (!stopped && tickets.length > 0 && !isSpoilt(world)) {
      const open = tickets.filter((ref) => !hasEnded(world, ref));
      if (open.length > 0) await turn(pick(world.next, open));
      await pause(world, 5, 60);
    }
  })();
  return async () => {
    stopped = true;
    await work;
  };
}

/** Whether it comes true in time, or as long as nothing else has gone wrong. */
async function within(world: World, condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + world.patienceMs;
  while (!condition()) {
    if (performance.now() > deadline || isSpoilt(world)) return false;
    await pause(world, 10, 10);
  }
  return true;
}

/** Adds a token to descriptions: reads, takes its time, and saves what it has read, every second time in place and in two pieces. */
export function startPlanner(world: World, tickets: TicketRef[], tokens: Map<string, string[]>): Actor {
  return act(world, tickets, async (ref) => {
    const file = ticketFile(world, ref);
    const read = parsed(file);
    // Whoever saves over a file that does not show the last save yet takes it back, and gets what was asked for.
    const saved = tokens.get(`${ref.planId}/${ref.ticketId}`) ?? [];
    if (!read || saved.some((token) => !String(read.description).includes(token))) return;
    const token = `<${ref.planId}-${ref.ticketId}-${between(world.next, 1, 2 ** 40).toString(36)}>`;
    const text = JSON.stringify({ ...read, description: `${read.description}${token}` }, null, 2);
    await pause(world, 0, 200);
    // Where it has no name for an instant, an editor makes a new one.
    const fd = world.next() < 0.5 ? openThere(file) : undefined;
    if (fd === undefined) saveWhole(world, file, text);
    else await saveInTwoPieces(world, file, fd, text);
    const key = `${ref.planId}/${ref.ticketId}`;
    tokens.set(key, [...saved, token]);
    count(world, "edits");
    const isThere = () => truth(world, ref)?.description.includes(token) === true;
    if (!(await within(world, isThere)) && !isSpoilt(world))
      violate(world, "edit", `${key}: ${token} was saved in ${file} and never taken up`);
  });
}

function openThere(file: string): number | undefined {
  try {
    return openSync(file, "r+");
  } catch {
    return undefined;
  }
}

/** Thinks, then writes to the open file, which may have lost its name by then. */
async function saveInTwoPieces(world: World, file: string, fd: number, text: string): Promise<void> {
  inParts.add(file);
  if (world.next() < 0.5) await pause(world, 0, 1000);
  const half = between(world.next, 1, text.length - 1);
  ftruncateSync(fd);
  writeSync(fd, text.slice(0, half));
  await pause(world, 0, 30);
  writeSync(fd, text.slice(half));
  closeSync(fd);
  inParts.delete(file);
}

function saveWhole(world: World, file: string, text: string): void {
  const temporary = join(world.dir, `save-${between(world.next, 1, 2 ** 40)}`);
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, file);
}

/** Pauses tickets and lets them go on again, each a few times, and holds the daemon to its answers. */
export function startPeople(world: World, tickets: TicketRef[]): Actor {
  const pauses = new Map<TicketRef, number>();
  return act(world, tickets, async (ref) => {
    // A phase that is stopped again and again never ends.
    if ((pauses.get(ref) ?? 0) >= 6) return;
    pauses.set(ref, (pauses.get(ref) ?? 0) + 1);
    const by = "chaos";
    // A pause that stops a run is the harder one.
    const isRunning = () => truth(world, ref)?.activity.state === "running" || hasEnded(world, ref);
    if (world.next() < 0.7) await until(isRunning, 1000).catch(() => undefined);
    const paused = await ask(world, { type: "pause", ...ref, by, reason: "chaos" });
    if (paused === undefined) return;
    if (!paused.applied) {
      if (!/has ended/.test(paused.message))
        violate(world, "answer", `${ref.planId}/${ref.ticketId}: pause was refused: ${paused.message}`);
      return;
    }
    const held = truth(world, ref);
    if (held?.hold?.by !== by)
      violate(world, "answer", `${ref.planId}/${ref.ticketId}: said to be paused, and is held by ${held?.hold?.by}`);
    await pause(world, 0, 300);
    if (world.next() < 0.3 && (await ask(world, { type: "retry", ...ref, by }))?.applied) return;
    const resumed = await ask(world, { type: "resume", ...ref, by });
    if (resumed?.applied === false) violate(world, "answer", `${ref.planId}/${ref.ticketId}: resume was refused: ${resumed.message}`);
  });
}

/** Sends an intent as the commands do and waits for its answer, over however many daemons it takes. */
async function ask(world: World, intent: Intent): Promise<{ applied: boolean; message: string } | undefined> {
  const id = await sendIntent(world.home, intent);
  count(world, "intents");
  const file = join(world.home, "inbox", "done", `${id}.json`);
  if (!(await within(world, () => existsSync(file)))) {
    if (!isSpoilt(world)) violate(world, "answer", `${intent.type} (${id}) was never answered`);
    return undefined;
  }
  const { result, message } = JSON.parse(readFileSync(file, "utf8"));
  return { applied: result === "applied", message };
}

/** Reads public files all the time: each has to be whole, though it may have no name for an instant. */
export function startReader(world: World): Actor {
  const plans = join(world.home, "state", "plans");
  const files = [...world.tickets.map((ref) => ticketFile(world, ref)), ...readdirSync(plans).map((id) => join(plans, id, "plan.json"))];
  let stopped = false;
  const work = (async () => {
    while (!stopped) {
      for (let reads = 0; reads < 20; reads++) look(pick(world.next, files));
      await pause(world, 2, 10);
    }
  })();
  function look(file: string): void {
    const text = read(file);
    if (text === undefined || inParts.has(file)) return;
    count(world, "reads");
    try {
      JSON.parse(text);
    } catch {
      violate(world, "torn", `${file} held: ${text.slice(0, 300)}`);
    }
  }
  return async () => {
    stopped = true;
    await work;
  };
}

function parsed(file: string): Record<string, unknown> | undefined {
  const text = read(file);
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined; // the reader tells
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
