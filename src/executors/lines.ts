import { StringDecoder } from "node:string_decoder";

/** Splits a stream of bytes into lines. */
export interface LineSplitter {
  /** Takes the next bytes. */
  push(bytes: Buffer): void;
  /** The stream is over: gives out what is left of a last line without an end. */
  end(): void;
}

/** How a line came to its end: with a line feed, by growing beyond the limit (the rest is skipped), or with the stream. */
export type LineEnd = "newline" | "cut" | "eof";

/**
 * Calls `onLine` for each line, without its line feed. Only LF ends a line: U+2028 is legal inside JSON. Bytes that are
 * not UTF-8 become U+FFFD. No more than `maxLength` characters of a line are ever held; a longer one is given out
 * once, cut.
 */
export function createLineSplitter(maxLength: number, onLine: (line: string, end: LineEnd) => void): LineSplitter {
  const decoder = new StringDecoder("utf8");
  let pending: string[] = [];
  let pendingLength = 0;
  let skipping = false;

  function take(text: string): void {
    let from = 0;
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", from)) {
      append(text.slice(from, at));
      if (!skipping) give("newline");
      skipping = false;
      from = at + 1;
    }
    append(from === 0 ? text : text.slice(from));
  }

  function append(part: string): void {
    if (skipping || part === "") return;
    const room = maxLength - pendingLength;
    pending.push(part.length > room ? part.slice(0, room) : part);
    pendingLength += Math.min(part.length, room);
    if (part.length <= room) return;
    give("cut");
    skipping = true;
  }

  function give(end: LineEnd): void {
    const line = pending.length === 1 ? (pending[0] ?? "") : pending.join("");
    pending = [];
    pendingLength = 0;
    onLine(line, end);
  }

  return {
    push: (bytes) => take(decoder.write(bytes)),
    end() {
      take(decoder.end());
      if (pendingLength > 0) give("eof");
    },
  };
}
