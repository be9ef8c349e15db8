import { readdirSync } from "node:fs";
import { isPassing } from "../lib/passing.ts";
import { readProc } from "./process-identity.ts";

/**
 * The processes that have one of these words, such as a conversation's id, as an argument: somebody has it open. Empty where there
 * is no /proc. Throws errors of a busy machine.
 */
export function processesNaming(words: readonly string[]): number[] {
  let names: string[];
  try {
    names = readdirSync("/proc");
  } catch (error) {
    if (isPassing(error)) throw error;
    return [];
  }
  const isNamed = (arg: string) => words.some((word) => arg === word || arg.endsWith(`=${word}`));
  return names
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => readProc(pid, "cmdline")?.split("\0").some(isNamed));
}
