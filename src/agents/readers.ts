/**
 * How an agent's stream becomes events and a report. The shim of every run loads this, so nothing from here on imports more
 * than types: a schema library would cost each run tens of milliseconds.
 */
import { claudeReader } from "./claude-reader.ts";
import { codexReader } from "./codex-reader.ts";
import { copilotReader } from "./copilot-reader.ts";
import { geminiReader } from "./gemini-reader.ts";
import { opencodeReader } from "./opencode-reader.ts";
import { piReader } from "./pi-reader.ts";
import type { Reader, ReaderOptions } from "./stream.ts";
import { textReader } from "./text-reader.ts";

/** A reader for the stream of this provider's CLI; plain text where the provider is not known. Each run needs its own. */
export function reader(provider: string, options: ReaderOptions = {}): Reader {
  switch (provider) {
    case "claude":
      return claudeReader(options);
    case "codex":
      return codexReader(options);
    case "pi":
      return piReader(options);
    case "gemini":
      return geminiReader(options);
    case "copilot":
      return copilotReader(options);
    case "opencode":
      return opencodeReader(options);
    default:
      return textReader(provider, options);
  }
}
