import type { AgentReport } from "../domain/session.ts";
import { classify } from "./classify.ts";
import { clip, maxEventText, maxFinalText, type Reader, type ReaderOptions, unfinished } from "./stream.ts";

/** Reads a program of which nothing is known: its whole output is its result. */
export function textReader(provider: string, options: ReaderOptions = {}): Reader {
  const now = options.now ?? Date.now;
  const half = maxFinalText / 2;
  let head = "";
  let tail = "";
  let leftOut = 0;
  let news = false;

  return {
    line(text) {
      news = text.trim() !== "";
      const line = `${clip(text, maxEventText)}\n`;
      if (head.length < half && tail === "") head += line;
      else {
        tail += line;
        if (tail.length > 2 * half) {
          leftOut += tail.length - half;
          tail = tail.slice(-half);
        }
      }
      return news ? [{ type: "text", text: clip(text, maxEventText) }] : [];
    },
    progress: () => news,
    spent: () => null,
    end(info) {
      const output = leftOut > 0 ? `${head}[… ${leftOut} characters left out …]\n${tail}` : head + tail;
      const text = output.trim();
      return {
        provider,
        session: null,
        finalText: text === "" ? null : text,
        usage: null,
        costUsd: null,
        turns: null,
        failure: failure(text),
        warnings: [],
      };

      function failure(finalText: string): AgentReport["failure"] {
        if (info.end !== "exited") return unfinished(info, undefined, now());
        if (info.exitCode === 0) return null;
        const how = info.signal ? `killed by ${info.signal}` : `exit code ${info.exitCode}`;
        return {
          ...classify({ stderr: info.stderrTail, finalText }, now()),
          message: [clip(info.stderrTail.trim(), 500), how].filter(Boolean).join(" — "),
        };
      }
    },
  };
}
