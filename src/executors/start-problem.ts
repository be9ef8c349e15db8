import { statSync } from "node:fs";
import type { RunSpec } from "../domain/run.ts";

/** Linux takes no single argument or variable beyond this, nor, by default, all of them together beyond a quarter of the stack. */
const longestString = 128 * 1024 - 1;

/** What makes a start impossible and Node would name wrongly: it reports a missing folder as a missing program. Null: nothing. */
export function startProblem(spec: RunSpec): string | null {
  if (spec.argv[0] === undefined || spec.argv[0] === "") return "there is no program to start: argv is empty";
  const cwd = statSync(spec.cwd, { throwIfNoEntry: false });
  if (cwd === undefined) return `the working directory ${spec.cwd} does not exist`;
  if (!cwd.isDirectory()) return `the working directory ${spec.cwd} is not a folder`;
  return null;
}

/** Why a program could not be started, in words for people. */
export function spawnProblem(spec: RunSpec, env: Readonly<Record<string, string>>, error: NodeJS.ErrnoException): string {
  const program = spec.argv[0] ?? "";
  switch (error.code) {
    case "ENOENT":
      if (!program.includes("/")) return `${program} was not found on PATH (${env.PATH ?? "PATH is not set"})`;
      return statSync(program, { throwIfNoEntry: false }) === undefined
        ? `${program} does not exist`
        : `${program} could not be started: the interpreter that its first line names does not exist`;
    case "EACCES":
      return `${program} may not be executed: permission denied`;
    case "E2BIG":
      return `${program} could not be started: ${tooLong(spec, env)}`;
    default:
      return `${program} could not be started: ${error.message}`;
  }
}

function tooLong(spec: RunSpec, env: Readonly<Record<string, string>>): string {
  const long = spec.argv.findIndex((argument) => Buffer.byteLength(argument) > longestString);
  if (long !== -1) return `argument ${long} has more than ${longestString} bytes`;
  const name = Object.keys(env).find((key) => Buffer.byteLength(`${key}=${env[key]}`) > longestString);
  if (name !== undefined) return `the environment variable ${name} has more than ${longestString} bytes`;
  const [longest] = Object.keys(env).sort((a, b) => (env[b] ?? "").length - (env[a] ?? "").length);
  return `arguments and environment are too long together, the variable ${longest} most of all; pass long values in files`;
}
