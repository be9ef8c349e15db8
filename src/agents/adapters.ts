import { basename } from "node:path";
import type { Adapter } from "./agent.ts";
import { claude } from "./claude.ts";
import { codex } from "./codex.ts";
import { generic } from "./generic.ts";
import { pi } from "./pi.ts";

const known: Adapter[] = [claude, codex, pi];

/** The adapter for a configured agent: chosen by the file name of its command, the generic one where that says nothing. */
export function adapterFor(command: string, name: string): Adapter {
  const program = basename(command).replace(/\.(js|mjs|cjs|ts|sh|cmd|exe)$/i, "");
  return known.find((adapter) => adapter.provider === program) ?? generic(name);
}
