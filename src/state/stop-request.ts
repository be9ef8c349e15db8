import { removeIfThere, writeDurable } from "./atomic-write.ts";
import { readJson, Unreadable } from "./json.ts";
import { stopFile } from "./layout.ts";

/** How a daemon may be asked to end: once its runs have ended, after stopping them, or at once, leaving them to the next daemon. */
export const stopKinds = ["drain", "now", "detach"] as const;
export type StopKind = (typeof stopKinds)[number];

/**
 * stop.json: one daemon, named so that no other takes it for itself, is asked to end. A file rather than a signal: it says
 * how, asking twice is asking once, and it cannot reach a stranger who has the pid by now.
 */
export interface StopRequest {
  pid: number;
  start: string;
  bootId: string;
  how: StopKind;
}

/** Asks. The latest request is the one that is read. Throws system errors. */
export async function writeStopRequest(home: string, request: StopRequest): Promise<void> {
  await writeDurable(stopFile(home), `${JSON.stringify(request, undefined, 2)}\n`);
}

/** What some daemon of this home is asked; undefined when nothing is. Throws Unreadable. */
export function readStopRequest(home: string): StopRequest | undefined {
  const file = stopFile(home);
  const value = readJson(file);
  if (value === undefined || isRequest(value)) return value;
  throw new Unreadable({ file, message: "this is no request to stop", hint: "orchestrator stop writes one" });
}

function isRequest(value: unknown): value is StopRequest {
  if (typeof value !== "object" || value === null) return false;
  const { pid, start, bootId, how } = value as Record<string, unknown>;
  return Number.isInteger(pid) && typeof start === "string" && typeof bootId === "string" && stopKinds.some((kind) => kind === how);
}

/** Whether `daemon` is the one that is asked. */
export function isAskedOf(request: StopRequest, daemon: Pick<StopRequest, "pid" | "start" | "bootId">): boolean {
  return request.pid === daemon.pid && request.start === daemon.start && request.bootId === daemon.bootId;
}

/** Forgets what any daemon of this home was asked. */
export async function removeStopRequest(home: string): Promise<void> {
  await removeIfThere(stopFile(home));
}
