import type { Capabilities } from "./agent.ts";

/** What an installed CLI says of itself. Undefined instead of this: it did not say, and is taken for the release that was tested. */
export interface CliFacts {
  version: string | null;
  /** Flags and commands of its help texts, each with what is said of it there. */
  flags: Record<string, string>;
  /** Flags that no help text names, and whether the CLI took them all the same. */
  tried: Record<string, boolean>;
}

/** How an installed CLI is asked what it can do, and what a run needs of it. */
export interface Probing {
  /** The release that the adapter was made with. */
  tested: string;
  /** How to install it, as a command. */
  install: string;
  /** Arguments of the help texts that name the flags. */
  help: string[][];
  /** Variables that keep it from the network meanwhile. */
  env: Record<string, string>;
  /** What stands before a flag that is tried because no help names it; null: what its help does not name, extensions may have added. */
  tryWith: string[] | null;
  /** Flags that were found to work although no help text names them. */
  unlisted: string[];
  /** Flags and commands, or a flag and one of its values, without which a capability is none. Those of structuredStream are essential. */
  needs: Partial<Record<keyof Capabilities, string[]>> & { structuredStream: string[] };
  /** Flags that keep the agent from something. A person who configured one does not want the run without it. */
  limits: string[];
}

/** Behind the flags that are tried; no CLI knows it, so nothing ever runs. */
export const sentinel = "--orchestrator-probe";

/** The version in what a program says to --version; null when there is none. */
export function readVersion(said: string): string | null {
  return /(?<![\w.])\d+\.\d+(?:\.\d+)*(?:-[\w.]+)?/.exec(said)?.[0] ?? null;
}

/** The flags and commands of a help text. Descriptions are kept in one line and cut: only the values that they name are of interest. */
export function readHelp(text: string): CliFacts["flags"] {
  const found: [string[], string[]][] = [];
  let section = "";
  for (const line of text.split("\n")) {
    // Descriptions stand further to the right, and may begin with a flag as well.
    const definition = /^ {0,8}(-\S.*?)(?: {2,}.*)?$/.exec(line.trimEnd());
    const command = /^commands:/i.test(section) ? /^ {2}([a-z][\w-]*)/.exec(line) : null;
    if (definition) found.push([namesIn(definition[1] ?? ""), [line]]);
    else if (command) found.push([[command[1] ?? ""], [line]]);
    else found.at(-1)?.[1].push(line);
    if (/^\S/.test(line)) {
      section = line;
      found.push([[], []]);
    }
  }
  const described = found.map(([names, lines]) => [names, lines.join(" ").replace(/\s+/g, " ").trim().slice(0, 1000)] as const);
  return Object.fromEntries(described.flatMap(([names, description]) => names.map((name) => [name, description])));
}

function namesIn(definition: string): string[] {
  return definition.match(/(?<![\w<[-])--?[A-Za-z][\w-]*/g) ?? [];
}

/** Which of the flags a CLI refused that was started with all of them and the sentinel; undefined: it says nothing of the kind. */
export function refusedFlags(said: string, flags: string[]): string[] | undefined {
  const words = said
    .split("\n")
    .filter((line) => /\b(unknown|unexpected|unrecogni[sz]ed|no such|invalid) (options?|arguments?|flags?)\b/i.test(line))
    .flatMap(namesIn);
  const refused = flags.filter((flag) => words.includes(flag));
  return refused.length > 0 || words.includes(sentinel) ? refused : undefined;
}

/** Whether the CLI takes this flag, or this flag with this value (`--flag value`). */
export function knows(cli: CliFacts | undefined, need: string): boolean {
  if (cli === undefined) return true;
  const [flag = "", value] = need.split(" ");
  const description = cli.flags[flag];
  if (description === undefined) return cli.tried[flag] ?? false;
  return value === undefined || description.split(/[^\w-]+/).includes(value);
}

/** What of an adapter's capabilities this installed CLI has. */
export function capabilitiesOf(declared: Capabilities, probing: Probing, cli: CliFacts | undefined): Capabilities {
  const has = (name: keyof Capabilities) => (probing.needs[name] ?? []).every((need) => knows(cli, need));
  const found = Object.fromEntries(Object.entries(declared).map(([name, value]) => [name, value && has(name as keyof Capabilities)]));
  return { ...found, sessionId: has("sessionId") ? declared.sessionId : "read" } as Capabilities;
}

/** `claude 2.1.197`. */
export function cliName(provider: string, cli: CliFacts | undefined): string {
  return cli?.version ? `${provider} ${cli.version}` : provider;
}

/** Why no run of this CLI would come to anything, and what to do; undefined when nothing speaks against it. */
export function incompatibility(
  provider: string,
  probing: Probing,
  cli: CliFacts | undefined,
  defaultArgs: string[],
): { message: string; hint: string } | undefined {
  const missing = probing.needs.structuredStream.filter((need) => !knows(cli, need));
  const another = `install a release that has it (${probing.install}@${probing.tested} is the tested one), or give the work to another agent`;
  if (missing.length > 0) {
    return {
      message: `${cliName(provider, cli)} is incompatible with orchestrator: it does not offer ${missing.join(", ")}, and a run needs that to be started without a person and to be read`,
      hint: another,
    };
  }
  const lost = probing.limits.find((flag) => defaultArgs.some((arg) => flagOf(arg) === flag) && !knows(cli, flag));
  if (lost === undefined) return undefined;
  return {
    message: `${cliName(provider, cli)} is incompatible with its configuration: defaultArgs hold ${lost}, which limits the agent, and it does not know that flag`,
    hint: `take ${lost} out of defaultArgs, or ${another}`,
  };
}

/** Flags that nothing is known of yet: those that no help names, of the adapter and among the configured arguments. */
export function flagsToTry(probing: Probing, cli: CliFacts, defaultArgs: string[]): string[] {
  if (probing.tryWith === null) return [];
  const wanted = [...probing.unlisted, ...defaultArgs.map(flagOf).filter((flag) => /^--?[A-Za-z]/.test(flag))];
  return [...new Set(wanted)].filter((flag) => cli.flags[flag] === undefined && cli.tried[flag] === undefined);
}

/** The arguments where the installed CLI takes their flag; otherwise none, and a note that says what follows from that. */
export type Send = (args: string[], otherwise: string) => string[];

/** A Send for one command; its notes are added to `notes`. */
export function sender(provider: string, cli: CliFacts | undefined, notes: string[]): Send {
  return (args, otherwise) => {
    if (knows(cli, args[0] ?? "")) return args;
    notes.push(`${cliName(provider, cli)} has no ${args[0]}: ${otherwise}`);
    return [];
  };
}

/** The flag of an argument, without a value that is part of it; "" when it is none. */
export function flagOf(arg: string): string {
  return arg.startsWith("-") ? (/^[^=\s]+/.exec(arg)?.[0] ?? arg) : "";
}
