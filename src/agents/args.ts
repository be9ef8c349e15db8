import type { AgentRequest, ConfigProblem } from "./agent.ts";
import { type CliFacts, cliName, flagOf } from "./cli-facts.ts";

/** A flag that may not stand in `defaultArgs`. */
export interface UnwantedFlag {
  names: string[];
  /** How many arguments follow it; `many`: all up to the next flag. */
  values: 0 | 1 | "many";
  /** Why, as the end of a sentence. */
  why: string;
  hint: string;
}

/** Flags that the adapter sets itself: a second one would make the stream unreadable or the session impossible to find. */
export function setByUs(values: 0 | 1, names: string[]): UnwantedFlag[] {
  return names.map((name) => ({ names: [name], values, why: "is set by the runner itself", hint: `take ${name} out of defaultArgs` }));
}

/** Flags among the arguments that the installed CLI was found not to take. */
export function unknownFlags(provider: string, args: string[], cli: CliFacts | undefined): UnwantedFlag[] {
  const refused = [...new Set(args.map(flagOf))].filter((flag) => cli?.tried[flag] === false);
  const why = `is unknown to ${cliName(provider, cli)}`;
  return refused.map((flag) => ({ names: [flag], values: 1, why, hint: `take ${flag} out of defaultArgs` }));
}

/** Whether one of these flags is among the arguments, as `--flag value`, `--flag=value` or `--flag`. */
export function hasFlag(args: string[], names: string[]): boolean {
  return args.some((arg) => names.includes(flagOf(arg)));
}

/** The value of the last of these flags, or undefined. */
export function flagValue(args: string[], names: string[]): string | undefined {
  const index = args.findLastIndex((arg) => names.includes(flagOf(arg)));
  const arg = args[index];
  if (arg === undefined) return undefined;
  return arg.includes("=") ? arg.slice(arg.indexOf("=") + 1) : args[index + 1];
}

/** The arguments without these flags, and the ones that were taken out. */
export function withoutFlags(
  args: string[],
  unwanted: UnwantedFlag[],
): { kept: string[]; dropped: { text: string; flag: UnwantedFlag }[] } {
  const kept: string[] = [];
  const dropped: { text: string; flag: UnwantedFlag }[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    const flag = unwanted.find((candidate) => candidate.names.includes(flagOf(arg)));
    if (!flag) {
      kept.push(arg);
      continue;
    }
    // "--flag=value" and a misplaced "--flag value" in one argument carry their value with them.
    const most = /[=\s]/.test(arg) ? 0 : flag.values === "many" ? args.length : flag.values;
    const rest = args.slice(i + 1, i + 1 + most);
    const next = rest.findIndex((each) => each.startsWith("-"));
    const values = next === -1 ? rest : rest.slice(0, next);
    dropped.push({ text: [arg, ...values].join(" "), flag });
    i += values.length;
  }
  return { kept, dropped };
}

/** What is wrong with `defaultArgs`: unwanted flags, and flag and value run together in one argument. */
export function argumentProblems(args: string[], unwanted: UnwantedFlag[]): ConfigProblem[] {
  const { kept, dropped } = withoutFlags(args, unwanted);
  return [
    ...dropped.map(({ text, flag }) => ({ message: `\`${text}\` ${flag.why}; it is left out`, hint: flag.hint })),
    ...kept.filter(isGlued).map((arg) => ({
      message: `\`${arg}\` is passed as one single argument, which no option is called`,
      hint: `write defaultArgs: ${JSON.stringify(splitGlued(arg))}`,
    })),
  ];
}

/** One note per argument that was left out. */
export function droppedNotes(dropped: { text: string; flag: UnwantedFlag }[]): string[] {
  return dropped.map(({ text, flag }) => `\`${text}\` of defaultArgs ${flag.why}; it was left out`);
}

function isGlued(arg: string): boolean {
  return /^--?[A-Za-z][\w-]*\s/.test(arg);
}

function splitGlued(arg: string): string[] {
  const space = arg.search(/\s/);
  return [arg.slice(0, space), arg.slice(space).trim()];
}

/** The note of a CLI that takes no JSON Schema. */
export function schemaNote({ outputSchema }: Pick<AgentRequest, "outputSchema">, who: string): string[] {
  return outputSchema === undefined ? [] : [`${who} takes no outputSchema: its prompt asks for it, and its final message is checked`];
}

/** Why a CLI is not started where the repository has settings that no flag keeps it from. */
export function refusal(provider: string, repoSettings: string[]): string {
  return `${provider} would run what the repository's ${repoSettings.join(", ")} may name, before anybody has read it, and has no flag against that`;
}
