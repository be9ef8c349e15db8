import { appendFileSync } from "node:fs";
import type { RunSpec } from "../domain/run.ts";
import type { AgentEvent, AgentReport } from "../domain/session.ts";
import { writeDurable } from "../state/atomic-write.ts";

/** The stream of a coding agent, as it becomes transcript.jsonl, session.json and a report. */
export interface AgentStream {
  /** Takes a redacted line, or the beginning of one that was cut for its length; says whether it was progress. */
  line(text: string, isCut: boolean): boolean;
  /** Whether its last word was its result: nothing but its exit is to follow, unless it goes on. */
  isDone(): boolean;
  /** The stream is over. */
  end(info: Parameters<AgentReader["end"]>[0]): Promise<AgentReport>;
}

type AgentReader = ReturnType<typeof import("../agents/readers.ts").reader>;

/** Opens the stream of the provider's CLI. The transcript takes `spec.keepBytes` at most. */
export async function openAgentStream(
  provider: string,
  spec: RunSpec,
  files: { transcript: string; session: string },
): Promise<AgentStream> {
  const { reader: createReader } = await import("../agents/readers.ts");
  const reader = createReader(provider, { argv: spec.argv, ...(spec.priorUsage === undefined ? {} : { priorUsage: spec.priorUsage }) });
  let bytesLeft = spec.keepBytes;
  let session = "";
  let done = false;
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

  return {
    line(text, isCut) {
      const events = reader.line(text, isCut);
      record(events);
      for (const event of events) {
        if (event.type === "result") done = true;
        else if (event.type === "text" || event.type === "tool_use" || event.type === "tool_result") done = false;
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
    async end(info) {
      await sessionWritten;
      return reader.end(info);
    },
  };
}
