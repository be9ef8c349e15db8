import { createHash } from "node:crypto";
import { errorSignature, withoutTimes } from "../domain/error-signature.ts";
import type { AgentEvent } from "../domain/session.ts";

/** Notices an agent that goes in circles, from its events alone. In bounded memory; never throws. */
export interface LoopWatch {
  /** Takes the next event and when it came (monotonic, in milliseconds); says in words what the agent repeats, else null. */
  take(event: AgentEvent, atMs: number): string | null;
}

/** Equal calls with equal results, one after the other. */
const maxSame = 30;
/** Rounds of two or three such calls in turn. */
const maxRounds = 15;
/** The same change to a file after the same other one. */
const maxFlips = 6;
/** A call that fails alike although the same few files were changed before each time. */
const maxVainEdits = 12;
/** So many files changed in between are work that goes on beside the failure. */
const maxVainFiles = 3;
/** Failures alike, with nothing that succeeded in between. */
const maxFailures = 20;
/** Whoever waits between two looks may look that many times as often. */
const patience = 10;
/** From here on, in milliseconds a round, calls count as looks of somebody who waits. */
const waitMs = 5000;
/** Of everything that is remembered: calls under way, failing calls, changes. */
const maxKept = 1000;

/** Tools that ask what became of something, and commands that wait for it. */
const waitingTool = /output|wait|poll|monitor/i;
const waitingCommand = /\b(?:sleep|wait|watch|poll|until|timeout)\b/;
const editTool = /^(?:write|edit|multiedit|notebookedit)$/i;

interface Call {
  /** Equal for equal calls. Null: not all of it is known, so that no other call is known to be equal. */
  key: string | null;
  shown: string;
  waits: boolean;
  /** The files it changes. */
  paths: string[];
  isWrite: boolean;
  atMs: number;
}

/** Calls that came again, and how long they took together. */
interface Streak {
  count: number;
  waits: boolean;
  tookMs: number;
}

interface FailingCall {
  error: string;
  edits: number;
  hasEdit: boolean;
  files: Set<string>;
}

/** Watches one run. The bounds are far beyond what working agents do: waiting for a build, say, is no circle. */
export function loopWatch(): LoopWatch {
  const open = new Map<string, Call>();
  /** The last calls with their results, the newest first, and by distance how many were like the one so far before. */
  let recent: { key: string; shown: string }[] = [];
  const streaks: Streak[] = [1, 2, 3].map(() => ({ count: 0, waits: false, tookMs: 0 }));
  const lastChange = new Map<string, string>();
  const changes = new Map<string, number>();
  const failing = new Map<string, FailingCall>();
  let failures: Streak & { error: string } = { error: "", count: 0, waits: false, tookMs: 0 };
  let unknown = 0;

  function repeated(call: Call, result: string, tookMs: number): string | null {
    const key = call.key === null ? `unknown ${unknown++}` : hash(call.key + result);
    let found: string | null = null;
    for (const [i, streak] of streaks.entries()) {
      const size = i + 1;
      grow(streak, recent[i]?.key === key, call, tookMs);
      const rounds = Math.floor(streak.count / size) + 1;
      if (found !== null || rounds < bound(size === 1 ? maxSame : maxRounds, streak, rounds)) continue;
      const its = [call.shown, ...recent.slice(0, i).map(({ shown }) => shown)].reverse().join(", ");
      found =
        size === 1
          ? `It made the same call ${rounds} times in a row, with the same result: ${its}`
          : `It made the same ${size} calls in turn ${rounds} times, with the same results: ${its}`;
    }
    recent = [{ key, shown: call.shown }, ...recent].slice(0, streaks.length);
    return found;
  }

  function changed(call: Call): string | null {
    if (call.paths.length === 0) return null;
    for (const each of failing.values()) {
      each.hasEdit = true;
      for (const path of call.paths) if (each.files.size <= maxVainFiles) each.files.add(path);
    }
    let found: string | null = null;
    for (const path of call.paths) {
      const before = lastChange.get(path);
      const change = call.key ?? `unknown ${unknown++}`;
      keep(lastChange, path, change);
      // Writing a file that a program takes away is no circle; making an edit again means that it was undone.
      if (before === undefined || (before === change && call.isWrite)) continue;
      const step = hash(`${path}\n${before}\n${change}`);
      const times = (changes.get(step) ?? 0) + 1;
      keep(changes, step, times);
      if (times >= maxFlips)
        found = `It made the same change to ${shorten(path)} ${times} times and took it back in between: ${call.shown}`;
    }
    return found;
  }

  function failed(call: Call, output: string, tookMs: number): string | null {
    const signature = errorSignature(output);
    grow(failures, signature === failures.error && signature !== "", call, tookMs);
    failures.error = signature;
    const times = failures.count + 1;
    if (times >= bound(maxFailures, failures, times)) return `${times} calls in a row failed alike: ${call.shown}: ${shorten(output)}`;
    if (call.key === null) return null;
    const error = hash(withoutTimes(output));
    const before = failing.get(call.key);
    if (before === undefined || before.error !== error || before.files.size > maxVainFiles) {
      keep(failing, call.key, { error, edits: 0, hasEdit: false, files: new Set() });
      return null;
    }
    if (!before.hasEdit) return null;
    before.hasEdit = false;
    before.edits += 1;
    if (before.edits < maxVainEdits) return null;
    const files = [...before.files].map(shorten).join(", ");
    return `The same call failed alike after each of ${before.edits} changes to ${files}: ${call.shown}: ${shorten(output)}`;
  }

  return {
    take(event, atMs) {
      if (event.type === "tool_use") {
        keep(open, event.callId, callOf(event.tool, event.input, atMs));
        return null;
      }
      if (event.type !== "tool_result") return null;
      const call = open.get(event.callId);
      if (call === undefined) return null;
      open.delete(event.callId);
      const tookMs = Math.max(0, atMs - call.atMs);
      const circle = repeated(call, `${event.isError} ${event.output}`, tookMs);
      let other: string | null;
      if (event.isError) other = failed(call, event.output, tookMs);
      else {
        failures = { error: "", count: 0, waits: false, tookMs: 0 };
        if (call.key !== null) failing.delete(call.key);
        other = changed(call);
      }
      return circle ?? other;
    },
  };
}

/** How many rounds are too many: more for whoever waits in between. */
function bound(usual: number, { waits, tookMs }: Streak, rounds: number): number {
  return waits || tookMs / rounds >= waitMs ? usual * patience : usual;
}

function grow(streak: Streak, isLikeBefore: boolean, call: Call, tookMs: number): void {
  streak.count = isLikeBefore ? streak.count + 1 : 0;
  streak.waits = (isLikeBefore && streak.waits) || call.waits;
  streak.tookMs = (isLikeBefore ? streak.tookMs : 0) + tookMs;
}

function callOf(tool: string, input: unknown, atMs: number): Call {
  const json = JSON.stringify(input) ?? "null";
  const fields = (typeof input === "object" && input !== null ? input : {}) as Record<string, unknown>;
  const listed = Array.isArray(fields.changes) ? fields.changes.map((change) => (change as { path?: unknown } | null)?.path) : [];
  // codex tells which files it changed and not how, and of a long input only the beginning is known.
  const isPart = tool === "file_change" || "clipped" in fields;
  const paths = tool === "file_change" ? listed : editTool.test(tool) ? [fields.file_path ?? fields.path ?? fields.notebook_path] : [];
  return {
    key: isPart ? null : hash(`${tool} ${json}`),
    shown: shorten(`${tool} ${json}`),
    waits: waitingTool.test(tool) || (typeof fields.command === "string" && waitingCommand.test(fields.command)),
    paths: paths.filter((path) => typeof path === "string"),
    isWrite: /^write$/i.test(tool),
    atMs,
  };
}

/** Sets an entry as the newest one and forgets the oldest beyond the limit. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= maxKept) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

function hash(text: string): string {
  return createHash("sha1").update(text).digest("base64");
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= 200 ? line : `${line.slice(0, 200)}…`;
}
