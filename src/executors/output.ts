import { createKeptOutput } from "./kept-output.ts";
import { createLineSplitter } from "./lines.ts";

/** One stream of a run: redacted, kept within bounds, and given out line by line. */
export interface Output {
  push(bytes: Buffer): void;
  /** The stream is over. */
  end(): void;
  /** Bytes taken so far, before redaction. */
  bytes(): number;
  /** The end of what was written, redacted. */
  tail(): string;
}

const maxLineLength = 1024 * 1024;
const tailLength = 16 * 1024;
const longestToken = 512;

/**
 * Keeps a stream in the file `path`, at most `keepBytes` of it. `onLine` gets each line, redacted; of one that is too long
 * it gets the beginning with a marker after it, and `isCut`. The characters before such a cut go, too, as many as the
 * longest secret has: part of one may stand there.
 */
export function createOutput(options: {
  path: string;
  keepBytes: number;
  redact: (line: string) => string;
  longestSecret: number;
  onLine: (line: string, isCut: boolean) => void;
}): Output {
  const kept = createKeptOutput(options.path, options.keepBytes);
  let bytes = 0;
  let tail = "";
  let batch: string[] = [];

  const splitter = createLineSplitter(maxLineLength, (line, end) => {
    const isCut = end === "cut";
    const redacted = options.redact(line);
    const text = isCut ? `${redacted.slice(0, -Math.max(options.longestSecret, longestToken))}[… line cut …]` : redacted;
    batch.push(end === "eof" ? text : `${text}\n`);
    options.onLine(text, isCut);
  });

  function flush(): void {
    if (batch.length === 0) return;
    const text = batch.join("");
    batch = [];
    kept.write(text);
    tail = (tail + text.slice(-tailLength)).slice(-tailLength);
  }

  return {
    push(chunk) {
      bytes += chunk.length;
      splitter.push(chunk);
      flush();
    },
    end() {
      splitter.end();
      flush();
      kept.close();
    },
    bytes: () => bytes,
    tail: () => tail,
  };
}
