import { basename } from "node:path";
import type { Adapter } from "./agent.ts";
import { claude } from "./claude.ts";
import { codex } from "./codex.ts";
import { copilot } from "./copilot.ts";
import { gemini } from "./gemini.ts";
import { generic } from "./generic.ts";
import { opencode } from "./opencode.ts";
import { pi } from "./pi.ts";

/** In the order in which `init` makes one the default. */
export const knownAdapters: readonly Adapter[] = [claude, codex, pi, gemini, copilot, opencode];

/** The adapter for a configured agent: chosen by the file name of its command, the generic one where that says nothing. */
export function adapterFor(command: string, name: string): Adapter {
  const program = basename(command).replace(/\.(js|mjs|cjs|ts|sh|cmd|exe)$/i, "");
  return knownAdapters.find((adapter) => adapter.provider === program) ?? generic(name);
}
