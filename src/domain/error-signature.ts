/**
 * What makes two error messages the same error. Loaded by the shim of every run, so it imports nothing.
 */

/** Longer messages are told apart by their beginning and their end. */
const maxText = 16_384;

const colours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
const dates = /\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?/g;
const clockTimes = /\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b/g;
const durations = /\b\d+(?:\.\d+)?\s?(?:ms|µs|ns|s|secs?|seconds?|m|mins?|minutes?|h)\b/gi;
const hex = /\b(?:0x[0-9a-f]+|(?=[a-f]*\d)[0-9a-f]{7,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/gi;
/** Up to the last slash of a path: worktrees and temporary folders differ, file names do not. */
const folders = /\/[^\s"'`:;,()[\]{}<>|]*\//g;
const numbers = /\b\d[\d.,]*\b/g;

/** The text without the times in it: two runs of one test that fail alike differ in nothing else. */
export function withoutTimes(text: string): string {
  const half = maxText / 2;
  const bounded = text.length <= maxText ? text : `${text.slice(0, half)}\n…\n${text.slice(-half)}`;
  return bounded
    .replace(colours, "")
    .replace(dates, "#")
    .replace(clockTimes, "#")
    .replace(durations, "#")
    .replace(/[^\S\n]+/g, " ")
    .trim();
}

/** What is left of a message without times, folders, hexadecimal and other numbers: equal for the same error met again. */
export function errorSignature(text: string): string {
  return withoutTimes(text).replace(hex, "#").replace(folders, "/").replace(numbers, "#").replace(/\s+/g, " ").trim();
}
