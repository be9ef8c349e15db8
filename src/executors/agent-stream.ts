import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import type { RunSpec } from "../domain/run.ts";
import type { AgentEvent, AgentReport, Spent } from "../domain/session.ts";
import { monotonicMs } from "../lib/monotonic.ts";
import { writeDurable } from "../state/atomic-write.ts";

/** The stream of a coding agent, as it becomes transcript.jsonl, session.json and a report. */
export interface AgentStream {
  /** Takes a redacted line, or the beginning of one that was cut for its length; says whether it was progress. */
  line(text: string, isCut: boolean): boolean;
  /** Whether its last word was its result: nothing but its exit is to follow, unless it goes on. */
  isDone(): boolean;
  /** Whether a tool that it called is at work: that may take long, and nothing is said meanwhile. */
  isBusy(): boolean;
  /** In words, what it does again and again; null while it does not. */
  loop(): string | null;
  /** In words, the limit that what was used so far has reached; null while there is none. */
  overLimit(): string | null;
  /** The stream is over. */
  end(info: Parameters<AgentReader["end"]>[0]): Promise<AgentReport>;
}

/** Of the calls under way that are known. */
const maxTools = 1000;

type AgentReader = ReturnType<typeof import("../agents/readers.ts").reader>;

/** Opens the stream of the provider's CLI. The transcript takes `spec.keepBytes` at most. */
export async function openAgentStream(
  provider: string,
  spec: RunSpec,
  files: { transcript: string; session: string; usage: string },
): Promise<AgentStream> {
  const { reader: createReader } = await import("../agents/readers.ts");
  const prices = await import("../agents/price.ts");
  const { loopWatch } = await import("../agents/loop-watch.ts");
  const reader = createReader(provider, { argv: spec.argv, ...(spec.priorUsage === undefined ? {} : { priorUsage: spec.priorUsage }) });
  let bytesLeft = spec.keepBytes;
  let session = "";
  let done = false;
  let usage = "";
  let overLimit: string | null = null;
  const watch = loopWatch();
  let loop: string | null = null;
  const atWork = new Set<string>();
  let sessionWritten = Promise.resolve();

  function record(events: AgentEvent[]): void {
    if (events.length === 0 || bytesLeft <= 0) return;
    const text = events.map((event) => `${JSON.stringify(event)}\n`).join("");
    bytesLeft -= Buffer.byteLength(text);
    const end: AgentEvent = { type: "warning", message: `the transcript ends here: it has reached ${spec.keepBytes} bytes` };
    try {
      appendFileSync(files.transcript, bytesLeft > 0 ? text : `${JSON.stringify(end)}\n`, { mode: 0o600 });
    } catch {
      // A disk that takes no more costs the transcript, never the run: the report in exit.json says what matters.
    }
  }

  /** Notes what was used, for whoever looks on and for the case that this process dies before it can report. */
  function recordUsage(): void {
    const spent = reader.spent();
    if (spent === null) return;
    const json = JSON.stringify(spent);
    if (json === usage) return;
    usage = json;
    overLimit = limitReached(spec, spent, prices);
    try {
      writeFileSync(`${files.usage}.new`, json, { mode: 0o600 });
      renameSync(`${files.usage}.new`, files.usage);
    } catch {
      // As with the transcript.
    }
  }

  function noteTools(event: AgentEvent): void {
    if (event.type === "tool_use" && atWork.size < maxTools) atWork.add(event.callId);
    else if (event.type === "tool_result") atWork.delete(event.callId);
    // It speaks or asks its provider: whatever has no result by now never gets one.
    else if (event.type === "text" || event.type === "retry" || event.type === "result") atWork.clear();
  }

  return {
    line(text, isCut) {
      const events = reader.line(text, isCut);
      record(events);
      if (events.length > 0) recordUsage();
      for (const event of events) {
        if (event.type === "result") done = true;
        else if (event.type === "text" || event.type === "tool_use" || event.type === "tool_result") done = false;
        noteTools(event);
        loop ??= watch.take(event, monotonicMs());
        if (event.type !== "session") continue;
        const json = JSON.stringify(event.session);
        if (json === session) continue;
        session = json;
        // The report holds the session once more, should the disk refuse it now.
        sessionWritten = sessionWritten.then(() => writeDurable(files.session, json)).catch(() => {});
      }
      return reader.progress();
    },
    isDone: () => done,
    isBusy: () => atWork.size > 0,
    loop: () => loop,
    overLimit: () => overLimit,
    async end(info) {
      await sessionWritten;
      return reader.end(info);
    },
  };
}

type Prices = typeof import("../agents/price.ts");

/** The first limit of the run that `spent` has reached, in words; money that nobody can tell reaches none. */
function limitReached(spec: RunSpec, spent: Spent, { costOf, tokensOf, totalUsage }: Prices): string | null {
  const usd = costOf(spent, spec.model, spec.prices).usd ?? 0;
  const tokens = tokensOf(totalUsage(spent));
  for (const { unit, amount } of spec.limits ?? []) {
    const used = unit === "usd" ? usd : tokens;
    if (used > 0 && used >= amount) return unit === "usd" ? `it has used $${used.toFixed(4)}` : `it has used ${used} tokens`;
  }
  return null;
}
